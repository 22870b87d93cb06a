# SPDX-License-Identifier: Apache-2.0
"""Scores single images under a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.geometry import median_scale
from depth_core.metrics.alignment import depth_of_inverse, fit_inverse
from depth_core.metrics.boundary import BoundarySums, boundary_sums, is_dense
from depth_core.metrics.classes import class_sums
from depth_core.metrics.depth import PixelErrors, check_shapes
from depth_core.metrics.groups import at_edges, group_sums
from depth_core.metrics.protocols import PROTOCOLS, Protocol
from depth_core.metrics.regions import sums_by_place
from depth_core.metrics.scores import ALIGNMENTS, GIVEN, Align, Evaluation, ImageScore
from depth_core.metrics.totals import Totals
from depth_core.metrics.uncertainty import calibration_sums, sparsification_curves

_Kind = TypeVar('_Kind', bound=np.generic)

TARGETS_KEPT: Final = 4096
"""Ground-truth quantiles kept an image, for the constant-depth baseline."""


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
        groups: Mapping[str, BoolArray] | None = None,
        flicker: float | None = None,
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
            groups: [H, W] where each group of `GROUP_CLASSES` is, found without labels; labels
                count before it.
            flicker: How much depth changed from the image before, beyond the known motion.

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
        places = np.flatnonzero(mask)
        score = ImageScore(
            key=key or str(len(self._scores)),
            targets=int(np.count_nonzero(mask)),
            predicted=int(np.count_nonzero(estimated)),
            scale=scale,
            shift=shift,
            sums=None,
            distance=None,
            calibration=None,
            sparsification=None,
            by_class=None,
            targets_m=_quantiles(_at(target_m, places)),
            flicker=flicker,
        )
        if np.isfinite(scale) and score.predicted:
            if score.predicted < score.targets:
                places = np.flatnonzero(estimated)
            score, errors = self._scored(score, prediction_m, target_m, sigma_m, places)
            label = None if semantic is None else _at(semantic, places)
            score = replace(
                score,
                by_class=None if label is None else class_sums(errors, label),
                by_group=group_sums(
                    errors,
                    label=label,
                    edge=at_edges(target_m, places),
                    given={name: _at(mask, places) for name, mask in (groups or {}).items()},
                ),
                boundary=self._boundary(score, prediction_m, target_m, valid),
            )
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

    def _scored(
        self,
        score: ImageScore,
        prediction_m: Float32Array,
        target_m: Float32Array,
        sigma_m: Float32Array | None,
        places: NDArray[np.intp],
    ) -> tuple[ImageScore, PixelErrors]:
        """Score the pixels of these places; give their errors as the protocol has them too."""
        sigma = None if sigma_m is None else _at(sigma_m, places)
        p, s = self._aligned(score, _at(prediction_m, places), sigma)
        p, t = self._clipped(p), _at(target_m, places)
        errors = PixelErrors.of(p, t)
        distance, region = sums_by_place(errors.relative, t, places, target_m.shape)
        calibration, curves = None, None
        if s is not None:
            with np.errstate(invalid='ignore'):
                usable = np.isfinite(s) & (s > 0.0)
            if usable.any():
                own = np.flatnonzero(usable)
                seen = (p, t, s) if own.size == s.size else (p.take(own), t.take(own), s.take(own))
                calibration = calibration_sums(*seen)
                curves = sparsification_curves(*seen)
        if self.protocol.swapped:
            errors = PixelErrors.of(t, p)
        scored = replace(
            score,
            sums=errors.sums(),
            distance=distance,
            by_region=region,
            calibration=calibration,
            sparsification=curves,
        )
        return scored, errors

    def _aligned(
        self,
        score: ImageScore,
        prediction_m: Float32Array,
        sigma_m: Float32Array | None,
    ) -> tuple[Float32Array, Float32Array | None]:
        """Prediction and sigma in metres."""
        if self.align == 'affine_inverse':
            inverse = prediction_m.astype(np.float64)  # near 0 the shift cancels what is scaled
            spread = np.zeros_like(inverse) if sigma_m is None else sigma_m.astype(np.float64)
            depth_m, spread = depth_of_inverse(inverse, spread, score.scale, score.shift)
            spread_m = None if sigma_m is None else spread.astype(np.float32)
            return depth_m.astype(np.float32), spread_m
        if score.scale == 1.0:
            return prediction_m, sigma_m
        scale = np.float32(score.scale)
        return prediction_m * scale, None if sigma_m is None else sigma_m * scale

    def _clipped(self, p: Float32Array) -> Float32Array:
        return np.clip(p, self.protocol.min_depth_m, self.protocol.max_depth_m)

    def _boundary(
        self,
        score: ImageScore,
        prediction_m: Float32Array,
        target_m: Float32Array,
        valid: BoolArray | None,
    ) -> BoundarySums | None:
        known = np.isfinite(target_m) & (target_m > 0.0)
        if valid is not None:
            known &= valid
        if not is_dense(known):
            return None
        p = self._clipped(self._aligned(score, prediction_m, None)[0])
        return boundary_sums(p, target_m, known)

    def result(self) -> Evaluation:
        """Sum up; means are over the images that were scored and no others."""
        totals = Totals(self.protocol, align=self.align)
        for score in self._scores:
            totals.add(score)
        return totals.result()


def _quantiles(values: Float32Array) -> Float32Array:
    """All values when they are few, else evenly spaced order statistics."""
    if values.size <= TARGETS_KEPT:
        return values
    ranks = (np.arange(TARGETS_KEPT) + 0.5) * (values.size / TARGETS_KEPT)
    kept: Float32Array = np.sort(values)[ranks.astype(np.int64)]
    return kept


def _at(plane: NDArray[_Kind], places: NDArray[np.intp]) -> NDArray[_Kind]:
    """[N] the pixels of a plane at these places, counted row by row."""
    pixels = plane.ravel()
    return pixels if places.size == pixels.size else pixels.take(places)
