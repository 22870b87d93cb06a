# SPDX-License-Identifier: Apache-2.0
"""Scale from true depth at some pixels: lidar, radar, stereo, or points a robot tracked."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import ConfigError, unknown_name
from depth_core.scale.estimate import (
    ScaleEstimate,
    ScaleState,
    check_same_pixels,
    positive,
    refused,
)

SparseMethod: TypeAlias = Literal['median', 'least_squares']
SPARSE_METHODS: Final[tuple[SparseMethod, ...]] = get_args(SparseMethod)

_NORMAL_SPREAD: Final = 1.4826
"""Standard deviations in one median absolute deviation of a normal distribution."""
_REJECTED_BEYOND: Final = 3.0
"""Standard deviations beyond which a ratio is an outlier."""
_ROUNDS: Final = 10


def sparse_depth_scale(
    prediction: NDArray[np.floating],
    measured_m: NDArray[np.floating],
    *,
    sigma: NDArray[np.floating] | None = None,
    method: SparseMethod = 'median',
    min_points: int = 20,
    max_residual: float = 0.25,
) -> ScaleEstimate:
    """Find the factor that brings a prediction to what was measured.

    `median` answers the median of measured / predicted, so that half of the points may be wrong.
    `least_squares` starts there, leaves out ratios more than three deviations from it (the
    deviation taken robustly, from the median of the differences), and then minimises
    sum w (scale * predicted - measured)^2, again and again until no point changes sides. A point
    weighs 1 / measured^2, because depth errs by a share of the distance; with `sigma` it weighs
    1 / sigma^2. It uses all good points and is about 1.25 times as exact.

    Args:
        prediction: Predicted depth, any shape; NaN = no estimate, infinities take no part.
        measured_m: True depth at the same places, metres; NaN or 0 = none.
        sigma: Standard deviation of the prediction, for the weights of least_squares.
        method: median or least_squares.
        min_points: Fewer usable points give no scale.
        max_residual: A larger residual gives no scale: the prediction has another shape than
            what was measured, or the two do not belong together. With the default half of the
            points agree within a quarter; of numbers drawn apart, that is not true.

    Returns:
        The estimate; its residual is the median of |measured / (scale * predicted) - 1| over all
        usable points, those left out included.

    Raises:
        ConfigError: The method is unknown.
        DataError: Shapes differ.
    """
    if method not in SPARSE_METHODS:
        raise ConfigError(unknown_name('sparse scale method', method, SPARSE_METHODS))
    for name, array in (('prediction', prediction), ('sigma', sigma)):
        if array is not None:
            check_same_pixels(name, array, measured_m)
    usable = positive(prediction) & positive(measured_m)
    if sigma is not None:
        usable &= positive(sigma)
    p = prediction[usable].astype(np.float64)
    t = measured_m[usable].astype(np.float64)
    if p.size < max(min_points, 1):
        return refused(ScaleState.TOO_FEW_POINTS, points=int(p.size))
    scale = float(np.median(t / p))
    kept = p.size
    if method == 'least_squares':
        weight = 1.0 / (t if sigma is None else sigma[usable].astype(np.float64)) ** 2
        scale, kept = _least_squares(p, t, weight, scale)
    residual = float(np.median(np.abs(t / (scale * p) - 1.0)))
    if residual > max_residual:
        return refused(ScaleState.INCONSISTENT, points=kept, residual=residual)
    return ScaleEstimate(state=ScaleState.VALID, scale=scale, residual=residual, points=kept)


def _least_squares(
    p: NDArray[np.float64], t: NDArray[np.float64], weight: NDArray[np.float64], scale: float
) -> tuple[float, int]:
    """The scale from all points that are not outliers, and how many these are."""
    kept = np.ones(p.size, np.bool_)
    for _ in range(_ROUNDS):
        off = t / (scale * p) - 1.0
        spread = _NORMAL_SPREAD * float(np.median(np.abs(off - np.median(off))))
        # Exact data has no spread: rounding must not make outliers of it.
        inside = np.abs(off - np.median(off)) <= max(_REJECTED_BEYOND * spread, 1e-6)
        q, d, w = p[inside], t[inside], weight[inside]
        scale = float((w * q) @ d / ((w * q) @ q))
        if np.array_equal(inside, kept):
            break
        kept = inside
    return scale, int(inside.sum())


def sparse_plane(
    rows: NDArray[np.floating],
    columns: NDArray[np.floating],
    depths_m: NDArray[np.floating],
    *,
    height: int,
    width: int,
) -> Float32Array:
    """Return measured depths at their pixels, NaN elsewhere; the nearest hides what is behind.

    Args:
        rows: [N] place of each depth, pixels; cut to whole ones. Outside of the plane it is lost.
        columns: [N] the same.
        depths_m: [N] what is not above 0 is lost.
        height: Rows of the plane.
        width: Columns of the plane.
    """
    inside = (columns >= 0.0) & (columns < width) & (rows >= 0.0) & (rows < height)
    kept = np.flatnonzero(inside & (depths_m > 0.0))
    kept = kept[np.argsort(-depths_m[kept])]  # the nearest is written last
    plane = np.full((height, width), np.nan, np.float32)
    plane[rows[kept].astype(np.intp), columns[kept].astype(np.intp)] = depths_m[kept]
    return plane
