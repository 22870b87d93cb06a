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
from depth_core.metrics.sums import sums_of_first, total

SPARSIFICATION_STEPS: Final = 50
"""Intervals of a sparsification curve, as usual on KITTI."""
RELIABILITY_BINS: Final = 10
"""Equal bins of confidence over [0, 1]."""
SPARSIFICATION_METRICS: Final = ('abs_rel', 'rmse', 'a1')
"""Errors that curves are drawn for; the error of a1 is 1 - a1."""
SPARSIFICATION_PIXELS: Final = 2**15
"""Most pixels of an image that are sorted for its curves; where more are scored, as with dense
truth, every second of them, or every third, and so on."""


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
    """Sum over vectors of finite positive predictions, targets and sigmas, all in metres.

    Computed in float32 where all are of it; sums are of float64.
    """
    p, t = prediction, target
    # ln(2 b) + |p - t| / b with b = sigma / sqrt(2)
    nll = total(np.log(sigma)) + p.size * math.log(2.0) / 2.0
    nll += total(np.abs((p - t) / sigma)) * math.sqrt(2.0)
    confidence = probability_within_factor(
        p.astype(np.float32, copy=False), sigma.astype(np.float32, copy=False)
    )
    within = np.maximum(p, t) / np.minimum(p, t) < CONFIDENCE_FACTOR
    share = np.minimum((confidence * RELIABILITY_BINS).astype(np.uint8), RELIABILITY_BINS - 1)
    index = (2 * share + within).astype(np.intp)
    counts, stated = (
        np.bincount(index, weights, 2 * RELIABILITY_BINS).astype(np.float64).reshape(-1, 2)
        for weights in (None, confidence)
    )
    return CalibrationSums(
        count=float(p.size),
        nll=nll,
        confidence=stated.sum(axis=1),
        within=counts[:, 1],
        members=counts.sum(axis=1),
    )


def sparsification_curves(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    sigma: NDArray[np.floating],
) -> dict[str, Sparsification]:
    """Sparsification of one image for each of `SPARSIFICATION_METRICS`.

    Pixels of equal sigma count with their common mean, so that a constant sigma gains exactly
    nothing whatever the order of the pixels. Of more than `SPARSIFICATION_PIXELS` pixels some are
    taken, at even distances.

    Args:
        prediction: [N] positive predicted depths, metres.
        target: [N] positive true depths, metres.
        sigma: [N] finite standard deviations.
    """
    step = -(-sigma.size // SPARSIFICATION_PIXELS)
    p, t, s = prediction[::step], target[::step], sigma[::step]
    certain_first = np.argsort(s)
    s = s[certain_first]
    kept = _kept(s.size)
    last = s[kept - 1]
    cuts = _Cuts(kept, np.searchsorted(s, last), np.searchsorted(s, last, side='right'))
    error = np.abs(p - t)
    relative = error / t
    outside = np.maximum(p, t) / np.minimum(p, t) >= CONFIDENCE_FACTOR
    ordered = np.sort(error)
    terms: Sequence[tuple[NDArray[np.floating], NDArray[np.floating], Callable[[float], float]]]
    terms = (
        (relative, np.sort(relative), float),
        (error * error, ordered * ordered, math.sqrt),
        (outside.astype(np.float32), np.sort(outside).astype(np.float32), float),
    )
    curves = {}
    for name, (term, least_first, finish) in zip(SPARSIFICATION_METRICS, terms, strict=True):
        by_sigma = [*map(finish, cuts.means(term[certain_first])), 0.0]
        by_error = [*map(finish, (sums_of_first(least_first, kept) / kept).tolist()), 0.0]
        curves[name] = Sparsification(
            by_sigma=tuple(by_sigma),
            by_error=tuple(by_error),
            ause=_area(by_sigma) - _area(by_error),
            aurg=by_sigma[0] - _area(by_sigma),
        )
    return curves


@dataclass(frozen=True)
class _Cuts:
    """Where pixels in order of sigma are cut off."""

    kept: NDArray[np.intp]
    """How many are kept."""
    start: NDArray[np.intp]
    """The first of those whose sigma is that of the last one kept."""
    stop: NDArray[np.intp]
    """The first whose sigma is larger."""

    def means(self, terms: NDArray[np.floating]) -> list[float]:
        """Mean of the terms that are kept; those of equal sigma count alike."""
        before, until = sums_of_first(terms, np.stack((self.start, self.stop)))
        share = (self.kept - self.start) / (self.stop - self.start)
        means: list[float] = ((before + (until - before) * share) / self.kept).tolist()
        return means


def _kept(size: int) -> NDArray[np.intp]:
    """50, 49, .. 1 fiftieths of so many pixels, at least one."""
    steps = SPARSIFICATION_STEPS
    return np.array([max(1, round(size * (1.0 - step / steps))) for step in range(steps)])


def _area(curve: Sequence[float]) -> float:
    """Trapezoidal area under a curve over [0, 1]."""
    return (sum(curve) - 0.5 * (curve[0] + curve[-1])) / (len(curve) - 1)
