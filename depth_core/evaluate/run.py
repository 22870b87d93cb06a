# SPDX-License-Identifier: Apache-2.0
"""Score a predictor on a data set under a protocol, and keep some pictures for the report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import (
    BoolArray,
    DepthKind,
    DepthMap,
    Float32Array,
    Intrinsics,
    Uint8Array,
)
from depth_core.data.sample import DepthDataset, Sample, known_camera
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.evaluate.panels import Panel, PanelKeeper, choose_indices, panel_scale
from depth_core.evaluate.scaling import SPARSE_POINTS, ScaleSource
from depth_core.geometry import crop_intrinsics, intrinsics_from_matrix
from depth_core.metrics import Align, Evaluation, ImageScore, MetricAccumulator, Protocol
from depth_core.preview import ColourScale
from depth_core.runtime.flip import FLIP_AVERAGES, FlipAverage, predict_averaged
from depth_core.runtime.postprocessing import RANGE_TOLERANCE


class PredictsDepth(Interface):
    """The part of `depth_core.runtime.Predictor` that is needed here."""

    def predict(self, image_hwc_u8: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        """Depth at the size of an RGB image, whose camera is given where it is known."""


class PredictsClasses(Interface):
    """The part of `depth_core.evaluate.labels.PredictedLabels` that is needed here."""

    source: str
    """Where the classes come from, for the report."""

    def predict(self, image_hwc_u8: Uint8Array) -> NDArray[np.int64]:
        """Cityscapes train ids at the size of an RGB image."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The outcome of evaluating a data set."""

    evaluation: Evaluation
    scores: tuple[ImageScore, ...]
    panels: tuple[Panel, ...]
    """Some scored images at even distances through the set."""
    worst: Panel | None
    """The scored image of largest AbsRel."""
    panel_scale: ColourScale
    """The colours of depth in all pictures."""
    flip_average: FlipAverage
    source: ScaleSource
    """Where the scale came from."""
    scale_states: Mapping[str, int]
    """How many images each state of the scale had; empty where it is not found from the image."""
    backend: str
    """What computed the depth, as the predictor named it."""
    labels_from: str | None = None
    """Where the classes of pixels came from; None = from the data, where it has labels."""
    inference_s: tuple[float, ...] = field(compare=False)
    """Time inside the backend for each image, both passes when averaging flipped ones."""
    elapsed_s: float = field(compare=False)


def evaluate_dataset(
    predictor: PredictsDepth,
    dataset: DepthDataset,
    *,
    protocol: Protocol,
    align: Align = 'none',
    flip_average: FlipAverage = 'none',
    camera_height_m: float | None = None,
    sparse_points: int = SPARSE_POINTS,
    labels: PredictsClasses | None = None,
    limit: int | None = None,
    panels: int = 6,
    on_image: Callable[[ImageScore], None] | None = None,
) -> Run:
    """Predict and score the images of `dataset`, in order.

    Args:
        predictor: Gives depth for an image.
        dataset: Images with ground truth; those without are counted.
        protocol: Which pixels are scored.
        align: How each prediction is brought to the metres of its ground truth first.
        flip_average: Whether and how a second pass on the mirrored image is averaged in.
        camera_height_m: Height of the camera above the ground, metres; for ground_plane alone.
        sparse_points: True depths of each image that `sparse` is given; they are not scored.
        labels: Predicts the class of each pixel for the metrics by class, in place of the labels
            of the data; those are taken, where there are some, when None.
        limit: Take this many images at even distances; all when None.
        panels: How many scored images are kept for pictures; the worst is kept beside them.
        on_image: Called after each image, for progress.

    Raises:
        ConfigError: An option is unknown or contradicts the kind of depth.
        DataError: The data set is empty or damaged, or no image could be scored.
    """
    if flip_average not in FLIP_AVERAGES:
        raise ConfigError(unknown_name('flip average', flip_average, FLIP_AVERAGES))
    source = ScaleSource(align=align, camera_height_m=camera_height_m, sparse_points=sparse_points)
    scorer = _Scorer(protocol, source, labels)
    keeper = PanelKeeper(panels)
    inference_s: list[float] = []
    started_s = time.perf_counter()
    for index in choose_indices(len(dataset), limit):
        view = _View.of(dataset[index], protocol)
        answer = _predict(predictor, view, flip_average)
        _check_kind(answer, align)
        score, target_m = scorer.score(view, answer, seed=index)
        keeper.add(score, view.image, answer, target_m)
        inference_s.append(answer.inference_s)
        if on_image is not None:
            on_image(score)
    return Run(
        evaluation=scorer.result(),
        scores=scorer.scores,
        panels=keeper.chosen(),
        worst=keeper.worst,
        panel_scale=panel_scale(answer, protocol),
        flip_average=flip_average,
        source=source,
        scale_states=dict(scorer.states),
        backend=answer.backend,
        labels_from=None if labels is None else labels.source,
        inference_s=tuple(inference_s),
        elapsed_s=time.perf_counter() - started_s,
    )


@dataclass(frozen=True, kw_only=True)
class _View:
    """The part of a sample that is predicted and scored."""

    sample: Sample
    window: tuple[slice, slice]
    image: Uint8Array
    """[H, W, 3] RGB of the window."""
    target_m: Float32Array
    """[H, W] ground truth of the window."""
    valid: BoolArray
    """[H, W] where there is ground truth."""

    @classmethod
    def of(cls, sample: Sample, protocol: Protocol) -> _View:
        """Cut the window of `protocol` out of `sample`."""
        window = slice(None), slice(None)
        if protocol.window is not None:
            top, left = protocol.window_origin(sample.depth_m.shape[0], sample.depth_m.shape[1])
            height, width = protocol.window
            window = slice(top, top + height), slice(left, left + width)
        pixels = sample.image.numpy().transpose(1, 2, 0)  # [H, W, 3]
        codes = np.round(pixels[window] * np.float32(255.0)).astype(np.uint8)
        return cls(
            sample=sample,
            window=window,
            image=np.ascontiguousarray(codes),
            target_m=sample.depth_m.numpy()[window],
            valid=sample.valid.numpy()[window],
        )

    @property
    def camera(self) -> Intrinsics:
        """The camera of the window.

        Raises:
            DataError: The data do not state it.
        """
        height, width = self.sample.depth_m.shape
        matrix = self.sample.intrinsics.numpy()
        return crop_intrinsics(
            intrinsics_from_matrix(matrix, height=height, width=width),
            top=self.window[0].start or 0,
            left=self.window[1].start or 0,
            height=self.target_m.shape[0],
            width=self.target_m.shape[1],
        )


class _Scorer:
    """Finds scale and classes of each image, and adds up its errors."""

    def __init__(
        self, protocol: Protocol, source: ScaleSource, labels: PredictsClasses | None
    ) -> None:
        self._protocol = protocol
        self._source = source
        self._labels = labels
        self._accumulator = MetricAccumulator(protocol, align=source.align)
        self.states: Counter[str] = Counter()
        """How many images each state of the scale had."""

    @property
    def scores(self) -> tuple[ImageScore, ...]:
        """Of every image so far."""
        return tuple(self._accumulator.scores)

    def score(
        self, view: _View, answer: DepthMap, *, seed: int
    ) -> tuple[ImageScore, Float32Array]:
        """Score one prediction; return that with the ground truth, NaN where none was scored."""
        valid, scale = view.valid, None
        if self._source.applies:
            scored = self._protocol.scored(view.target_m, valid)
            found, valid = self._source.find(
                _inside_range(answer), view.camera, view.target_m, scored, seed=seed
            )
            self.states[str(found.state)] += 1
            scale = found.scale
        score = self._accumulator.update(
            answer.depth_m,
            view.target_m,
            valid,
            None if np.isnan(answer.sigma_m).all() else answer.sigma_m,
            key=str(view.sample.key),
            scale=scale,
            semantic=self._classes(view),
        )
        scored = self._protocol.scored(view.target_m, valid)
        return score, np.where(scored, view.target_m, np.float32(np.nan))

    def result(self) -> Evaluation:
        """Return the numbers of the set.

        Raises:
            DataError: No image could be scored.
        """
        evaluation, protocol = self._accumulator.result(), self._protocol
        if evaluation.mean is None:
            states = ', '.join(f'{count} {state}' for state, count in sorted(self.states.items()))
            message = (
                f'none of {evaluation.images} images could be scored under protocol '
                f'{protocol.name!r}: {evaluation.images_without_ground_truth} have no ground '
                f'truth there, {evaluation.images_without_prediction} no usable prediction and '
                f'{evaluation.images_without_scale} no scale{f" ({states})" if states else ""}; '
                'check the ground truth of the data set, its unit, and the range of the protocol '
                f'({protocol.min_depth_m} to {protocol.max_depth_m} m).'
            )
            raise DataError(message)
        return evaluation

    def _classes(self, view: _View) -> NDArray[np.int64] | None:
        """Train ids of the view; None where neither a network nor the data states them."""
        if self._labels is not None:
            return self._labels.predict(view.image)
        semantic = view.sample.semantic
        return None if semantic is None else semantic.numpy()[view.window]


def _predict(predictor: PredictsDepth, view: _View, flip_average: FlipAverage) -> DepthMap:
    """Predict one image; of depth up to scale, the ends of its range are stated in numbers.

    Scaled, they may lie well within the range of the protocol, to whose ends infinities are put.
    """
    answer = predict_averaged(
        predictor.predict, view.image, flip_average, known_camera(view.sample, view.window)
    )
    if answer.kind is not DepthKind.UP_TO_SCALE:
        return answer
    depth = np.clip(answer.depth_m, *answer.depth_range).astype(np.float32, copy=False)
    return replace(answer, depth_m=depth)


def _inside_range(answer: DepthMap) -> Float32Array:
    """Depth to find a scale from: NaN at the ends of its range, which are no depth."""
    near, far = answer.depth_range
    inside = (answer.depth_m > near * (1.0 + RANGE_TOLERANCE)) & (
        answer.depth_m < far * (1.0 - RANGE_TOLERANCE)
    )
    return np.where(inside, answer.depth_m, np.float32(np.nan))


def _check_kind(answer: DepthMap, align: Align) -> None:
    if answer.kind is DepthKind.UP_TO_SCALE and align == 'none':
        message = (
            'the model gives depth up to an unknown scale, which cannot be scored in metres; '
            'use --align median, or ground_plane with the height of the camera.'
        )
        raise ConfigError(message)
    if (answer.kind is DepthKind.INVERSE) != (align == 'affine_inverse'):
        message = (
            f'the model gives depth of kind {answer.kind}, which cannot be scored with --align '
            f'{align}; --align affine_inverse fits scale and shift of inverse depth, and only '
            'that.'
        )
        raise ConfigError(message)
