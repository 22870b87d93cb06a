# SPDX-License-Identifier: Apache-2.0
"""Scale and shift of inverse depth from true depth at some pixels, image by image.

Networks of relative depth answer v with 1 / z = scale v + shift, and both numbers change from
image to image. Two points settle them, so that pairs are tried (RANSAC) before all that agree are
fitted: a wrong point in an inverse fit pulls the far end of a scene anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.scale.estimate import (
    ScaleEstimate,
    ScaleState,
    check_same_pixels,
    positive,
)

_PAIRS: Final = 100
_MOST_POINTS: Final = 1000
_AGREES: Final = 0.1
"""Relative difference of depths within which a point belongs to a fit."""
_ROUNDS: Final = 3
_SEED: Final = 0
"""The same points give the same answer."""


@dataclass(frozen=True, kw_only=True)
class InverseEstimate(ScaleEstimate):
    """How inverse depth without unit becomes metres: 1 / z = scale v + shift.

    The scale is 1 / metres in one unit of the prediction; the residual is the median of
    |z (scale v + shift) - 1| over the measured points.
    """

    shift: float
    """1 / metres; NaN unless the state is valid."""

    def depth_m(self, prediction: Float32Array) -> Float32Array:
        """Return z-depth, metres: +inf where the inverse is not positive, NaN stays NaN."""
        inverse = prediction * np.float32(self.scale) + np.float32(self.shift)
        with np.errstate(divide='ignore'):
            depth_m: Float32Array = np.reciprocal(np.maximum(inverse, np.float32(0.0)))
        return depth_m


def sparse_inverse_fit(
    prediction: NDArray[np.floating],
    measured_m: NDArray[np.floating],
    *,
    min_points: int = 20,
    max_residual: float = 0.25,
) -> InverseEstimate:
    """Find scale and shift of an inverse prediction; nearly half of the points may be wrong.

    Args:
        prediction: Inverse depth of unknown scale and shift, large = near, any shape; what is not
            finite takes no part.
        measured_m: True depth at the same places, metres; NaN, infinite or 0 = none.
        min_points: Fewer usable points give no estimate.
        max_residual: A larger residual gives no estimate.

    Raises:
        DataError: Shapes differ.
    """
    check_same_pixels('prediction', prediction, measured_m)
    usable = np.isfinite(prediction) & positive(measured_m)
    v = prediction[usable].astype(np.float64)
    z = measured_m[usable].astype(np.float64)
    if v.size < max(min_points, 2):
        return _refused(ScaleState.TOO_FEW_POINTS, v.size)
    source = np.random.default_rng(_SEED)
    if v.size > _MOST_POINTS:
        kept = source.choice(v.size, _MOST_POINTS, replace=False)
        v, z = v[kept], z[kept]
    fit = _best_pair(v, z, source)
    for _ in range(_ROUNDS):
        if fit is not None:
            fit = _least_squares(v, z, *fit)
    if fit is None:
        return _refused(ScaleState.INCONSISTENT, v.size)
    scale, shift = fit
    off = np.abs(z * (scale * v + shift) - 1.0)
    residual = float(np.median(off))
    if residual > max_residual:
        return _refused(ScaleState.INCONSISTENT, v.size, residual)
    return InverseEstimate(
        state=ScaleState.VALID,
        scale=scale,
        shift=shift,
        residual=residual,
        points=int((off <= _AGREES).sum()),
    )


def _best_pair(
    v: NDArray[np.float64], z: NDArray[np.float64], source: np.random.Generator
) -> tuple[float, float] | None:
    """Scale and shift of the two points that most others agree with."""
    first, second = source.integers(v.size, size=(2, _PAIRS))
    first, second = first[v[first] != v[second]], second[v[first] != v[second]]
    scales = (1.0 / z[first] - 1.0 / z[second]) / (v[first] - v[second])
    shifts = 1.0 / z[first] - scales * v[first]
    scales, shifts = scales[scales > 0.0], shifts[scales > 0.0]
    if not scales.size:
        return None
    agree = np.abs(z[:, None] * (v[:, None] * scales + shifts) - 1.0) <= _AGREES
    best = int(agree.sum(axis=0).argmax())
    return float(scales[best]), float(shifts[best])


def _least_squares(
    v: NDArray[np.float64], z: NDArray[np.float64], scale: float, shift: float
) -> tuple[float, float] | None:
    """The fit of least relative error to the points that agree with another."""
    inside = np.abs(z * (scale * v + shift) - 1.0) <= _AGREES
    if np.unique(v[inside]).size < 2:  # noqa: PLR2004  a line
        return scale, shift
    rows = np.stack([v[inside] * z[inside], z[inside]], axis=1)
    solution, *_ = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)
    fitted_scale, fitted_shift = solution.tolist()
    return (fitted_scale, fitted_shift) if fitted_scale > 0.0 else None


def _refused(state: ScaleState, points: int, residual: float = math.nan) -> InverseEstimate:
    return InverseEstimate(
        state=state, scale=math.nan, shift=math.nan, residual=residual, points=points
    )
