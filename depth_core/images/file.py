# SPDX-License-Identifier: Apache-2.0
"""Image files as arrays, whole and undamaged ones only, without torch or Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depth_core.contracts import Uint8Array
from depth_core.errors import DataError
from depth_core.images.compressed import rgb_from_encoded
from depth_core.images.errors import ImageError, ImageProblem
from depth_core.images.limit import MAX_PIXELS

IMAGE_SUFFIXES: Final = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')
"""Endings of the files that are looked at as images, lower case."""


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Uint8Array:
    """Read the image file at `path`, turned upright as its EXIF orientation says.

    Depth maps, labels and intrinsics that come with a picture are those of the upright one.

    Args:
        path: A JPEG, PNG, WebP, BMP or TIFF of 8 bits a channel.
        max_pixels: Largest height times width.

    Returns:
        [H, W, 3] uint8 RGB; a grey image three times, alpha dropped.

    Raises:
        DataError: It is missing, truncated, damaged, no image, too large, or has more than 8 bits.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f'image {path} cannot be read: {error.strerror or error}; check the path.'
        raise DataError(message) from error
    try:
        return rgb_from_encoded(
            content, eight_bits_only=True, turn_upright=True, max_pixels=max_pixels
        )
    except ImageError as error:
        remedy = '; copy or download it again' if error.problem is ImageProblem.DAMAGED else ''
        message = f'image {path} ({len(content)} bytes) {error}{remedy}.'
        raise DataError(message) from error
