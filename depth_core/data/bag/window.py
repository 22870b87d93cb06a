# SPDX-License-Identifier: Apache-2.0
"""Which part of a recording is read: one bag has images to train on and images held out."""

from __future__ import annotations

import math
from pathlib import Path

from depth_core.data.bag.opener import Bag
from depth_core.errors import ConfigError, DataError


def check_range(start_s: float | None, end_s: float | None) -> None:
    """Refuse what is no range of times.

    Args:
        start_s: Begin, seconds after the first message of the recording; None = its begin.
        end_s: End, not included; None = its end.

    Raises:
        ConfigError: A number is negative or not finite, or the end is not after the begin.
    """
    for key, value in (('start_s', start_s), ('end_s', end_s)):
        if value is not None and not 0.0 <= value < math.inf:
            message = f'{key} is {value}; give seconds after the first message, at least 0.'
            raise ConfigError(message)
    if end_s is not None and end_s <= (start_s or 0.0):
        message = (
            f'start_s is {start_s or 0.0:g} and end_s is {end_s:g}, so that no time is between '
            'them; give an end after the begin.'
        )
        raise ConfigError(message)


def window_of(
    bag: Bag, root: Path, *, start_s: float | None, end_s: float | None
) -> tuple[int, int] | None:
    """Turn seconds after the first message into times of recording.

    Args:
        bag: The recording.
        root: Where it is, for messages.
        start_s: Begin, seconds; None = that of the recording.
        end_s: End, seconds, not included; None = that of the recording.

    Returns:
        First and end of the nanoseconds that are read; None where all are.

    Raises:
        DataError: The recording ends before the begin asked for.
    """
    if start_s is None and end_s is None:
        return None
    start_ns = bag.start_ns + round((start_s or 0.0) * 1e9)
    stop_ns = bag.start_ns + bag.duration_ns
    if start_ns >= stop_ns:
        message = (
            f'start_s is {start_s:g}, and bag {root} lasts {bag.duration_ns * 1e-9:.3f} s; give '
            'an earlier begin.'
        )
        raise DataError(message)
    if end_s is not None:
        stop_ns = min(stop_ns, bag.start_ns + round(end_s * 1e9))
    return start_ns, stop_ns


def overlap_s(
    first: tuple[float | None, float | None], second: tuple[float | None, float | None]
) -> tuple[float, float] | None:
    """The times that two ranges, (start_s, end_s) each, share; None where they share none."""
    start_s = max(first[0] or 0.0, second[0] or 0.0)
    ends = [math.inf if item[1] is None else item[1] for item in (first, second)]
    return None if start_s >= min(ends) else (start_s, min(ends))


def check_limits(**limits_s: float) -> None:
    """Refuse what is no length of time.

    Raises:
        ConfigError: One is negative or no number.
    """
    for key, limit_s in limits_s.items():
        if not limit_s >= 0.0:
            message = f'{key} is {limit_s}; give seconds, at least 0.'
            raise ConfigError(message)
