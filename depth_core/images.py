# SPDX-License-Identifier: Apache-2.0
"""Image files as arrays, whole ones only, without torch or Pillow.

Decoders fill what a truncated file lacks with grey and say nothing, depending on their version.
So the container of JPEG and PNG files is walked to its end before they are decoded.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import Uint8Array
from depth_core.errors import DataError

IMAGE_SUFFIXES: Final = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')
"""Endings of the files that are looked at as images, lower case."""

_JPEG_START: Final = b'\xff\xd8'
_JPEG_END: Final = 0xD9
_JPEG_PADDING: Final = 0xFF
_JPEG_LONE: Final = {0x00, 0x01, *range(0xD0, 0xD9)}
"""What may follow 0xff without a length: stuffing inside a scan, and restarts."""

_PNG_START: Final = b'\x89PNG\r\n\x1a\n'


def read_image(path: Path) -> Uint8Array:
    """Read the image file at `path`, turned upright as its EXIF orientation says.

    Returns:
        [H, W, 3] uint8 RGB; a grey image three times, alpha dropped.

    Raises:
        DataError: It is missing, truncated, corrupt, no image, or has more than 8 bits.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f'image {path} cannot be read: {error.strerror or error}; check the path.'
        raise DataError(message) from error
    fault = _incomplete(content)
    if fault:
        message = f'image {path} ({len(content)} bytes) {fault}; copy or download it again.'
        raise DataError(message)
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        message = (
            f'image {path} ({len(content)} bytes) cannot be decoded: it is truncated, corrupt or '
            'no image; copy or download it again.'
        )
        raise DataError(message)
    if image.dtype != np.uint8:
        message = (
            f'image {path} has {image.dtype} pixels; images have 8 bits a channel (16-bit files '
            'are usually depth): convert it, or give the colour image.'
        )
        raise DataError(message)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _incomplete(content: bytes) -> str:
    """What is wrong with the container, or nothing."""
    if not content:
        return 'is empty'
    if content.startswith(_JPEG_START):
        return '' if _jpeg_ends(content) else 'is a truncated JPEG file: its end is missing'
    if content.startswith(_PNG_START):
        return _png_fault(content)
    return ''


def _jpeg_ends(content: bytes) -> bool:
    """Whether an end-of-image marker follows the segments and the scans."""
    position = len(_JPEG_START)
    while (position := content.find(b'\xff', position)) >= 0:
        marker = content[position + 1 : position + 2]
        if not marker or marker[0] == _JPEG_END:
            return bool(marker)
        if marker[0] == _JPEG_PADDING:
            position += 1
        elif marker[0] in _JPEG_LONE:
            position += 2
        else:
            length = content[position + 2 : position + 4]
            position += 2 + int.from_bytes(length, 'big')
    return False


def _png_fault(content: bytes) -> str:
    position = len(_PNG_START)
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], 'big')
        end = position + 8 + length
        if end + 4 > len(content):
            break
        kind = content[position + 4 : position + 8]
        if zlib.crc32(content[position + 4 : end]) != int.from_bytes(
            content[end : end + 4], 'big'
        ):
            name = kind.decode('latin-1')
            return f'is a corrupt PNG file: the check sum of its {name} part is wrong'
        if kind == b'IEND':
            return ''
        position = end + 4
    return 'is a truncated PNG file: its end is missing'
