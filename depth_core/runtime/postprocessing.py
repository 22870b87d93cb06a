# SPDX-License-Identifier: Apache-2.0
"""From the planes of a graph to depth and sigma at the size of the image."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from depth_core.contracts import DepthKind, Float32Array, OutputSpec
from depth_core.runtime.placement import Placement
from depth_core.runtime.plane_pool import PlanePool

RANGE_TOLERANCE: Final = 1e-3
"""A depth within this fraction of an end of the range counts as that end: half precision rounds
by half as much, and interpolation between two saturated pixels by far less."""
_ROUNDING: Final = 1e-6
"""What interpolation may add to the largest of its values, as a fraction."""


class Postprocessor:
    """Turns the planes of one graph into depth and sigma at the size of an image.

    Bilinear, after values beyond the range have been brought to its ends, so that one of them
    does not spoil its neighbours. Then what lies at an end is stated as REP-117 wants it: +inf
    at `max_depth`, -inf at `min_depth`, both within `RANGE_TOLERANCE`. An inverse depth has no
    such ends. NaN stays NaN.
    """

    def __init__(self, spec: OutputSpec) -> None:
        self._spec = spec
        self._ranged = spec.kind is not DepthKind.INVERSE
        self._pool = PlanePool()
        self._unit = np.float32(spec.unit_m if spec.kind is DepthKind.METRIC else 1.0)

    @property
    def depth_range(self) -> tuple[float, float]:
        """What -inf and +inf stand for, in the unit of what is returned."""
        if not self._ranged:
            return 0.0, math.inf
        return float(self._spec.min_depth), float(self._spec.max_depth)

    def __call__(
        self, depth: Float32Array, sigma: Float32Array | None, placement: Placement
    ) -> tuple[Float32Array, Callable[[], Float32Array]]:
        """Return depth at the size of the camera's image, and what makes sigma there.

        Both are in memory of their own.
        """
        if self._unit != 1.0:
            depth = depth * self._unit
        if self._ranged:
            depth = np.clip(depth, self._spec.min_depth, self._spec.max_depth)
        depth_m = self._pool.take(*placement.image)
        placement.restore(depth, depth_m)
        if self._ranged and _reaches_an_end(depth, self.depth_range):
            mark_ends(depth_m, self.depth_range)
        kept = None
        if sigma is not None:
            kept = self._pool.take(*sigma.shape)  # the backend writes to its own memory again
            np.multiply(sigma, self._unit, out=kept)
        return depth_m, partial(self._sigma_m, kept, placement)

    def _sigma_m(self, sigma: Float32Array | None, placement: Placement) -> Float32Array:
        """Sigma at the size of the image; few who want depth ask for it."""
        sigma_m = self._pool.take(*placement.image)
        if sigma is None:
            sigma_m.fill(np.nan)
        else:
            placement.restore(sigma, sigma_m)
        return sigma_m


def mark_ends(depth_m: Float32Array, depth_range: tuple[float, float]) -> None:
    """Write -inf and +inf, in place, where depth lies at an end of its range or beyond it.

    Args:
        depth_m: [H, W] depth; NaN stays.
        depth_range: Nearest and farthest depth, in the unit of the depth.
    """
    nearest, farthest = _ends(depth_range)
    for ended, value in ((depth_m >= farthest, np.inf), (depth_m <= nearest, -np.inf)):
        if ended.any():
            depth_m[ended] = value


def _ends(depth_range: tuple[float, float]) -> tuple[float, float]:
    """The depths at and beyond which the ends count as reached."""
    nearest, farthest = depth_range
    return nearest * (1.0 + RANGE_TOLERANCE), farthest * (1.0 - RANGE_TOLERANCE)


def _reaches_an_end(depth: Float32Array, depth_range: tuple[float, float]) -> bool:
    """Whether anything interpolated between `depth` can lie at an end; so does NaN."""
    nearest, farthest = _ends(depth_range)
    inside = depth.min() > nearest * (1.0 + _ROUNDING) and depth.max() < farthest * (
        1.0 - _ROUNDING
    )
    return not inside
