# SPDX-License-Identifier: Apache-2.0
"""From the planes of a graph to depth and sigma at the size of the image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from depth_core.contracts import BoolArray, DepthKind, Float32Array, OutputSpec
from depth_core.runtime.decoding import Decoded
from depth_core.runtime.placement import Placement
from depth_core.runtime.plane_pool import PlanePool

RANGE_TOLERANCE: Final = 1e-3
"""A depth within this fraction of an end of the range counts as that end: half precision rounds
by half as much, and interpolation between two saturated pixels by far less."""
_HALF: Final = np.float32(0.5)
_ROUNDING: Final = 1e-6
"""What interpolation may add to the largest of its values, as a fraction."""


class Postprocessor:
    """Turns decoded planes into depth and sigma at the size of an image.

    Bilinear, after values beyond the range have been brought to its ends, so that one of them
    does not spoil its neighbours. Then what lies at an end is stated as REP-117 wants it: +inf
    at the far one, -inf at the near one, both within `RANGE_TOLERANCE`. An inverse depth has no
    such ends. NaN stays NaN. Where a mask takes the depth away its neighbours keep theirs.
    """

    def __init__(self, spec: OutputSpec) -> None:
        self._ranged = spec.kind is not DepthKind.INVERSE
        self._pool = PlanePool()

    def __call__(
        self, decoded: Decoded, placement: Placement
    ) -> tuple[Float32Array, Callable[[], Float32Array]]:
        """Return depth at the size of the camera's image, and what makes sigma there.

        Both are in memory of their own.
        """
        factor = np.float32(decoded.factor)
        depth = decoded.depth
        if factor != 1.0:
            depth = np.multiply(depth, factor, out=self._pool.take(*depth.shape))
        reached = _ends_reached(depth, decoded.depth_range) if self._ranged else (False, False)
        if any(reached):
            own = depth is not decoded.depth
            bounded = depth if own else self._pool.take(*depth.shape)
            depth = np.clip(depth, *decoded.depth_range, out=bounded)
        depth_m = self._pool.take(*placement.image)
        hidden = _either(decoded.beyond, decoded.unknown)
        shown_m = None if hidden is None else self._restored(~hidden, placement)
        if hidden is None or shown_m is None:
            placement.restore(depth, depth_m)
        else:
            if depth is decoded.depth:  # memory of the backend
                depth = np.where(hidden, np.float32(0.0), depth)
            else:
                np.copyto(depth, np.float32(0.0), where=hidden)
            placement.restore(depth, depth_m)
            if hidden.shape != placement.image:  # else no pixel is of both
                with np.errstate(divide='ignore', invalid='ignore'):  # `_fill` writes there
                    np.divide(depth_m, shown_m, out=depth_m)
        mark_ends(depth_m, decoded.depth_range, *reached)
        taken = None
        if shown_m is not None:
            taken = shown_m < _HALF
            self._fill(depth_m, taken, shown_m, decoded, placement)
        kept = None
        if decoded.sigma is not None:
            # The backend writes to its own memory again.
            kept = self._pool.take(*decoded.sigma.shape)
            np.multiply(decoded.sigma, factor, out=kept)
        return depth_m, partial(self._sigma_m, kept, placement, taken)

    def _sigma_m(
        self, sigma: Float32Array | None, placement: Placement, taken: BoolArray | None
    ) -> Float32Array:
        """Sigma at the size of the image; few who want depth ask for it."""
        sigma_m = self._pool.take(*placement.image)
        if sigma is None:
            sigma_m.fill(np.nan)
        else:
            placement.restore(sigma, sigma_m)
            if taken is not None:
                np.copyto(sigma_m, np.nan, where=taken)
        return sigma_m

    def _fill(
        self,
        depth_m: Float32Array,
        taken: BoolArray,
        shown_m: Float32Array,
        decoded: Decoded,
        placement: Placement,
    ) -> None:
        """Write what masks say in place of the depth, in place."""
        if decoded.unknown is None:
            np.copyto(depth_m, np.inf, where=taken)
            return
        np.copyto(depth_m, np.nan, where=taken)
        if decoded.beyond is not None:
            beyond_m = self._restored(decoded.beyond, placement)
            mostly = beyond_m >= _HALF * (1.0 - shown_m)
            np.copyto(depth_m, np.inf, where=taken & mostly)

    def _restored(self, mask: BoolArray, placement: Placement) -> Float32Array:
        """How much of each pixel of the image a mask covers, [H, W] in [0, 1]."""
        covered_m = self._pool.take(*placement.image)
        covering = self._pool.take(*mask.shape)
        np.copyto(covering, mask)
        placement.restore(covering, covered_m)
        return covered_m


def _either(one: BoolArray | None, other: BoolArray | None) -> BoolArray | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


def mark_ends(
    depth_m: Float32Array, depth_range: tuple[float, float], near: bool = True, far: bool = True
) -> None:
    """Write -inf and +inf, in place, where depth lies at an end of its range or beyond it.

    Args:
        depth_m: [H, W] depth; NaN stays.
        depth_range: Nearest and farthest depth, in the unit of the depth.
        near: Whether any may lie at the near end.
        far: Whether any may lie at the far end.
    """
    nearest, farthest = _ends(depth_range)
    if far:
        np.copyto(depth_m, np.inf, where=depth_m >= farthest)  # several times as fast as an index
    if near:
        np.copyto(depth_m, -np.inf, where=depth_m <= nearest)


def _ends(depth_range: tuple[float, float]) -> tuple[float, float]:
    """The depths at and beyond which the ends count as reached."""
    nearest, farthest = depth_range
    return nearest * (1.0 + RANGE_TOLERANCE), farthest * (1.0 - RANGE_TOLERANCE)


def _ends_reached(depth: Float32Array, depth_range: tuple[float, float]) -> tuple[bool, bool]:
    """Whether anything interpolated between `depth` can lie at the near, and at the far end.

    NaN hides what else there is: then both may be.
    """
    nearest, farthest = _ends(depth_range)
    least, most = depth.min(), depth.max()
    return (
        not least > nearest * (1.0 + _ROUNDING),
        not most < farthest * (1.0 - _ROUNDING),
    )
