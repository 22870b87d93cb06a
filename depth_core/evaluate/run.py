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
from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.evaluate.flip import FLIP_AVERAGES, FlipAverage, average_flipped
from depth_core.evaluate.scaling import SPARSE_POINTS, ScaleSource
from depth_core.geometry import crop_intrinsics, intrinsics_from_matrix
from depth_core.metrics import Align, Evaluation, ImageScore, MetricAccumulator, Protocol
from depth_core.metrics.alignment import depth_of_inverse
from depth_core.runtime.preprocessing import RANGE_TOLERANCE


class Predicts(Interface):
    """The part of `depth_core.runtime.Predictor` that is needed here."""

    def predict(self, image_hwc_u8: Uint8Array) -> DepthMap:
        """Depth at the size of an RGB image."""


class TellsClasses(Interface):
    """The part of `depth_core.evaluate.labels.PredictedLabels` that is needed here."""

    source: str
    """What tells them, for the report."""

    def predict(self, image_hwc_u8: Uint8Array) -> NDArray[np.int64]:
        """Cityscapes train ids at the size of an RGB image."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What a picture of one image shows."""

    score: ImageScore
    image: Uint8Array
    """[H, W, 3] RGB."""
    depth_m: Float32Array
    """[H, W] prediction after alignment."""
    sigma_m: Float32Array
    """[H, W] standard deviation after alignment."""
    target_m: Float32Array
    """[H, W] ground truth, NaN where the protocol scores nothing."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The outcome of evaluating a data set."""

    evaluation: Evaluation
    scores: tuple[ImageScore, ...]
    panels: tuple[Panel, ...]
    """Some images at even distances through the set."""
    worst: Panel | None
    """The scored image of largest AbsRel."""
    flip_average: FlipAverage
    source: ScaleSource
    """Where the scale came from."""
    scale_states: Mapping[str, int]
    """How many images each state of the scale had; empty where it is not found from the image."""
    backend: str
    """What computed the depth, as the predictor named it."""
    labels_from: str | None = None
    """What told the classes of pixels; None = the data did, where it has labels."""
    inference_s: tuple[float, ...] = field(compare=False)
    """Time inside the backend for each image, both passes when averaging flipped ones."""
    elapsed_s: float = field(compare=False)


def evaluate_dataset(
    predictor: Predicts,
    dataset: DepthDataset,
    *,
    protocol: Protocol,
    align: Align = 'none',
    flip_average: FlipAverage = 'none',
    camera_height_m: float | None = None,
    sparse_points: int = SPARSE_POINTS,
    labels: TellsClasses | None = None,
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
        labels: Tells the class of each pixel for the metrics by class, in place of the labels of
            the data; those are taken, where there are some, when None.
        limit: Take this many images at even distances; all when None.
        panels: How many images are kept for pictures.
        on_image: Called after each image, for progress.

    Raises:
        ConfigError: An option is unknown or contradicts the kind of depth.
        DataError: The data set is empty or damaged, or no image could be scored.
    """
    if flip_average not in FLIP_AVERAGES:
        raise ConfigError(unknown_name('flip average', flip_average, FLIP_AVERAGES))
    source = ScaleSource(align=align, camera_height_m=camera_height_m, sparse_points=sparse_points)
    indices = choose_indices(len(dataset), limit)
    shown = {indices[place] for place in choose_indices(len(indices), panels)}
    accumulator = MetricAccumulator(protocol, align=align)
    kept: list[Panel] = []
    worst: Panel | None = None
    inference_s: list[float] = []
    states: Counter[str] = Counter()
    backend = ''
    started_s = time.perf_counter()
    for index in indices:
        sample = dataset[index]
        top, left = protocol.window_origin(sample.depth_m.shape[0], sample.depth_m.shape[1])
        window = _window(protocol, top, left)
        image = np.ascontiguousarray(_pixels(sample.image.numpy())[window])
        target_m = sample.depth_m.numpy()[window]
        valid = sample.valid.numpy()[window]
        answer = _predict(predictor, image, flip_average)
        _check_kind(answer, align)
        scale = None
        if source.applies:
            camera = _camera(sample, window, target_m)
            scored = protocol.scored(target_m, valid)
            depth = _inside_range(answer)
            found, valid = source.find(depth, camera, target_m, scored, seed=index)
            states[str(found.state)] += 1
            scale = found.scale
        score = accumulator.update(
            answer.depth_m,
            target_m,
            valid,
            _known(answer.sigma_m),
            key=str(sample.key),
            scale=scale,
            semantic=_classes(sample, window, image, labels),
        )
        inference_s.append(answer.inference_s)
        backend = answer.backend
        is_worst = _abs_rel(score) > (-np.inf if worst is None else _abs_rel(worst.score))
        if index in shown or is_worst:
            panel = _panel(score, image, answer, target_m, protocol.scored(target_m, valid))
            kept += [panel] if index in shown else []
            worst = panel if is_worst else worst
        if on_image is not None:
            on_image(score)
    evaluation = accumulator.result()
    if evaluation.mean is None:
        message = (
            f'none of {evaluation.images} images could be scored under protocol '
            f'{protocol.name!r}: {evaluation.images_without_ground_truth} have no ground truth '
            f'there, {evaluation.images_without_prediction} no usable prediction and '
            f'{evaluation.images_without_scale} no scale{_told(states)}; check the '
            'ground truth of the data set, its unit, and the range of the protocol '
            f'({protocol.min_depth_m} to {protocol.max_depth_m} m).'
        )
        raise DataError(message)
    return Run(
        evaluation=evaluation,
        scores=tuple(accumulator.scores),
        panels=tuple(kept),
        worst=worst,
        flip_average=flip_average,
        source=source,
        scale_states=dict(states),
        backend=backend,
        labels_from=None if labels is None else labels.source,
        inference_s=tuple(inference_s),
        elapsed_s=time.perf_counter() - started_s,
    )


def choose_indices(count: int, limit: int | None) -> list[int]:
    """Indices of `limit` items at even distances among `count`; all when there are no more.

    Raises:
        DataError: There is nothing to choose from.
        ConfigError: The limit is not positive.
    """
    if count < 1:
        message = 'the data set is empty: 0 images; give a split or a folder that holds some.'
        raise DataError(message)
    if limit is not None and limit < 1:
        message = f'limit {limit} leaves no image; give at least 1, or no limit.'
        raise ConfigError(message)
    if limit is None or limit >= count:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, limit).tolist()})


def _predict(predictor: Predicts, image: Uint8Array, flip_average: FlipAverage) -> DepthMap:
    plain = _within_range(predictor.predict(image))
    if flip_average == 'none':
        return plain
    flipped = _within_range(predictor.predict(np.ascontiguousarray(image[:, ::-1])))
    return average_flipped(plain, flipped, flip_average)


def _within_range(answer: DepthMap) -> DepthMap:
    """Of depth up to scale, say the ends of its range in numbers.

    Scaled, they may lie well within the range of the protocol, to whose ends infinities are put.
    """
    if answer.kind is not DepthKind.UP_TO_SCALE:
        return answer
    depth_m = np.clip(answer.depth_m, *answer.depth_range).astype(np.float32, copy=False)
    return replace(answer, depth_m=depth_m)


def _inside_range(answer: DepthMap) -> Float32Array:
    """Depth to find a scale from: NaN at the ends of its range, which are no depth."""
    near, far = answer.depth_range
    inside = (answer.depth_m > near * (1.0 + RANGE_TOLERANCE)) & (
        answer.depth_m < far * (1.0 - RANGE_TOLERANCE)
    )
    return np.where(inside, answer.depth_m, np.float32(np.nan))


def _classes(
    sample: Sample,
    window: tuple[slice, slice],
    image: Uint8Array,
    labels: TellsClasses | None,
) -> NDArray[np.int64] | None:
    """Train ids of the window that is predicted; None where nothing tells them."""
    if labels is not None:
        return labels.predict(image)
    return None if sample.semantic is None else sample.semantic.numpy()[window]


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


def _panel(
    score: ImageScore,
    image: Uint8Array,
    answer: DepthMap,
    target_m: Float32Array,
    scored: BoolArray,
) -> Panel:
    depth_m, sigma_m = answer.depth_m, answer.sigma_m
    if answer.kind is DepthKind.INVERSE and np.isfinite(score.scale):
        depth_m, sigma_m = depth_of_inverse(depth_m, sigma_m, score.scale, score.shift)
    elif np.isfinite(score.scale):
        scale = np.float32(score.scale)
        depth_m, sigma_m = depth_m * scale, sigma_m * scale
    return Panel(
        score=score,
        image=image,
        depth_m=depth_m,
        sigma_m=sigma_m,
        target_m=np.where(scored, target_m, np.float32(np.nan)),
    )


def _told(states: Mapping[str, int]) -> str:
    """Why scales were not found, where they were looked for."""
    told = ', '.join(f'{count} {state}' for state, count in sorted(states.items()))
    return f' ({told})' if told else ''


def _camera(sample: Sample, window: tuple[slice, slice], target_m: Float32Array) -> Intrinsics:
    """The camera of the window that is predicted."""
    height, width = sample.depth_m.shape
    whole = intrinsics_from_matrix(sample.intrinsics.numpy(), height=height, width=width)
    return crop_intrinsics(
        whole,
        top=window[0].start or 0,
        left=window[1].start or 0,
        height=target_m.shape[0],
        width=target_m.shape[1],
    )


def _window(protocol: Protocol, top: int, left: int) -> tuple[slice, slice]:
    if protocol.window is None:
        return slice(None), slice(None)
    return slice(top, top + protocol.window[0]), slice(left, left + protocol.window[1])


def _pixels(image_chw: Float32Array) -> Uint8Array:
    codes: Uint8Array = np.round(image_chw.transpose(1, 2, 0) * np.float32(255.0)).astype(np.uint8)
    return codes


def _known(sigma_m: Float32Array) -> Float32Array | None:
    """None when the model gives no sigma at all."""
    return None if np.isnan(sigma_m).all() else sigma_m


def _abs_rel(score: ImageScore) -> float:
    return -np.inf if score.sums is None else score.sums.abs_rel / score.sums.count
