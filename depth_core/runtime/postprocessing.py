# SPDX-License-Identifier: Apache-2.0
"""From the planes of a graph to depth and sigma at the size of the image."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import DepthKind, Float32Array, OutputSpec

RANGE_TOLERANCE: Final = 1e-3
"""A depth within this fraction of an end of the range counts as that end: half precision rounds
by half as much, and interpolation between two saturated pixels by far less."""


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
        self._unit = np.float32(spec.unit_m if spec.kind is DepthKind.METRIC else 1.0)

    @property
    def depth_range(self) -> tuple[float, float]:
        """What -inf and +inf stand for, in the unit of what is returned."""
        if not self._ranged:
            return 0.0, math.inf
        return float(self._spec.min_depth), float(self._spec.max_depth)

    def __call__(
        self, depth: Float32Array, sigma: Float32Array | None, *, height: int, width: int
    ) -> tuple[Float32Array, Float32Array]:
        """Return depth and sigma, [height, width], in memory of their own."""
        if self._unit != 1.0:
            depth = depth * self._unit
            sigma = None if sigma is None else sigma * self._unit
        if self._ranged:
            depth = np.clip(depth, self._spec.min_depth, self._spec.max_depth)
        depth_m = _resized(depth, height, width)
        if self._ranged:
            mark_ends(depth_m, self.depth_range)
        if sigma is None:
            return depth_m, np.full((height, width), np.nan, np.float32)
        return depth_m, _resized(sigma, height, width)


def mark_ends(depth_m: Float32Array, depth_range: tuple[float, float]) -> None:
    """Write -inf and +inf, in place, where depth lies at an end of its range or beyond it.

    Args:
        depth_m: [H, W] depth; NaN stays.
        depth_range: Nearest and farthest depth, in the unit of the depth.
    """
    nearest, farthest = depth_range
    for ended, value in (
        (depth_m >= farthest * (1.0 - RANGE_TOLERANCE), np.inf),
        (depth_m <= nearest * (1.0 + RANGE_TOLERANCE), -np.inf),
    ):
        if ended.any():
            depth_m[ended] = value


def _resized(plane: Float32Array, height: int, width: int) -> Float32Array:
    if plane.shape == (height, width):
        return plane.copy()
    # Shrinking by area would blend near and far; bilinear samples the surface that is there.
    resized = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
