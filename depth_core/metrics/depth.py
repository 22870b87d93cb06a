# SPDX-License-Identifier: Apache-2.0
"""Depth errors of a set of pixels, and the constant depth that errs least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import CONFIDENCE_FACTOR, BoolArray, Float32Array
from depth_core.errors import DataError
from depth_core.metrics.sums import total


@dataclass(frozen=True, kw_only=True)
class DepthMetrics:
    """The usual error numbers of a set of pixels, prediction p against ground truth t."""

    abs_rel: float
    """mean |p - t| / t."""
    sq_rel: float
    """mean (p - t)^2 / t, metres."""
    rmse: float
    """Square root of mean (p - t)^2, metres."""
    rmse_log: float
    """Square root of mean (ln p - ln t)^2."""
    log10: float
    """mean |log10 p - log10 t|."""
    silog: float
    """100 times the standard deviation of ln p - ln t."""
    a1: float
    """Fraction with max(p/t, t/p) below 1.25."""
    a2: float
    """The same below 1.25^2."""
    a3: float
    """The same below 1.25^3."""


METRIC_NAMES: Final = tuple(item.name for item in fields(DepthMetrics))
"""The fields of `DepthMetrics`, in the order of tables."""


@dataclass(frozen=True, kw_only=True)
class ErrorSums:
    """Sums from which `DepthMetrics` follow; sums of images add up to the pooled sums."""

    count: float
    abs_rel: float
    sq_rel: float
    squared: float
    log: float
    log_squared: float
    log10: float
    a1: float
    a2: float
    a3: float

    @classmethod
    def of(cls, prediction: NDArray[np.floating], target: NDArray[np.floating]) -> ErrorSums:
        """Sum over vectors of positive, finite depths."""
        return PixelErrors.of(prediction, target).sums()

    def __add__(self, other: ErrorSums) -> ErrorSums:
        summed = np.add(astuple(self), astuple(other)).tolist()
        return ErrorSums(**dict(zip((item.name for item in fields(self)), summed, strict=True)))

    def metrics(self) -> DepthMetrics:
        """Divide by the count, which must not be zero."""
        n = self.count
        spread = self.log_squared / n - (self.log / n) ** 2
        return DepthMetrics(
            abs_rel=self.abs_rel / n,
            sq_rel=self.sq_rel / n,
            rmse=math.sqrt(self.squared / n),
            rmse_log=math.sqrt(self.log_squared / n),
            log10=self.log10 / n,
            silog=100.0 * math.sqrt(max(spread, 0.0)),
            a1=self.a1 / n,
            a2=self.a2 / n,
            a3=self.a3 / n,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelErrors:
    """The errors of single pixels, computed once for the sums of all and of some of them."""

    error: NDArray[np.floating]
    """[N] p - t, metres."""
    relative: NDArray[np.floating]
    """[N] (p - t) / t."""
    ratio: NDArray[np.floating]
    """[N] max(p/t, t/p)."""
    log: NDArray[np.floating]
    """[N] ln p - ln t."""

    @classmethod
    def of(cls, prediction: NDArray[np.floating], target: NDArray[np.floating]) -> PixelErrors:
        """Compare vectors of positive, finite depths, in float32 where both are."""
        error = prediction - target
        ratio = np.maximum(prediction, target) / np.minimum(prediction, target)
        return cls(
            error=error,
            relative=error / target,
            ratio=ratio,
            log=np.log(prediction / target),
        )

    def sums(self, own: NDArray[np.intp] | None = None) -> ErrorSums:
        """Sum in float64 over all pixels, or over those of these places."""
        error, relative, ratio, log = (
            plane if own is None else plane.take(own)
            for plane in (self.error, self.relative, self.ratio, self.log)
        )
        return ErrorSums(
            count=float(error.size),
            abs_rel=total(np.abs(relative)),
            sq_rel=total(error * relative),
            squared=total(error * error),
            log=total(log),
            log_squared=total(log * log),
            log10=total(np.abs(log)) / math.log(10.0),
            a1=float(np.count_nonzero(ratio < CONFIDENCE_FACTOR)),
            a2=float(np.count_nonzero(ratio < CONFIDENCE_FACTOR**2)),
            a3=float(np.count_nonzero(ratio < CONFIDENCE_FACTOR**3)),
        )


DISTANCE_EDGES_M: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0)
"""Where the bins of true depth begin, whole metres; the last has no end."""
_BIN_OF_METRE: Final = (
    np.searchsorted(DISTANCE_EDGES_M, np.arange(256.0), side='right').astype(np.uint8) - 1
)


def distance_bins(target_m: NDArray[np.floating]) -> NDArray[np.uint8]:
    """In which bin each of [N] positive true depths lies."""
    metre = np.minimum(target_m, DISTANCE_EDGES_M[-1]).astype(np.uint8)
    return np.asarray(cv2.LUT(metre.reshape(1, -1), _BIN_OF_METRE), np.uint8).reshape(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceSums:
    """Sums for each bin of true depth; sums of images add up."""

    count: NDArray[np.float64]
    """[bins] pixels."""
    abs_rel: NDArray[np.float64]
    """[bins] sum of |p - t| / t."""
    bias: NDArray[np.float64]
    """[bins] sum of (p - t) / t."""

    def __add__(self, other: DistanceSums) -> DistanceSums:
        return DistanceSums(
            count=self.count + other.count,
            abs_rel=self.abs_rel + other.abs_rel,
            bias=self.bias + other.bias,
        )

    def bins(self) -> tuple[DistanceBin, ...]:
        """The bins that hold pixels."""
        ends = (*DISTANCE_EDGES_M[1:], math.inf)
        return tuple(
            DistanceBin(
                from_m=start,
                to_m=end,
                pixels=int(count),
                abs_rel=float(abs_rel / count),
                bias=float(bias / count),
            )
            for start, end, count, abs_rel, bias in zip(
                DISTANCE_EDGES_M, ends, self.count, self.abs_rel, self.bias, strict=True
            )
            if count
        )


@dataclass(frozen=True, kw_only=True)
class DistanceBin:
    """Errors of the pixels whose true depth lies in [from_m, to_m)."""

    from_m: float
    to_m: float
    pixels: int
    abs_rel: float
    """mean |p - t| / t."""
    bias: float
    """mean (p - t) / t: above 0 when predictions are too far."""


def depth_metrics(
    prediction_m: Float32Array, target_m: Float32Array, valid: BoolArray | None = None
) -> DepthMetrics:
    """Metrics over the valid pixels of one array, without crop, clamping or alignment.

    Args:
        prediction_m: Predicted depth; NaN is left out, every other value must be positive.
        target_m: Ground truth of the same shape; NaN, 0 and infinities are left out.
        valid: Where the ground truth may be used; everywhere when None.

    Raises:
        DataError: Shapes differ, or no pixel can be scored.
    """
    check_shapes(prediction_m, target_m, valid)
    with np.errstate(invalid='ignore'):
        mask = np.isfinite(target_m) & (target_m > 0.0) & (prediction_m > 0.0)
    mask &= np.isfinite(prediction_m)
    if valid is not None:
        mask &= valid
    if not mask.any():
        message = (
            f'none of {target_m.size} pixels has both a positive prediction and ground truth; '
            'metrics need at least one.'
        )
        raise DataError(message)
    return ErrorSums.of(prediction_m[mask], target_m[mask]).metrics()


def best_constant_depth(targets_m: Sequence[NDArray[np.floating]]) -> float:
    """Return the one depth, in metres, with the smallest AbsRel averaged over images.

    |c - t| / t weighs an image's pixel by 1 / (t n), so the minimum is a weighted median.

    Args:
        targets_m: The scored ground truth of each image, as vectors.

    Raises:
        DataError: There is no value at all.
    """
    used = [np.asarray(target, np.float64).ravel() for target in targets_m if target.size]
    if not used:
        message = 'the constant baseline needs ground truth; no image has any.'
        raise DataError(message)
    values = np.concatenate(used)
    weights = np.concatenate([1.0 / (target * target.size) for target in used])
    order = np.argsort(values)
    mass = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(mass, 0.5 * mass[-1])])


def check_shapes(
    prediction_m: Float32Array, target_m: Float32Array, *others: NDArray[np.generic] | None
) -> None:
    """Refuse arrays of different shapes.

    Raises:
        DataError: The shape of the prediction, or of a mask or sigma, is not the target's.
    """
    for array in (prediction_m, *others):
        if array is not None and array.shape != target_m.shape:
            message = (
                f'prediction, mask or sigma of shape {array.shape} cannot be scored against '
                f'ground truth of shape {target_m.shape}; resize the prediction to the ground '
                'truth, never the ground truth.'
            )
            raise DataError(message)
