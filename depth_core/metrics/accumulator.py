# SPDX-License-Identifier: Apache-2.0
"""From single images to the numbers of a set: what is counted, what is averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import reduce
from operator import add
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.geometry import median_scale
from depth_core.metrics.alignment import depth_of_inverse, fit_inverse
from depth_core.metrics.classes import ClassMetrics, class_mean, class_metrics, class_sums
from depth_core.metrics.depth import (
    METRIC_NAMES,
    DepthMetrics,
    DistanceBin,
    DistanceSums,
    ErrorSums,
    best_constant_depth,
    check_shapes,
)
from depth_core.metrics.groups import GroupMetrics, edge_mask, group_metrics, group_sums
from depth_core.metrics.protocols import PROTOCOLS, Protocol
from depth_core.metrics.uncertainty import (
    SPARSIFICATION_METRICS,
    CalibrationMetrics,
    CalibrationSums,
    Sparsification,
    calibration_sums,
    sparsification_curves,
)

Align: TypeAlias = Literal[
    'none', 'median', 'lower_median', 'ground_plane', 'sparse', 'affine_inverse'
]
"""How a prediction becomes metres before scoring: as it is; scaled by the image's median ratio,
the mean of the two middle values (monodepth2) or the lower of them (packnet-sfm); scaled by the
ground and the height of the camera, or by a few true depths, which who scores has to find, for it
needs more than depths; or as inverse depth whose scale and shift are fitted to the image by least
squares."""

ALIGNMENTS: Final[tuple[Align, ...]] = get_args(Align)
GIVEN: Final = ('ground_plane', 'sparse')
"""Alignments whose scale is not found from the ground truth that is scored, but given."""
TARGETS_KEPT: Final = 4096
"""Ground-truth quantiles kept an image, for the constant-depth baseline."""


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """Everything kept of one image."""

    key: str
    targets: int
    """Pixels with ground truth that the protocol scores."""
    predicted: int
    """How many of these have an estimate (not NaN)."""
    scale: float
    """Factor the prediction was multiplied by before scoring; NaN when it was not scored."""
    shift: float = 0.0
    """Added after that, to inverse depth; 0 unless both were fitted."""
    sums: ErrorSums | None
    """None when no pixel was scored."""
    distance: DistanceSums | None
    calibration: CalibrationSums | None
    """None when there is no usable sigma."""
    sparsification: Mapping[str, Sparsification] | None
    by_class: Mapping[int, ErrorSums] | None
    """Errors by semantic class; None when no labels were given or no pixel was scored."""
    targets_m: NDArray[np.float32]
    """Quantiles of the scored ground truth, metres: all values when there are few."""
    by_group: Mapping[str, ErrorSums] | None = None
    """Errors on ground, obstacles, thin things and edges; None when no pixel was scored."""


@dataclass(frozen=True, kw_only=True)
class UncertaintyResult:
    """What the sigma of a set is worth."""

    images: int
    """Images with a usable sigma."""
    pixels: int
    """Scored pixels with a usable (finite, positive) sigma."""
    pooled: CalibrationMetrics
    """Calibration over all pixels of the set."""
    nll: float
    """Laplace negative log likelihood, mean over images."""
    calibration_error: float
    """Calibration error within an image, mean over images."""
    sparsification: Mapping[str, Sparsification]
    """Curves and areas, mean over images."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The numbers of a set of images."""

    protocol: Protocol
    align: Align
    images: int
    """Images that were looked at."""
    images_scored: int
    """Images the means are over."""
    images_without_ground_truth: int
    """Images without one pixel of ground truth that the protocol scores; in no mean."""
    images_without_prediction: int
    """Images with ground truth but no usable estimate; in no mean."""
    images_without_scale: int
    """Images with an estimate, but no scale from the ground or sparse depth; in no mean."""
    pixels: int
    """Pixels with ground truth that the protocol scores."""
    coverage: float
    """Fraction of these pixels that have an estimate; NaN when there are none."""
    mean: DepthMetrics | None
    """Mean over the scored images of each image's metrics; None when no image was scored."""
    pooled: DepthMetrics | None
    """Metrics over all scored pixels together."""
    by_distance: tuple[DistanceBin, ...]
    """Errors over all scored pixels by their true depth."""
    by_class: tuple[ClassMetrics, ...]
    """Errors over all scored pixels by their semantic class; empty without labels."""
    by_group: tuple[GroupMetrics, ...] = ()
    """Errors on ground, obstacles and thin things, where there are labels, and at depth edges."""
    class_mean: DepthMetrics | None
    """Mean of the metrics of the classes, each counting alike; None without labels."""
    uncertainty: UncertaintyResult | None
    constant_depth_m: float | None
    """The one depth that has the smallest AbsRel on this very set (seen in hindsight)."""
    constant_mean: DepthMetrics | None
    """Metrics of answering that depth everywhere (with an alignment: each image's median),
    mean over images: what a prediction has to beat."""

    @property
    def headline(self) -> DepthMetrics | None:
        """The metrics the protocol reports: pooled, or the mean over images."""
        return self.pooled if self.protocol.pooled else self.mean


class MetricAccumulator:
    """Scores predictions image by image under a protocol and sums up at the end.

    Raises:
        ConfigError: `align` is not a known alignment.
    """

    def __init__(self, protocol: Protocol = PROTOCOLS['none'], *, align: Align = 'none') -> None:
        if align not in ALIGNMENTS:
            raise ConfigError(unknown_name('alignment', align, ALIGNMENTS))
        self.protocol = protocol
        self.align: Align = align
        self._scores: list[ImageScore] = []

    @property
    def scores(self) -> Sequence[ImageScore]:
        """The images so far, in order; picklable, to be gathered from other processes."""
        return tuple(self._scores)

    def extend(self, scores: Iterable[ImageScore]) -> None:
        """Take over images that another accumulator of the same protocol has scored."""
        self._scores.extend(scores)

    def update(
        self,
        prediction_m: Float32Array,
        target_m: Float32Array,
        valid: BoolArray | None = None,
        sigma_m: Float32Array | None = None,
        *,
        key: str = '',
        scale: float | None = None,
        semantic: NDArray[np.integer] | None = None,
    ) -> ImageScore:
        """Score one image.

        Args:
            prediction_m: [H, W] predicted depth, in the unit of the network when it is aligned;
                NaN = no estimate, infinities are clamped.
            target_m: [H, W] ground truth; NaN, 0 and what is outside the protocol's range = none.
            valid: [H, W] where the ground truth may be used; everywhere when None.
            sigma_m: [H, W] standard deviation; None skips the uncertainty metrics.
            key: Name of the image in the report.
            scale: Metres in one unit of the prediction, for the alignments that are found by who
                scores; NaN = none was found, and the image is counted and in no mean.
            semantic: [H, W] Cityscapes train ids, for the metrics of each class; ids outside
                0..22 are no class.

        Raises:
            ConfigError: A scale is given or missing against the alignment.
            DataError: Shapes differ, or the protocol's crop is for another image size.
        """
        self._check_scale(scale)
        check_shapes(prediction_m, target_m, valid, sigma_m, semantic)
        mask = self.protocol.scored(target_m, valid)
        with np.errstate(invalid='ignore'):
            estimated = mask & ~np.isnan(prediction_m)
        shift = 0.0
        if scale is None:
            scale, shift = self._fit(prediction_m, target_m, estimated)
        score = ImageScore(
            key=key or str(len(self._scores)),
            targets=int(mask.sum()),
            predicted=int(estimated.sum()),
            scale=scale,
            shift=shift,
            sums=None,
            distance=None,
            calibration=None,
            sparsification=None,
            by_class=None,
            targets_m=_quantiles(target_m[mask]),
        )
        if np.isfinite(scale) and estimated.any():
            score = self._scored(score, prediction_m, target_m, sigma_m, semantic, estimated)
        self._scores.append(score)
        return score

    def _fit(
        self, prediction_m: Float32Array, target_m: Float32Array, estimated: BoolArray
    ) -> tuple[float, float]:
        """Factor and shift to score with; NaN when the image cannot be scored."""
        if not estimated.any():
            return float('nan'), 0.0
        if self.align == 'none':
            return 1.0, 0.0
        try:
            if self.align == 'affine_inverse':
                return fit_inverse(prediction_m, target_m, estimated)
            lower = self.align == 'lower_median'
            return median_scale(prediction_m, target_m, estimated, lower=lower), 0.0
        except DataError:
            return float('nan'), 0.0

    def _check_scale(self, scale: float | None) -> None:
        found_here = self.align in {*ALIGNMENTS} - {*GIVEN}
        if found_here == (scale is None):
            return
        message = f'alignment {self.align!r} was given the scale {scale}; ' + (
            'it finds its own: leave the scale out.' if found_here else 'give the one found.'
        )
        raise ConfigError(message)

    def _scored(  # noqa: PLR0917  the arguments of `update`
        self,
        score: ImageScore,
        prediction_m: Float32Array,
        target_m: Float32Array,
        sigma_m: Float32Array | None,
        semantic: NDArray[np.integer] | None,
        estimated: BoolArray,
    ) -> ImageScore:
        low, high = self.protocol.min_depth_m, self.protocol.max_depth_m
        p = prediction_m[estimated].astype(np.float64)
        s = np.zeros_like(p) if sigma_m is None else sigma_m[estimated].astype(np.float64)
        if self.align == 'affine_inverse':
            p, s = depth_of_inverse(p, s, score.scale, score.shift)
        else:
            p, s = p * score.scale, s * score.scale
        p = np.clip(p, low, high)
        t = target_m[estimated].astype(np.float64)
        pair = (t, p) if self.protocol.swapped else (p, t)
        calibration, curves = None, None
        with np.errstate(invalid='ignore'):
            usable = np.isfinite(s) & (s > 0.0)
        if usable.any():
            calibration = calibration_sums(p[usable], t[usable], s[usable])
            curves = sparsification_curves(p[usable], t[usable], s[usable])
        return replace(
            score,
            sums=ErrorSums.of(*pair),
            distance=DistanceSums.of(p, t),
            calibration=calibration,
            sparsification=curves,
            by_class=None if semantic is None else class_sums(*pair, semantic[estimated]),
            by_group=group_sums(
                *pair,
                label=None if semantic is None else semantic[estimated],
                edge=edge_mask(target_m)[estimated],
            ),
        )

    def result(self) -> Evaluation:
        """Sum up; means are over the images that were scored and no others."""
        sums = [score.sums for score in self._scores if score.sums is not None]
        distances = [score.distance for score in self._scores if score.distance is not None]
        targets = sum(score.targets for score in self._scores)
        predicted = sum(score.predicted for score in self._scores)
        with_truth = [score for score in self._scores if score.targets]
        without_scale = [
            score
            for score in with_truth
            if self.align in GIVEN and score.predicted and not np.isfinite(score.scale)
        ]
        classes = class_metrics([s.by_class for s in self._scores if s.by_class is not None])
        constant_m, constant_mean = self._constant(with_truth)
        return Evaluation(
            protocol=self.protocol,
            align=self.align,
            images=len(self._scores),
            images_scored=len(sums),
            images_without_ground_truth=len(self._scores) - len(with_truth),
            images_without_prediction=len(with_truth) - len(sums) - len(without_scale),
            images_without_scale=len(without_scale),
            pixels=targets,
            coverage=predicted / targets if targets else float('nan'),
            mean=mean_metrics([item.metrics() for item in sums]) if sums else None,
            pooled=reduce(add, sums).metrics() if sums else None,
            by_distance=reduce(add, distances).bins() if distances else (),
            by_class=classes,
            by_group=group_metrics([s.by_group for s in self._scores if s.by_group]),
            class_mean=class_mean(classes),
            uncertainty=_uncertainty(self._scores),
            constant_depth_m=constant_m,
            constant_mean=constant_mean,
        )

    def _constant(
        self, with_truth: Sequence[ImageScore]
    ) -> tuple[float | None, DepthMetrics | None]:
        if not with_truth:
            return None, None
        constant_m = best_constant_depth([score.targets_m for score in with_truth])
        metrics = []
        for score in with_truth:
            # A scale that does not come from the truth of the image helps no constant depth.
            known = self.align not in ('none', *GIVEN)
            own = float(np.median(score.targets_m)) if known else constant_m
            flat = np.full(score.targets_m.shape, own)
            pair = (score.targets_m, flat) if self.protocol.swapped else (flat, score.targets_m)
            metrics.append(ErrorSums.of(*pair).metrics())
        return constant_m, mean_metrics(metrics)


def mean_metrics(metrics: Sequence[DepthMetrics]) -> DepthMetrics:
    """Mean of each metric over images; the sequence must not be empty."""
    values = np.mean([astuple(item) for item in metrics], axis=0).tolist()
    return DepthMetrics(**dict(zip(METRIC_NAMES, values, strict=True)))


def _uncertainty(scores: Sequence[ImageScore]) -> UncertaintyResult | None:
    calibrations = [score.calibration for score in scores if score.calibration is not None]
    curves = [score.sparsification for score in scores if score.sparsification is not None]
    if not calibrations:
        return None
    pooled = reduce(add, calibrations)
    own = [item.metrics() for item in calibrations]
    return UncertaintyResult(
        images=len(calibrations),
        pixels=int(pooled.count),
        pooled=pooled.metrics(),
        nll=float(np.mean([item.nll for item in own])),
        calibration_error=float(np.mean([item.calibration_error for item in own])),
        sparsification={
            name: _mean_curve([item[name] for item in curves]) for name in SPARSIFICATION_METRICS
        },
    )


def _mean_curve(curves: Sequence[Sparsification]) -> Sparsification:
    return Sparsification(
        by_sigma=tuple(np.mean([item.by_sigma for item in curves], axis=0).tolist()),
        by_error=tuple(np.mean([item.by_error for item in curves], axis=0).tolist()),
        ause=float(np.mean([item.ause for item in curves])),
        aurg=float(np.mean([item.aurg for item in curves])),
    )


def _quantiles(values: Float32Array) -> Float32Array:
    """All values when they are few, else evenly spaced order statistics."""
    if values.size <= TARGETS_KEPT:
        return values
    ranks = (np.arange(TARGETS_KEPT) + 0.5) * (values.size / TARGETS_KEPT)
    kept: Float32Array = np.sort(values)[ranks.astype(np.int64)]
    return kept
