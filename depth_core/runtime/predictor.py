# SPDX-License-Identifier: Apache-2.0
"""Depth of an image of any size, from a model file, on whichever backend can run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depth_core.contracts import DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import check_camera_size
from depth_core.runtime.backends import (
    BACKENDS,
    Backend,
    BackendRequest,
    LimitsBatch,
    MeasuresCopies,
    Precision,
    ResizesImages,
    computed_precision,
    open_backend,
)
from depth_core.runtime.engine.options import EngineOptions, RunsEngine
from depth_core.runtime.flip import FlipAverage, average_flipped, mirror_image
from depth_core.runtime.postprocessing import Postprocessor
from depth_core.runtime.preprocessing import Preprocessor, check_image
from depth_core.runtime.sizes import keep_aspect_size, pad_reflect, reflect_padding
from depth_core.shipped import find_model


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Where the time of one answer went, seconds."""

    preprocess_s: float = 0.0
    inference_s: float = 0.0
    postprocess_s: float = 0.0
    copy_s: float | None = None
    """Of `inference_s`, copying to the device and back; None where the backend does not tell, or
    has no device of its own."""

    def plus(self, other: StageTimes) -> StageTimes:
        """The time of two passes."""
        return StageTimes(
            preprocess_s=self.preprocess_s + other.preprocess_s,
            inference_s=self.inference_s + other.inference_s,
            postprocess_s=self.postprocess_s + other.postprocess_s,
            copy_s=_sum_known(self.copy_s, other.copy_s),
        )


def _sum_known(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How an image is brought to the network; all off for the fastest answer."""

    padding: bool = False
    """Surround the image with its reflection first, as ZoeDepth does: the network does not see
    the edge of the image."""
    keep_aspect: bool = False
    """Choose the input size for the shape of each image, as ZoeDepth does, not one size for all;
    only a checkpoint on torch can take it, a graph has one size."""
    flip_average: FlipAverage = 'none'
    """Average with the answer for the mirror image: twice the time."""


class Predictor:
    """A model that is ready to answer.

    Calls from several threads are answered one after the other. Every answer owns its memory.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str,
        path: Path,
        precision: Precision = 'fp32',
        framing: Framing = Framing(),
    ) -> None:
        self.backend = name
        """The backend really in use."""
        self.path = path
        self.manifest = backend.manifest
        self.precision = computed_precision(precision, self.manifest)
        """What is computed in: of the graph, where that is in another than the one asked for."""
        self.framing = framing
        self.passed_over: tuple[tuple[str, str], ...] = ()
        """Name and reason of each backend that was tried before the one in use."""
        self.engine = backend.engine if isinstance(backend, RunsEngine) else None
        """The engine in use, where the backend runs one."""
        self.stage_times = StageTimes()
        """Of the last answer."""
        self._run = backend.run
        self._largest_batch = backend.largest_batch if isinstance(backend, LimitsBatch) else None
        self._copies = backend if isinstance(backend, MeasuresCopies) else None
        self._resizes = backend.run_images if isinstance(backend, ResizesImages) else None
        self._preprocess = Preprocessor(self.manifest)
        self._postprocess = Postprocessor(self.manifest.output)
        self._depth_range = self._postprocess.depth_range
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        backend: str | Sequence[str] | None = None,
        precision: Precision = 'fp32',
        strict: bool = False,
        threads: int | None = None,
        device: str | None = None,
        engine: EngineOptions = EngineOptions(),
        framing: Framing = Framing(),
    ) -> Predictor:
        """Open a model, and run it once to warm it up.

        Args:
            path: An `.onnx` file, a `.ckpt` checkpoint, or the name of a shipped model; a file
                of that name comes first. A foreign ONNX graph needs a manifest beside it,
                `<stem>.json`.
            backend: A name from `runtime.BACKENDS`, or several: the first that can run the model
                is used, each one passed over is logged, and `Predictor.backend` is the one in
                use. None or `auto` takes the fastest that is installed.
            precision: What the backend computes in.
            strict: Use the first backend or none.
            threads: Most CPU threads to compute with; None means all cores.
            device: Which device of the backend, by the name its runtime gives it (`GPU.0`,
                `cuda:1`); None takes the first.
            engine: How an engine is built and kept, where the backend builds one.
            framing: How images are brought to the network.

        Raises:
            BackendError: A backend is unknown, or none can run the model as asked.
            ConfigError: The path, the manifest, the precision or the threads are wrong, or the
                aspect is to be kept in a graph of one size.
            ModelError: The model is missing, corrupt or contradicts its manifest.
            CheckpointError: The same, for a checkpoint.
        """
        path = find_model(path)
        chain = [backend] if isinstance(backend, str) else backend
        request = BackendRequest(
            path=path, precision=precision, threads=threads, device=device, engine=engine
        )
        name, opened, passed_over = open_backend(request, chain, strict=strict)
        if framing.keep_aspect and not BACKENDS[name].any_size:
            spec = opened.manifest.input
            message = (
                f'{path} takes images of {spec.height}x{spec.width} on {name}, and the aspect of '
                'each image is to be kept; open the checkpoint on torch, or export the graph at '
                'the size that fits your camera.'
            )
            raise ConfigError(message)
        predictor = cls(opened, name=name, path=path, precision=precision, framing=framing)
        predictor.passed_over = passed_over
        return predictor

    def predict(
        self,
        image: Uint8Array,
        intrinsics: Intrinsics | None = None,
        *,
        stamp_ns: int = 0,
    ) -> DepthMap:
        """Predict the depth of `image`.

        Args:
            image: [H, W, 3] uint8 RGB of any size; it is stretched to the size of the graph,
                unless the manifest or `framing` says otherwise.
            intrinsics: The camera of `image`, pixels of it.
            stamp_ns: Handed through to the answer, nanoseconds.

        Returns:
            Depth, sigma (NaN when the model gives none) and confidence at the size of `image`.

        Raises:
            DataError: `image` is not such an array, the intrinsics belong to an image of another
                size, or there are none and the model cannot do without.
            BackendError: The backend failed.
        """
        return self.predict_batch([image], [intrinsics], stamps_ns=[stamp_ns])[0]

    def predict_batch(
        self,
        images: Sequence[Uint8Array],
        intrinsics: Sequence[Intrinsics | None] | None = None,
        *,
        stamps_ns: Sequence[int] = (),
    ) -> list[DepthMap]:
        """Predict the depth of several images, of several cameras for instance.

        A graph whose batch is free answers them at once, one of a fixed batch as many at a time
        as it takes; when each is brought to a size of its own (`Framing.keep_aspect`), they are
        answered one after the other.

        Args:
            images: [H, W, 3] uint8 RGB, each of any size.
            intrinsics: The camera of each image, or None for those that are not known.
            stamps_ns: Handed through to the answers, nanoseconds: as many as images, or none.

        Returns:
            What `predict` gives, for each image in turn. `inference_s` of those that were
            answered at once is the time of all of them.

        Raises:
            DataError: An image is not such an array, its intrinsics are missing or belong to
                another size, or the stamps or intrinsics are not as many as images.
            BackendError: The backend failed.
        """
        pixels = [check_image(image) for image in images]
        if len(stamps_ns) not in {0, len(pixels)}:
            message = f'{len(stamps_ns)} stamps for {len(pixels)} images; give one for each.'
            raise DataError(message)
        self._cameras(pixels, intrinsics)
        stamps = list(stamps_ns) or [0] * len(pixels)
        how = self.framing.flip_average
        with self._lock:
            self.stage_times = StageTimes()
            plain = self._pass(pixels, stamps)
            if how == 'none':
                return plain
            flipped = self._pass([mirror_image(image) for image in pixels], stamps)
        return [average_flipped(*both, how) for both in zip(plain, flipped, strict=True)]

    def _cameras(
        self, images: Sequence[Uint8Array], intrinsics: Sequence[Intrinsics | None] | None
    ) -> list[Intrinsics | None]:
        """The camera of each image, where it is known or assumed."""
        given = list([None] * len(images) if intrinsics is None else intrinsics)
        if len(given) != len(images):
            message = f'{len(given)} intrinsics for {len(images)} images; give one for each.'
            raise DataError(message)
        for camera, image in zip(given, images, strict=True):
            if camera is not None:
                check_camera_size(camera, height=image.shape[0], width=image.shape[1])
        return given

    def _pass(self, images: Sequence[Uint8Array], stamps_ns: Sequence[int]) -> list[DepthMap]:
        """Answer all images, as many at a time as the graph takes."""
        step = self.manifest.input.batch or self._largest_batch or max(len(images), 1)
        if self.framing.keep_aspect:
            step = 1
        answers = []
        for first in range(0, len(images), step):
            group = slice(first, first + step)
            answers += self._at_once(images[group], stamps_ns[group])
        return answers

    def _at_once(self, images: Sequence[Uint8Array], stamps_ns: Sequence[int]) -> list[DepthMap]:
        """Answer one batch."""
        start = time.perf_counter()
        padded = [self._padded(image) for image in images]
        if self._resizes is None:
            network_input = self._preprocessor(padded[0])(padded)
        prepared = time.perf_counter()
        if self._resizes is None:
            depth, sigma = self._run(network_input)
        else:
            depth, sigma = self._resizes(padded)
        answered = time.perf_counter()
        planes = [
            self._at_image_size(image, depth[place], None if sigma is None else sigma[place])
            for place, image in enumerate(images)
        ]
        self.stage_times = self.stage_times.plus(
            StageTimes(
                preprocess_s=prepared - start,
                inference_s=answered - prepared,
                postprocess_s=time.perf_counter() - answered,
                copy_s=None if self._copies is None else self._copies.copy_s,
            )
        )
        return [
            DepthMap(
                depth_m=depth_m,
                sigma_m=sigma_m,
                kind=self.manifest.output.kind,
                stamp_ns=stamp_ns,
                backend=self.backend,
                depth_range=self._depth_range,
                inference_s=answered - prepared,
            )
            for (depth_m, sigma_m), stamp_ns in zip(planes, stamps_ns, strict=True)
        ]

    def _padding(self, image: Uint8Array) -> tuple[int, int]:
        """(rows, columns) that are reflected at each border."""
        return reflect_padding(*image.shape[:2]) if self.framing.padding else (0, 0)

    def _padded(self, image: Uint8Array) -> Uint8Array:
        padding = self._padding(image)
        return pad_reflect(image, padding) if any(padding) else image

    def _at_image_size(
        self, image: Uint8Array, depth: Float32Array, sigma: Float32Array | None
    ) -> tuple[Float32Array, Float32Array]:
        """Bring the planes of `image` to its size, without the reflected border."""
        height, width = image.shape[:2]
        rows, columns = self._padding(image)
        depth_m, sigma_m = self._postprocess(
            depth, sigma, height=height + 2 * rows, width=width + 2 * columns
        )
        if rows or columns:
            inner = slice(rows, rows + height), slice(columns, columns + width)
            depth_m, sigma_m = depth_m[inner].copy(), sigma_m[inner].copy()
        return depth_m, sigma_m

    def _preprocessor(self, image: Uint8Array) -> Preprocessor:
        """The one for the input size of `image`; the last is kept, cameras do not change size."""
        if not self.framing.keep_aspect:
            return self._preprocess
        spec = self.manifest.input
        height, width = keep_aspect_size(
            image.shape[0],
            image.shape[1],
            target=(spec.height, spec.width),
            multiple=self.manifest.divisor,
        )
        if self._preprocess.size != (height, width):
            resized = replace(spec, height=height, width=width)
            self._preprocess = Preprocessor(replace(self.manifest, input=resized))
        return self._preprocess
