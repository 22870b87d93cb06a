# SPDX-License-Identifier: Apache-2.0
"""The one reader of image files, and the one decoder of raw and compressed image messages.

Values in, RGB arrays out: message types stay with their readers. It loads neither torch nor
Pillow.
"""

from __future__ import annotations

from depth_core.images.compressed import rgb_from_compressed, rgb_from_encoded
from depth_core.images.encodings import ENCODINGS, rgb_from_raw
from depth_core.images.errors import ImageError, ImageProblem
from depth_core.images.file import IMAGE_SUFFIXES, read_image
from depth_core.images.focal import StatedFocal, read_stated_focal, stated_focal
from depth_core.images.header import ImageHeader, read_header
from depth_core.images.limit import MAX_PIXELS, limit_pixels

__all__ = [
    'ENCODINGS',
    'IMAGE_SUFFIXES',
    'MAX_PIXELS',
    'ImageError',
    'ImageHeader',
    'ImageProblem',
    'StatedFocal',
    'limit_pixels',
    'read_header',
    'read_image',
    'read_stated_focal',
    'rgb_from_compressed',
    'rgb_from_encoded',
    'rgb_from_raw',
    'stated_focal',
]
