# SPDX-License-Identifier: Apache-2.0
"""The one limit on the size of images."""

from __future__ import annotations

from typing import Final

from depth_core.images.errors import ImageError, ImageProblem

MAX_PIXELS: Final = 61_000_000
"""Height times width of the largest image that is read: that of the largest full-frame sensors.

Sizes are read from headers and compared with it before anything is allocated.
"""


def limit_pixels(height: int, width: int, max_pixels: int) -> None:
    """Refuse an image without pixels, or with more than `max_pixels`.

    Raises:
        ImageError: As said.
    """
    if height < 1 or width < 1:
        message = f'declares {width}x{height} pixels; height and width must be at least 1'
        raise ImageError(ImageProblem.SIZE, message)
    if height * width > max_pixels:
        message = (
            f'declares {width}x{height} pixels, and at most {max_pixels} are read; make it smaller'
        )
        raise ImageError(ImageProblem.SIZE, message)
