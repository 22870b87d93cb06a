# SPDX-License-Identifier: Apache-2.0
"""The focal length that a picture states of itself (EXIF 2.32, section 4.6.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from depth_core.contracts import Intrinsics
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_focal
from depth_core.images.errors import ImageError
from depth_core.images.exif import exif_numbers
from depth_core.images.header import Encoded, read_header

_FOCAL_MM: Final = 0x920A
_FOCAL_35MM: Final = 0xA405
_PLANE_X, _PLANE_Y, _PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
_STORED_WIDTH, _STORED_HEIGHT = 0xA002, 0xA003
_UNIT_MM: Final[Mapping[float, float]] = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Millimetres in the unit of the focal plane resolution: inches, centimetres, and so on."""
_INCH: Final = 2
_DIAGONAL_35MM: Final = math.hypot(36.0, 24.0)
_TURNED: Final = range(5, 9)
"""Orientations in which rows and columns change places."""


@dataclass(frozen=True, kw_only=True)
class StatedFocal:
    """Focal length of a picture turned upright."""

    fx_px: float
    fy_px: float
    source: str
    """Which entries say so, in words."""
    cropped: str = ''
    """Why the picture was cropped since, in words, so that the focal length is not its own; ''
    where nothing tells of that."""

    def camera(self, *, height: int, width: int) -> Intrinsics:
        """The camera of the picture turned upright, its axis in the middle."""
        centred = intrinsics_from_focal(self.fx_px, height=height, width=width)
        return replace(centred, fy_px=self.fy_px)


def read_stated_focal(path: Path) -> StatedFocal | None:
    """Read the focal length that the image file at `path` states; None where it states none.

    Raises:
        DataError: It cannot be read, or is no whole image.
    """
    try:
        return stated_focal(path.read_bytes())
    except (OSError, ImageError) as error:
        message = f'image {path} cannot be read: {error}; check the file.'
        raise DataError(message) from error


def stated_focal(content: Encoded) -> StatedFocal | None:
    """Read the focal length in pixels out of an encoded image.

    `FocalLengthIn35mmFilm` comes first: the focal length over the diagonal of a frame of 36 x 24
    mm (CIPA DCG-001), which is right for pictures of any shape that were resized as a whole. Else
    `FocalLength` with the resolution of the focal plane, scaled by the size the picture had. A
    picture that was cropped states neither rightly: that shows where the size it had, by its EXIF
    data, is of another shape. Of the same shape, it may have been resized or cropped; `source`
    says then what size it had.

    Args:
        content: JPEG, PNG, WebP, BMP or TIFF.

    Returns:
        The focal length, or None where none is stated.

    Raises:
        ImageError: It is no such image, or truncated.
    """
    header = read_header(content)
    numbers = exif_numbers(header.exif)
    change, cropped = _changes(numbers, header.height, header.width)
    film_mm = numbers.get(_FOCAL_35MM, 0.0)
    if film_mm > 0.0:
        focal_px = film_mm * math.hypot(header.height, header.width) / _DIAGONAL_35MM
        source = f'EXIF FocalLengthIn35mmFilm {film_mm:g} mm{change}'
        return StatedFocal(fx_px=focal_px, fy_px=focal_px, source=source, cropped=cropped)
    lengths = [
        numbers.get(_FOCAL_MM, 0.0) * _per_mm(numbers, plane, stored, side)
        for plane, stored, side in (
            (_PLANE_X, _STORED_WIDTH, header.width),
            (_PLANE_Y, _STORED_HEIGHT, header.height),
        )
    ]
    if not all(length > 0.0 for length in lengths):
        return None
    if header.orientation in _TURNED:
        lengths.reverse()
    source = f'EXIF FocalLength {numbers[_FOCAL_MM]:g} mm and focal plane resolution{change}'
    return StatedFocal(fx_px=lengths[0], fy_px=lengths[1], source=source, cropped=cropped)


def _changes(numbers: Mapping[int, float], height: int, width: int) -> tuple[str, str]:
    """What the size that EXIF data state tells of a file: (a remark, why it was cropped)."""
    had = numbers.get(_STORED_HEIGHT, 0.0), numbers.get(_STORED_WIDTH, 0.0)
    # Some programs turn the pixels and leave these numbers, or the other way round.
    if not all(had) or had in {(height, width), (width, height)}:
        return '', ''
    stated = f'{had[1]:g}x{had[0]:g} pixels, and the file has {width}x{height}'
    if any(_same_shape(sides, (height, width)) for sides in (had, had[::-1])):
        return f'; it states {stated}: resized as a whole, else give the focal length', ''
    return '', f'its EXIF data state {stated}: it was cropped, or resized by two factors'


def _same_shape(had: tuple[float, float], now: tuple[int, int]) -> bool:
    """Whether one factor brings (height, width) to another, within a pixel of rounding."""
    factor = math.sqrt(now[0] * now[1] / (had[0] * had[1]))
    return all(abs(old * factor - new) <= 1.0 for old, new in zip(had, now, strict=True))


def _per_mm(numbers: Mapping[int, float], plane: int, stored: int, side: int) -> float:
    """Pixels in a millimetre of the focal plane, 0 where that is not stated."""
    unit_mm = _UNIT_MM.get(numbers.get(_PLANE_UNIT, _INCH), 0.0)
    if not unit_mm:
        return 0.0
    resized = side / numbers[stored] if numbers.get(stored, 0.0) > 0.0 else 1.0
    return numbers.get(plane, 0.0) / unit_mm * resized
