# SPDX-License-Identifier: Apache-2.0
"""One image after the other: cut out, predicted, brought to metres and scored."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol as Interface
from typing import runtime_checkable

import cv2
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
from depth_core.data.places import Place
from depth_core.data.sample import Sample, known_camera
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.flicker import Flicker, Seen
from depth_core.evaluate.scaling import ScaleSource
from depth_core.evaluate.surroundings import surroundings
from depth_core.geometry import crop_intrinsics, intrinsics_from_matrix
from depth_core.metrics import Align, Evaluation, ImageScore, MetricAccumulator, Protocol
from depth_core.runtime.flip import FlipAverage, predict_averaged
from depth_core.runtime.postprocessing import RANGE_TOLERANCE


class PredictsDepth(Interface):
    """The part of `depth_core.runtime.Predictor` that is needed here."""

    def predict(self, image_hwc_u8: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        """Depth at the size of an RGB image, whose camera is given where it is known."""


@runtime_checkable
class AnswersByKey(Interface):
    """Gives depth for an image by the name of its sample, such as the live node for its stamp."""

    def answer(self, key: str) -> DepthMap:
        """Depth at the size of that image."""


class PredictsClasses(Interface):
    """The part of `depth_core.evaluate.labels.PredictedLabels` that is needed here."""

    source: str
    """Where the classes come from, for the report."""

    def predict(self, image_hwc_u8: Uint8Array) -> NDArray[np.int64]:
        """Cityscapes train ids at the size of an RGB image."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The part of a sample that is predicted and scored."""

    sample: Sample
    window: tuple[slice, slice]
    image: Uint8Array
    """[H, W, 3] RGB of the window."""
    target_m: Float32Array
    """[H, W] ground truth of the window."""
    valid: BoolArray
    """[H, W] where there is ground truth."""
    place: Place | None = None
    """Where the camera was; None where that is not known."""
    groups: Mapping[str, BoolArray] = field(default_factory=dict)
    """[H, W] where ground, obstacles and thin things are, by the true depth."""

    @classmethod
    def of(cls, sample: Sample, protocol: Protocol, place: Place | None = None) -> View:
        """Cut the window of `protocol` out of `sample`."""
        window = slice(None), slice(None)
        if protocol.window is not None:
            top, left = protocol.window_origin(sample.depth_m.shape[0], sample.depth_m.shape[1])
            height, width = protocol.window
            window = slice(top, top + height), slice(left, left + width)
        return cls(
            sample=sample,
            window=window,
            image=_bytes_of(sample.image.numpy()[(slice(None), *window)]),
            target_m=sample.depth_m.numpy()[window],
            valid=sample.valid.numpy()[window],
            place=place,
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


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One image with its prediction and errors."""

    score: ImageScore
    image: Uint8Array
    """[H, W, 3] RGB of the window."""
    answer: DepthMap
    truth: tuple[Float32Array, BoolArray]
    """[H, W] ground truth, and where it may be scored."""
    camera: Intrinsics | None
    """That of the window; None where it is not known."""
    protocol: Protocol

    @property
    def target_m(self) -> Float32Array:
        """[H, W] ground truth, NaN where none was scored."""
        return np.where(self.protocol.scored(*self.truth), self.truth[0], np.float32(np.nan))


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One image with its prediction, before it is scored."""

    view: View
    answer: DepthMap


class Scorer:
    """Predicts images, and finds scale, groups and errors of each."""

    def __init__(
        self,
        predictor: PredictsDepth,
        protocol: Protocol,
        *,
        source: ScaleSource | None = None,
        flip_average: FlipAverage = 'none',
        labels: PredictsClasses | None = None,
    ) -> None:
        self._predictor = predictor
        self._protocol = protocol
        self._source = source or ScaleSource()
        self._flip_average: FlipAverage = flip_average
        self._labels = labels
        self._accumulator = MetricAccumulator(protocol, align=self._source.align)
        self._flicker = Flicker()
        self.states: Counter[str] = Counter()
        """How many images each state of the scale had."""

    @property
    def scores(self) -> tuple[ImageScore, ...]:
        """Of every image so far."""
        return tuple(self._accumulator.scores)

    def __call__(self, sample: Sample, place: Place | None = None) -> Scored:
        """Predict and score one image.

        Args:
            sample: The image.
            place: Where the camera was, for flicker; None = not known.
        """
        return self.score(self.predict(self.look(sample, place)))

    def look(self, sample: Sample, place: Place | None = None) -> View:
        """Find what is to be scored of one image; the arguments are those of a call."""
        view = View.of(sample, self._protocol, place)
        return replace(view, groups=self._groups(view))

    def predict(self, view: View) -> Answered:
        """Predict one image."""
        if isinstance(self._predictor, AnswersByKey):
            answer = self._predictor.answer(str(view.sample.key))
        else:
            answer = _predict(self._predictor, view, self._flip_average)
        _check_kind(answer, self._source.align)
        return Answered(view=view, answer=answer)

    def score(self, answered: Answered) -> Scored:
        """Score one prediction; images are scored in the order in which they were taken."""
        view, answer = answered.view, answered.answer
        valid, scale = view.valid, None
        key = str(view.sample.key)
        if self._source.applies:
            scored = self._protocol.scored(view.target_m, valid)
            found, valid = self._source.find(
                _inside_range(answer),
                view.camera,
                view.target_m,
                scored,
                seed=zlib.crc32(key.encode()),
            )
            self.states[str(found.state)] += 1
            scale = found.scale
        score = self._accumulator.update(
            answer.depth_m,
            view.target_m,
            valid,
            None if np.isnan(answer.sigma_m).all() else answer.sigma_m,
            key=key,
            scale=scale,
            semantic=self._classes(view),
            groups=view.groups,
            flicker=self._flicker(self._seen(view, answer, scale)),
        )
        return Scored(
            score=score,
            image=view.image,
            answer=answer,
            truth=(view.target_m, valid),
            camera=known_camera(view.sample, view.window),
            protocol=self._protocol,
        )

    def _groups(self, view: View) -> Mapping[str, BoolArray]:
        """Ground, obstacles and thin things by the true depth, where there are no labels."""
        if self._labels is not None or view.sample.semantic is not None:
            return {}
        camera = known_camera(view.sample, view.window)
        return {} if camera is None else surroundings(view.target_m, view.valid, camera)

    def _seen(self, view: View, answer: DepthMap, scale: float | None) -> Seen | None:
        """The image for flicker; None where its metres do not come from the model alone."""
        camera = known_camera(view.sample, view.window)
        metric = self._source.align == 'none' or scale is not None
        if view.place is None or camera is None or not metric:
            return None
        return Seen(answer.depth_m * np.float32(scale or 1.0), camera, view.place)

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

    def _classes(self, view: View) -> NDArray[np.int64] | None:
        """Train ids of the view; None where neither a network nor the data states them."""
        if self._labels is not None:
            return self._labels.predict(view.image)
        semantic = view.sample.semantic
        return None if semantic is None else semantic.numpy()[view.window]


def _bytes_of(planes: NDArray[np.uint8 | np.float32]) -> Uint8Array:
    """[H, W, 3] uint8 of [3, H, W], which is that already or floats in [0, 1]."""
    if planes.dtype == np.uint8:
        return np.ascontiguousarray(planes.transpose(1, 2, 0))
    codes = cv2.merge([cv2.convertScaleAbs(plane, alpha=255.0) for plane in planes])
    return np.asarray(codes, np.uint8)


def _predict(predictor: PredictsDepth, view: View, flip_average: FlipAverage) -> DepthMap:
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
