# SPDX-License-Identifier: Apache-2.0
"""Time stamps of KITTI, as whole nanoseconds: no float and no time zone of the machine is used.

`timestamps.txt` of KITTI raw has a line `2011-09-26 13:02:25.964389445` for each measurement,
blank where one is missing; `times.txt` of KITTI odometry has seconds after the first image. The
clock times of KITTI raw are taken as UTC as they stand.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depth_core.errors import DataError
from depth_core.files import read_text

NANOSECONDS: Final = 1_000_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_LINE: Final = re.compile(
    r'(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?', re.ASCII
)
_SECONDS: Final = re.compile(r'\+?\d{1,20}(\.\d{0,20})?(e[+-]?\d{1,3})?', re.ASCII | re.IGNORECASE)
_LONGEST_S: Final = decimal.Decimal(10**6)


def read_stamps(path: Path) -> tuple[int | None, ...]:
    """Read the times of a drive's measurements, nanoseconds since 1970 in UTC.

    Returns:
        One for each line; None for a blank one. Blank lines at the end are none.

    Raises:
        DataError: The file is missing, empty, or a line is no time.
    """
    stamps = []
    for number, line in enumerate(_lines_of(path), 1):
        stamp_ns = _stamp_of(line) if line else None
        if line and stamp_ns is None:
            message = (
                f"line {number} of {path} is {line!r}; a line is '2011-09-26 13:02:25.964389445' "
                'for each measurement: unpack the file again.'
            )
            raise DataError(message)
        stamps.append(stamp_ns)
    return tuple(stamps)


def read_times(path: Path) -> tuple[int, ...]:
    """Read the times of an odometry sequence, nanoseconds after its first image.

    Raises:
        DataError: The file is missing, empty, or a line is no number of seconds.
    """
    times = []
    for number, line in enumerate(_lines_of(path), 1):
        if _SECONDS.fullmatch(line) is None or (seconds := decimal.Decimal(line)) >= _LONGEST_S:
            message = (
                f'line {number} of {path} is {line!r}; a line is the seconds of an image after '
                'the first, as 1.044989e-01: unpack the file again.'
            )
            raise DataError(message)
        times.append(int(seconds.scaleb(9).to_integral_value()))
    return tuple(times)


def midnight_ns(day: str) -> int | None:
    """The first moment of a day as KITTI writes it, 2011_09_26, in UTC; None when it is none."""
    try:
        date = dt.datetime.strptime(day, '%Y_%m_%d').replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return None
    return (date - _EPOCH) // dt.timedelta(seconds=1) * NANOSECONDS


def _lines_of(path: Path) -> Sequence[str]:
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeError) as error:
        message = f'time stamps {path} cannot be read: {error}; unpack the drive again.'
        raise DataError(message) from error
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        message = f'time stamps {path} hold no time; unpack the drive again.'
        raise DataError(message)
    return lines


def _stamp_of(line: str) -> int | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        moment = dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.timezone.utc)
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // dt.timedelta(seconds=1)
    return seconds * NANOSECONDS + int((match[7] or '').ljust(9, '0'))
