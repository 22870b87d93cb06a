# SPDX-License-Identifier: Apache-2.0
"""The numbers of a TIFF directory, which is also what EXIF data are, and the turn they state."""

from __future__ import annotations

import struct
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
_ENTRY_BYTES: Final = 12


def tiff_numbers(content: bytes | memoryview) -> dict[int, int]:
    """The single 16- and 32-bit numbers of the first directory, by tag.

    What is cut off is left out.

    Args:
        content: From its byte order mark on.
    """
    numbers: dict[int, int] = {}
    order = {TIFF_STARTS[0]: '<', TIFF_STARTS[1]: '>'}.get(bytes(content[:4]))
    if order is None or len(content) < 8:  # noqa: PLR2004  mark, 42 and the place of the directory
        return numbers
    start = struct.unpack_from(f'{order}I', content, 4)[0]
    if start + 2 > len(content):
        return numbers
    count = struct.unpack_from(f'{order}H', content, start)[0]
    first = start + 2
    for place in range(first, min(first + count * _ENTRY_BYTES, len(content) - 11), _ENTRY_BYTES):
        tag, kind, length = struct.unpack_from(f'{order}HHI', content, place)
        if length == 1 and kind in _NUMBERS:
            numbers[tag] = struct.unpack_from(order + _NUMBERS[kind], content, place + 8)[0]
    return numbers


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
