# SPDX-License-Identifier: Apache-2.0
"""The factor that one measured distance puts right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from depth_core.contracts import Float32Array
from depth_core.errors import ConfigError, DataError

_POINT: Final = 3
_RECTANGLE: Final = 5
_AROUND_PX: Final = 2


@dataclass(frozen=True, kw_only=True)
class KnownDistance:
    """A part of an image, and how far what it shows is along the optical axis."""

    left: int
    """First column, pixels."""
    top: int
    """First row, pixels."""
    right: int
    """Last column, pixels."""
    bottom: int
    """Last row, pixels."""
    depth_m: float
    """Measured z-depth, metres."""

    def __post_init__(self) -> None:
        ordered = 0 <= self.left <= self.right and 0 <= self.top <= self.bottom
        if not ordered or not 0.0 < self.depth_m < np.inf:
            message = (
                f'known distance {self.depth_m:g} m at columns {self.left} to {self.right}, rows '
                f'{self.top} to {self.bottom}: give pixels from 0 on, the smaller ones first, and '
                'metres above 0.'
            )
            raise ConfigError(message)

    @classmethod
    def parse(cls, text: str) -> KnownDistance:
        """Read `column,row,metres` or `left,top,right,bottom,metres`.

        Raises:
            ConfigError: It is neither.
        """
        parts = text.split(',')
        try:
            *pixels, depth_m = [*(int(part) for part in parts[:-1]), float(parts[-1])]
        except ValueError:
            pixels, depth_m = [], 0.0
        if len(parts) not in {_POINT, _RECTANGLE} or not pixels:
            message = (
                f'known distance {text!r} cannot be read; give column,row,metres as 320,240,2.5, '
                'or left,top,right,bottom,metres.'
            )
            raise ConfigError(message)
        left, top, *other = (int(pixel) for pixel in pixels)
        right, bottom = other or (left, top)
        return cls(left=left, top=top, right=right, bottom=bottom, depth_m=depth_m)

    def found_in(self, depth_m: Float32Array) -> float:
        """Median depth of the part; of a single pixel that of the 5 x 5 around it.

        Args:
            depth_m: [H, W] depth; NaN and infinities are no depth.

        Raises:
            DataError: The part leaves the image, or less than half of it has a depth.
        """
        height, width = depth_m.shape
        if self.right >= width or self.bottom >= height:
            message = (
                f'known distance at column {self.right}, row {self.bottom} is outside the image '
                f'of {width} columns and {height} rows; give pixels of this image, from 0.'
            )
            raise DataError(message)
        around = _AROUND_PX if (self.left, self.top) == (self.right, self.bottom) else 0
        part = depth_m[
            max(self.top - around, 0) : self.bottom + around + 1,
            max(self.left - around, 0) : self.right + around + 1,
        ]
        finite = part[np.isfinite(part)]
        if 2 * finite.size < part.size:
            message = (
                f'only {finite.size} of {part.size} pixels at the known distance have a depth '
                'within the range of the model; choose another place.'
            )
            raise DataError(message)
        return float(np.median(finite))

    def compare(self, depth_m: Float32Array, *, scale_correction: float) -> str:
        """Say what was predicted there, and which `scale_correction` of the manifest is right.

        Args:
            depth_m: [H, W] depth, metres.
            scale_correction: What the manifest states now.

        Raises:
            DataError: As for `found_in`.
        """
        found_m = self.found_in(depth_m)
        corrected = scale_correction * self.depth_m / found_m
        return (
            f'known distance {self.depth_m:g} m, predicted {found_m:.4g} m with scale_correction '
            f'{scale_correction:g}: scale_correction {corrected:.4g} in the section depth of the '
            'manifest makes them equal'
        )
