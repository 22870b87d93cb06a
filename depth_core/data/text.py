# SPDX-License-Identifier: Apache-2.0
"""Text files of data sets: lists of samples, plain or gzipped, and numbers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import DataError
from depth_core.files import decode_text, gunzipped, read_text, read_whole

_DECIMAL_COMMA: Final = re.compile(r'[+-]?\d+,\d+([eE][+-]?\d+)?')
_MOST_BYTES: Final = 16 << 20
"""Of a list once it is unpacked; those of KITTI have three million."""
_LONGEST_LINE: Final = 4096
"""Characters; paths have no more."""
_ROTATION_TOLERANCE: Final = 0.01
"""Of a rotation matrix times its transpose against one: files round to a few digits."""


def read_lines(path: Path) -> Sequence[tuple[int, str]]:
    """Read the lines that are not blank, with their numbers from 1.

    Raises:
        DataError: The file is missing, not text, truncated, or has no line.
    """
    try:
        if path.suffix == '.gz':
            text = decode_text(gunzipped(read_whole(path), _MOST_BYTES))
        else:
            text = read_text(path)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        message = f'list {path} cannot be read: {error}; give a UTF-8 text file, plain or .gz.'
        raise DataError(message) from error
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    lines = [(number, line) for number, line in stripped if line]
    for number, line in lines:
        if len(line) > _LONGEST_LINE:
            message = (
                f'line {number} of list {path} has {len(line)} characters, and at most '
                f'{_LONGEST_LINE} are read; list one sample a line.'
            )
            raise DataError(message)
    if not lines:
        message = f'list {path} is empty; it must name at least one sample, one a line.'
        raise DataError(message)
    return lines


def read_entries(path: Path) -> dict[str, str]:
    """Read the `name: values` lines of a calibration file.

    Raises:
        DataError: It is missing or not text.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        message = (
            f'calibration {path} cannot be read: {error}; unpack the calibration archive of that '
            'day into the folder of the day.'
        )
        raise DataError(message) from error
    pairs = (line.split(':', 1) for line in lines if ':' in line)
    return {name.strip(): values for name, values in pairs}


def numbers_of(text: str, count: int, *, source: str) -> NDArray[np.float64]:
    """Read `count` finite numbers that white space separates.

    Args:
        text: The numbers, with decimal points.
        count: How many there must be.
        source: File and entry they are from, for the error message.

    Raises:
        DataError: There are more or fewer, or one is no finite number.
    """
    words = text.split()
    if len(words) != count:
        message = (
            f'{source} has {len(words)} numbers; it must have {count}: the file is truncated or '
            'of another kind.'
        )
        raise DataError(message)
    for word in words:
        if _DECIMAL_COMMA.fullmatch(word):
            message = (
                f'{source} has the number {word!r} with a decimal comma; write numbers with a '
                f'decimal point: {word.replace(",", ".")}.'
            )
            raise DataError(message)
        if not _is_finite(word):
            message = f'{source} has {word!r} where a finite number is expected; correct the file.'
            raise DataError(message)
    return np.array([float(word) for word in words])


def rotation_of(text: str, *, source: str) -> NDArray[np.float64]:
    """Read a [3, 3] rotation, row by row.

    Raises:
        DataError: It is not nine numbers, or they are no rotation.
    """
    matrix = numbers_of(text, 9, source=source).reshape(3, 3)
    orthogonal = np.abs(matrix @ matrix.T - np.eye(3)).max() <= _ROTATION_TOLERANCE
    if not orthogonal or np.linalg.det(matrix) <= 0.0:
        message = (
            f'{source} is {matrix.ravel().tolist()}, which is no rotation: its rows must have '
            'length 1 and be at right angles; restore the file.'
        )
        raise DataError(message)
    return matrix


def _is_finite(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False
