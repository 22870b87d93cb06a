# SPDX-License-Identifier: Apache-2.0
"""The numbers of a TIFF directory, which is also what EXIF data are, and the turn they state."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import Uint8Array

TIFF_STARTS: Final = (b'II*\0', b'MM\0*')
"""Little- and big-endian."""

ORIENTATION: Final = 0x0112
"""Tag of the orientation, 1..8."""

_UPRIGHT: Final = 1
_MIRRORED: Final = (2, 4, 5, 7)
_TURNS: Final = {
    3: cv2.ROTATE_180,
    4: cv2.ROTATE_180,
    6: cv2.ROTATE_90_CLOCKWISE,
    7: cv2.ROTATE_90_CLOCKWISE,
    5: cv2.ROTATE_90_COUNTERCLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_NUMBERS: Final = {3: 'H', 4: 'I'}
"""Field types with one number of 16 or 32 bits."""
_RATIONAL: Final = 5
"""Field type of a fraction of two 32-bit numbers, which stand elsewhere."""
_EXIF_DIRECTORY: Final = 0x8769
"""Tag of the place of the EXIF directory."""
_ENTRY_BYTES: Final = 12


def tiff_numbers(content: bytes | memoryview) -> dict[int, int]:
    """The single 16- and 32-bit whole numbers of the first directory, by tag.

    What is cut off is left out.

    Args:
        content: From its byte order mark on.
    """
    return {tag: value for tag, value in _numbers(content, 0) if isinstance(value, int)}


def exif_numbers(content: bytes | memoryview) -> dict[int, float]:
    """The same with fractions, and those of the EXIF directory that the first one points to."""
    numbers: dict[int, float] = dict(_numbers(content, 0))
    place = numbers.get(_EXIF_DIRECTORY)
    return numbers if place is None else numbers | dict(_numbers(content, int(place)))


def _numbers(content: bytes | memoryview, start: int) -> Iterator[tuple[int, int | float]]:
    """Tag and value of each entry with one number in the directory at `start`, 0 for the first."""
    order = {TIFF_STARTS[0]: '<', TIFF_STARTS[1]: '>'}.get(bytes(content[:4]))
    if order is None or len(content) < 8:  # noqa: PLR2004  mark, 42 and the place of the directory
        return
    start = start or struct.unpack_from(f'{order}I', content, 4)[0]
    if start + 2 > len(content):
        return
    count = struct.unpack_from(f'{order}H', content, start)[0]
    first = start + 2
    for place in range(first, min(first + count * _ENTRY_BYTES, len(content) - 11), _ENTRY_BYTES):
        tag, kind, length = struct.unpack_from(f'{order}HHI', content, place)
        if length == 1 and kind in _NUMBERS:
            yield tag, struct.unpack_from(order + _NUMBERS[kind], content, place + 8)[0]
        elif length == 1 and kind == _RATIONAL:
            at = struct.unpack_from(f'{order}I', content, place + 8)[0]
            if at + 8 <= len(content):
                above, below = struct.unpack_from(f'{order}II', content, at)
                if below:
                    yield tag, above / below


def orientation_of(exif: bytes | memoryview) -> int:
    """The orientation that EXIF data state, 1..8; 1 where they state none."""
    found = tiff_numbers(exif).get(ORIENTATION, _UPRIGHT)
    return found if found in range(1, 9) else _UPRIGHT


def upright(image: Uint8Array, orientation: int) -> Uint8Array:
    """Turn an image as its EXIF orientation says (EXIF 2.3, section 4.6.4)."""
    if orientation in _MIRRORED:
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    if orientation in _TURNS:
        image = np.asarray(cv2.rotate(image, _TURNS[orientation]), np.uint8)
    return image
