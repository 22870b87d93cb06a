# SPDX-License-Identifier: Apache-2.0
"""The numbers of a set, from its images one after the other; memory does not grow with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_core.metrics.boundary import BoundarySums
from depth_core.metrics.classes import class_mean, class_metrics
from depth_core.metrics.depth import (
    METRIC_NAMES,
    DepthMetrics,
    DistanceSums,
    ErrorSums,
    best_constant_depth,
)
from depth_core.metrics.groups import group_metrics
from depth_core.metrics.protocols import Protocol
from depth_core.metrics.regions import RegionSums
from depth_core.metrics.scores import GIVEN, Align, Evaluation, ImageScore, UncertaintyResult
from depth_core.metrics.uncertainty import (
    SPARSIFICATION_METRICS,
    CalibrationSums,
    Sparsification,
)

BASELINE_VALUES: Final = 2**20
"""Most true depths kept for the constant-depth baseline, of all images together."""

SumsT = TypeVar('SumsT', ErrorSums, DistanceSums, CalibrationSums, RegionSums, BoundarySums)
KeyT = TypeVar('KeyT')


class Totals:
    """Adds up scored images; the order counts for the last digits, the number not for memory.

    Args:
        protocol: Under which they were scored.
        align: How they were aligned.
    """

    def __init__(self, protocol: Protocol, *, align: Align = 'none') -> None:
        self.protocol = protocol
        self.align: Align = align
        self._images = self._with_truth = self._scored = self._without_scale = 0
        self._targets = self._predicted = 0
        self._flicker, self._pairs = 0.0, 0
        self._metrics = np.zeros(len(METRIC_NAMES))
        self._pooled: ErrorSums | None = None
        self._distance: DistanceSums | None = None
        self._region: RegionSums | None = None
        self._boundary: BoundarySums | None = None
        self._by_class: dict[int, tuple[int, ErrorSums]] = {}
        self._by_group: dict[str, tuple[int, ErrorSums]] = {}
        self._uncertainty = _UncertaintySums()
        self._baseline = _Baseline()

    def add(self, score: ImageScore) -> None:
        """Count one image."""
        self._images += 1
        self._targets += score.targets
        self._predicted += score.predicted
        if score.flicker is not None:
            self._flicker += score.flicker
            self._pairs += 1
        if not score.targets:
            return
        self._with_truth += 1
        self._baseline.add(score.targets_m)
        if self.align in GIVEN and score.predicted and not np.isfinite(score.scale):
            self._without_scale += 1
        if score.sums is None:
            return
        self._scored += 1
        self._metrics += astuple(score.sums.metrics())
        self._pooled = _plus(self._pooled, score.sums)
        self._distance = _plus(self._distance, score.distance)
        self._region = _plus(self._region, score.by_region)
        self._boundary = _plus(self._boundary, score.boundary)
        _add_all(self._by_class, score.by_class or {})
        _add_all(self._by_group, score.by_group or {})
        self._uncertainty.add(score)

    def result(self) -> Evaluation:
        """Sum up; means are over the images that were scored and no others."""
        classes = class_metrics(self._by_class)
        constant_m, constant_mean = self._constant()
        without = self._with_truth - self._scored - self._without_scale
        return Evaluation(
            protocol=self.protocol,
            align=self.align,
            images=self._images,
            images_scored=self._scored,
            images_without_ground_truth=self._images - self._with_truth,
            images_without_prediction=without,
            images_without_scale=self._without_scale,
            pixels=self._targets,
            coverage=self._predicted / self._targets if self._targets else float('nan'),
            mean=_named(self._metrics / self._scored) if self._scored else None,
            pooled=None if self._pooled is None else self._pooled.metrics(),
            by_distance=() if self._distance is None else self._distance.bins(),
            by_class=classes,
            by_group=group_metrics(self._by_group),
            by_region=() if self._region is None else self._region.regions(),
            boundary=None if self._boundary is None else self._boundary.metrics(),
            flicker=self._flicker / self._pairs if self._pairs else None,
            flicker_pairs=self._pairs,
            class_mean=class_mean(classes),
            uncertainty=self._uncertainty.result(),
            constant_depth_m=constant_m,
            constant_mean=constant_mean,
        )

    def _constant(self) -> tuple[float | None, DepthMetrics | None]:
        targets = self._baseline.targets
        if not targets:
            return None, None
        constant_m = best_constant_depth(targets)
        # A scale that does not come from the truth of the image helps no constant depth.
        known = self.align not in ('none', *GIVEN)
        summed = np.zeros(len(METRIC_NAMES))
        for target in targets:
            flat = np.full(target.shape, float(np.median(target)) if known else constant_m)
            pair = (target, flat) if self.protocol.swapped else (flat, target)
            summed += astuple(ErrorSums.of(*pair).metrics())
        return constant_m, _named(summed / len(targets))


class _Baseline:
    """True depths of every image, fewer of each the more images there are."""

    def __init__(self) -> None:
        self.targets: list[NDArray[np.float32]] = []
        self._step = 1
        self._values = 0

    def add(self, target_m: NDArray[np.float32]) -> None:
        """Keep the depths of one image, or order statistics of them."""
        self.targets.append(_thinned(target_m, self._step))
        self._values += self.targets[-1].size
        while self._values > max(BASELINE_VALUES, len(self.targets)):
            self._step *= 2
            self.targets = [_thinned(item, 2) for item in self.targets]
            self._values = sum(item.size for item in self.targets)


@dataclass
class _UncertaintySums:
    """Of the images with a usable sigma."""

    images: int = 0
    pooled: CalibrationSums | None = None
    nll: float = 0.0
    calibration_error: float = 0.0
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """For each metric: by_sigma, by_error, ause and aurg in one row."""

    def add(self, score: ImageScore) -> None:
        if score.calibration is None or score.sparsification is None:
            return
        own = score.calibration.metrics()
        self.images += 1
        self.pooled = _plus(self.pooled, score.calibration)
        self.nll += own.nll
        self.calibration_error += own.calibration_error
        for name, curve in score.sparsification.items():
            row = np.array([*curve.by_sigma, *curve.by_error, curve.ause, curve.aurg])
            self.curves[name] = self.curves[name] + row if name in self.curves else row

    def result(self) -> UncertaintyResult | None:
        if self.pooled is None:
            return None
        return UncertaintyResult(
            images=self.images,
            pixels=int(self.pooled.count),
            pooled=self.pooled.metrics(),
            nll=self.nll / self.images,
            calibration_error=self.calibration_error / self.images,
            sparsification={
                name: _curve((self.curves[name] / self.images).tolist())
                for name in SPARSIFICATION_METRICS
            },
        )


def mean_metrics(metrics: Sequence[DepthMetrics]) -> DepthMetrics:
    """Mean of each metric over images; the sequence must not be empty."""
    return _named(np.mean([astuple(item) for item in metrics], axis=0))


def _named(values: NDArray[np.float64]) -> DepthMetrics:
    return DepthMetrics(**dict(zip(METRIC_NAMES, values.tolist(), strict=True)))


def _curve(row: Sequence[float]) -> Sparsification:
    *curves, ause, aurg = row
    half = len(curves) // 2
    return Sparsification(
        by_sigma=tuple(curves[:half]), by_error=tuple(curves[half:]), ause=ause, aurg=aurg
    )


def _plus(total: SumsT | None, item: SumsT | None) -> SumsT | None:
    if total is None or item is None:
        return item if total is None else total
    return total + item


def _add_all(totals: dict[KeyT, tuple[int, ErrorSums]], image: Mapping[KeyT, ErrorSums]) -> None:
    for name, sums in image.items():
        images, total = totals.get(name, (0, None))
        totals[name] = images + 1, sums if total is None else total + sums


def _thinned(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Every `step`-th order statistic, at least one."""
    if step == 1:
        return values
    ordered: NDArray[np.float32] = np.sort(values)[min(step // 2, values.size - 1) :: step]
    return ordered
