# SPDX-License-Identifier: Apache-2.0
"""How much a predicted sigma is worth: sparsification, likelihood and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import CONFIDENCE_FACTOR, probability_within_factor

SPARSIFICATION_STEPS: Final = 50
"""Intervals of a sparsification curve, as usual on KITTI."""
RELIABILITY_BINS: Final = 10
"""Equal bins of confidence over [0, 1]."""
SPARSIFICATION_METRICS: Final = ('abs_rel', 'rmse', 'a1')
"""Errors that curves are drawn for; the error of a1 is 1 - a1."""


@dataclass(frozen=True, kw_only=True)
class Sparsification:
    """What happens to one error when the least certain pixels are removed first."""

    by_sigma: tuple[float, ...]
    """Error of what remains after removing k / 50 of the pixels, k = 0..50; 0 at the end."""
    by_error: tuple[float, ...]
    """The same when the pixels of largest true error go first: the best order there is."""
    ause: float
    """Area between the two curves: 0 for an uncertainty that sorts perfectly."""
    aurg: float
    """Area gained over removing pixels at random: above 0 for an uncertainty worth having."""


@dataclass(frozen=True, kw_only=True)
class CalibrationSums:
    """Sums over pixels with a usable sigma; sums of images add up to the pooled sums."""

    count: float
    nll: float
    """Sum of the negative log likelihood of a Laplace error of standard deviation sigma."""
    confidence: NDArray[np.float64]
    """[bins] sum of the stated probability to be within a factor of 1.25."""
    within: NDArray[np.float64]
    """[bins] number of pixels that really were."""
    members: NDArray[np.float64]
    """[bins] number of pixels."""

    def __add__(self, other: CalibrationSums) -> CalibrationSums:
        mine, theirs = astuple(self), astuple(other)
        names = (item.name for item in fields(self))
        return CalibrationSums(
            **{name: a + b for name, a, b in zip(names, mine, theirs, strict=True)}
        )

    def metrics(self) -> CalibrationMetrics:
        """Divide by the count, which must not be zero."""
        filled = np.maximum(self.members, 1.0)
        gap = np.abs(self.confidence - self.within).sum()
        return CalibrationMetrics(
            nll=self.nll / self.count,
            expected_within=float(self.confidence.sum() / self.count),
            observed_within=float(self.within.sum() / self.count),
            calibration_error=float(gap / self.count),
            bin_confidence=tuple((self.confidence / filled).tolist()),
            bin_observed=tuple((self.within / filled).tolist()),
            bin_share=tuple((self.members / self.count).tolist()),
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationMetrics:
    """Whether the stated confidence comes true."""

    nll: float
    """Mean Laplace negative log likelihood of the ground truth, in nats for metres."""
    expected_within: float
    """Mean stated probability that the truth is within a factor of 1.25 of the prediction."""
    observed_within: float
    """Fraction of pixels where it was."""
    calibration_error: float
    """Mean over pixels of |stated - observed| of their confidence bin."""
    bin_confidence: tuple[float, ...]
    """Mean confidence in each of ten equal bins; 0 in an empty bin."""
    bin_observed: tuple[float, ...]
    """Fraction really within the factor, for each bin."""
    bin_share: tuple[float, ...]
    """Share of the pixels in each bin."""


def calibration_sums(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    sigma: NDArray[np.floating],
) -> CalibrationSums:
    """Sum over vectors of finite positive predictions, targets and sigmas, all in metres."""
    p = np.asarray(prediction, np.float64)
    t = np.asarray(target, np.float64)
    s = np.asarray(sigma, np.float64)
    spread = s / math.sqrt(2.0)
    nll = np.log(2.0 * spread) + np.abs(p - t) / spread
    confidence = probability_within_factor(p.astype(np.float32), s.astype(np.float32))
    within = np.maximum(p / t, t / p) < CONFIDENCE_FACTOR
    index = np.minimum((confidence * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    return CalibrationSums(
        count=float(p.size),
        nll=float(nll.sum()),
        confidence=np.bincount(index, confidence, RELIABILITY_BINS).astype(np.float64),
        within=np.bincount(index, within, RELIABILITY_BINS).astype(np.float64),
        members=np.bincount(index, minlength=RELIABILITY_BINS).astype(np.float64),
    )


def sparsification_curves(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    sigma: NDArray[np.floating],
) -> dict[str, Sparsification]:
    """Sparsification of one image for each of `SPARSIFICATION_METRICS`.

    Pixels of equal sigma count with their common mean, so that a constant sigma gains exactly
    nothing whatever the order of the pixels.

    Args:
        prediction: [N] positive predicted depths, metres.
        target: [N] positive true depths, metres.
        sigma: [N] finite standard deviations.
    """
    p = np.asarray(prediction, np.float64)
    t = np.asarray(target, np.float64)
    certain_first = np.argsort(sigma, kind='stable')
    sorted_sigma = np.asarray(sigma)[certain_first]
    starts = np.flatnonzero(np.concatenate(([True], sorted_sigma[1:] != sorted_sigma[:-1])))
    group_sizes = np.diff(np.append(starts, sorted_sigma.size))
    outside = (np.maximum(p / t, t / p) >= CONFIDENCE_FACTOR).astype(np.float64)
    terms: Sequence[tuple[NDArray[np.float64], Callable[[float], float]]] = (
        (np.abs(p - t) / t, float),
        ((p - t) ** 2, math.sqrt),
        (outside, float),
    )
    curves = {}
    for name, (term, finish) in zip(SPARSIFICATION_METRICS, terms, strict=True):
        tied = np.add.reduceat(term[certain_first], starts) / group_sizes
        by_sigma = _remaining(np.repeat(tied, group_sizes), finish)
        by_error = _remaining(np.sort(term), finish)
        curves[name] = Sparsification(
            by_sigma=tuple(by_sigma),
            by_error=tuple(by_error),
            ause=_area(by_sigma) - _area(by_error),
            aurg=by_sigma[0] - _area(by_sigma),
        )
    return curves


def _remaining(
    terms_best_first: NDArray[np.float64], finish: Callable[[float], float]
) -> list[float]:
    """Error of the best 50, 49, .. 1 fiftieths of the pixels, then 0."""
    total = np.cumsum(terms_best_first)
    size = total.size
    curve = []
    for step in range(SPARSIFICATION_STEPS):
        kept = max(1, round(size * (1.0 - step / SPARSIFICATION_STEPS)))
        curve.append(finish(float(total[kept - 1]) / kept))
    return [*curve, 0.0]


def _area(curve: Sequence[float]) -> float:
    """Trapezoidal area under a curve over [0, 1]."""
    return (sum(curve) - 0.5 * (curve[0] + curve[-1])) / (len(curve) - 1)
