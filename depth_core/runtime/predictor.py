# SPDX-License-Identifier: Apache-2.0
"""Depth of an image of any size, from a model file, on whichever backend can run it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from depth_core.contracts import DepthKind, DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.errors import DataError
from depth_core.geometry import check_camera_size, intrinsics_from_hfov, mirror_camera
from depth_core.manifest import Manifest
from depth_core.runtime.backends import (
    Backend,
    BackendRequest,
    Precision,
    computed_precision,
    open_backend,
)
from depth_core.runtime.decoding import Decoded
from depth_core.runtime.engine.options import EngineIdentity, EngineOptions, RunsEngine
from depth_core.runtime.flip import average_flipped, mirror_image
from depth_core.runtime.framing import Framing
from depth_core.runtime.pipelines import Pipeline, Pipelines, Size
from depth_core.runtime.placement import Placement
from depth_core.runtime.postprocessing import Postprocessor
from depth_core.runtime.preprocessing import check_image
from depth_core.runtime.sized_model import SizedModel, chosen_manifest
from depth_core.runtime.stage_times import StageTimes
from depth_core.runtime.upsampling import Grid, sharpen_edges
from depth_core.shipped import find_model

_logger = logging.getLogger(__name__)


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
        manifest: Manifest | None = None,
        reopen: Callable[[Size], Backend] | None = None,
    ) -> None:
        """Take a backend that is open; `open` is what most callers want.

        Args:
            backend: The backend.
            name: What it is called.
            path: The model.
            precision: What it computes in.
            framing: How images are brought to the network.
            manifest: Of the network; None when that of the backend says how its size is chosen.
            reopen: Opens the backend at another size; None when it has only one.
        """
        self.backend = name
        """The backend really in use."""
        self.path = path
        self.precision = computed_precision(precision, backend.manifest)
        """What is computed in: of the graph, where that is in another than the one asked for."""
        self.framing = framing
        self.passed_over: tuple[tuple[str, str], ...] = ()
        """Name and reason of each backend that was tried before the one in use."""
        self.stage_times = StageTimes()
        """Of the last answer."""
        self._pipelines = Pipelines(backend, manifest or backend.manifest, framing, reopen)
        self._postprocess = Postprocessor(self.manifest.output)
        self._lock = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """Of the network; the size in it is the usual one, where cameras choose it."""
        return self._pipelines.manifest

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the network's input for the last image."""
        return self._pipelines.current.preprocess.size

    @property
    def engine(self) -> EngineIdentity | None:
        """The engine in use, where the backend runs one."""
        backend = self._pipelines.current.backend
        return backend.engine if isinstance(backend, RunsEngine) else None

    def assume(self, hfov_deg: float) -> None:
        """State in the manifest that images without intrinsics have this field of view.

        Raises:
            ConfigError: It is not between 0 and 180 degrees.
        """
        domain = replace(self.manifest.domain, assumed_hfov_deg=hfov_deg)
        self._pipelines.manifest = replace(self.manifest, domain=domain)
        if self.manifest.needs_intrinsics:
            _logger.warning(
                '%s: a horizontal field of view of %g degrees is assumed of images without '
                'intrinsics; metres are as wrong as that is', self.manifest.name, hfov_deg,
            )  # fmt: skip

    def prepare(self, height: int, width: int) -> Placement:
        """Open the model at the size that images of `height` x `width` ask for.

        The first image would do the same, and wait for it: minutes where an engine is built.

        Returns:
            Where such an image lies in the network's input.

        Raises:
            BackendError: It cannot be opened at that size.
        """
        with self._lock:
            return self._pipelines.for_image(height, width).preprocess.placement(height, width)

    def close(self) -> None:
        """Give back what the backends hold; no call may follow."""
        with self._lock:
            self._pipelines.close()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        manifest: Manifest | Path | str | None = None,
        backend: str | Sequence[str] | None = None,
        precision: Precision = 'fp32',
        strict: bool = False,
        threads: int | None = None,
        device: str | None = None,
        engine: EngineOptions = EngineOptions(),
        framing: Framing = Framing(),
        image_size: tuple[int, int] | None = None,
        assumed_hfov_deg: float | None = None,
    ) -> Predictor:
        """Open a model, and run it once to warm it up.

        Args:
            path: An `.onnx` file, a `.ckpt` checkpoint, or the name of a shipped model; a file
                of that name comes first. A foreign ONNX graph needs a manifest beside it,
                `<stem>.json`.
            manifest: What counts in place of the manifest that a graph has with it: one, the path
                of one, or the name of a preset (`python -m depth_core.presets`).
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
            image_size: (height, width) of the camera's images, where the size of the input
                follows from it: the model is opened at that size at once. None opens it at its
                usual size, and again when an image of another shape comes.
            assumed_hfov_deg: Horizontal field of view that is assumed of images without
                intrinsics, where the model cannot do without, degrees; the manifest states it
                then. None, as usual, assumes nothing, and refuses such images.

        Raises:
            BackendError: A backend is unknown, or none can run the model as asked.
            ConfigError: The path, the manifest, the precision or the threads are wrong.
            ModelError: The model is missing, corrupt or contradicts its manifest.
            CheckpointError: The same, for a checkpoint.
        """
        path = find_model(path)
        chain = [backend] if isinstance(backend, str) else backend
        request = BackendRequest(
            path=path,
            precision=precision,
            threads=threads,
            device=device,
            engine=engine,
            manifest=None if manifest is None else chosen_manifest(manifest, path),
        )
        model = SizedModel(request, framing)
        opened = open_backend(model.request_for(image_size), chain, strict=strict)
        predictor = cls(
            opened.backend,
            name=opened.name,
            path=path,
            precision=precision,
            framing=framing,
            manifest=model.manifest,
            reopen=model.reopener(opened),
        )
        predictor.passed_over = opened.passed_over
        if assumed_hfov_deg is not None:
            predictor.assume(assumed_hfov_deg)
        return predictor

    def predict(
        self,
        image: Uint8Array,
        intrinsics: Intrinsics | None = None,
        *,
        stamp_ns: int = 0,
        grid: Grid = Grid(),
    ) -> DepthMap:
        """Predict the depth of `image`.

        Args:
            image: [H, W, 3] uint8 RGB of any size; it is brought to the network as the manifest
                and `framing` say.
            intrinsics: The camera of `image`, pixels of it.
            stamp_ns: Handed through to the answer, nanoseconds.
            grid: The pixels that the answer is wanted at.

        Returns:
            Depth, sigma (NaN when the model gives none) and confidence at the size of `image`,
            unless `grid` says otherwise.

        Raises:
            DataError: `image` is not such an array, the intrinsics belong to an image of another
                size, or there are none and the model cannot do without.
            BackendError: The backend failed.
        """
        return self.predict_batch([image], [intrinsics], stamps_ns=[stamp_ns], grid=grid)[0]

    def predict_batch(
        self,
        images: Sequence[Uint8Array],
        intrinsics: Sequence[Intrinsics | None] | None = None,
        *,
        stamps_ns: Sequence[int] = (),
        grid: Grid = Grid(),
    ) -> list[DepthMap]:
        """Predict the depth of several images, of several cameras for instance.

        A graph whose batch is free answers them at once, one of a fixed batch as many at a time
        as it takes; of images that ask for different sizes of the network's input, those of one
        size go together.

        Args:
            images: [H, W, 3] uint8 RGB, each of any size.
            intrinsics: The camera of each image, or None for those that are not known.
            stamps_ns: Handed through to the answers, nanoseconds: as many as images, or none.
            grid: The pixels that the answers are wanted at.

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
        cameras = self._cameras(pixels, intrinsics)
        stamps = list(stamps_ns) or [0] * len(pixels)
        how = self.framing.flip_average
        with self._lock:
            self.stage_times = StageTimes()
            plain = self._pass(pixels, cameras, stamps, grid)
            if how == 'none':
                return plain
            mirrored = [None if camera is None else mirror_camera(camera) for camera in cameras]
            turned = [mirror_image(image) for image in pixels]
            flipped = self._pass(turned, mirrored, stamps, grid)
        return [average_flipped(*both, how) for both in zip(plain, flipped, strict=True)]

    def _cameras(
        self, images: Sequence[Uint8Array], intrinsics: Sequence[Intrinsics | None] | None
    ) -> list[Intrinsics | None]:
        """The camera of each image, where it is known or assumed."""
        given = list([None] * len(images) if intrinsics is None else intrinsics)
        if len(given) != len(images):
            message = f'{len(given)} intrinsics for {len(images)} images; give one for each.'
            raise DataError(message)
        return [
            self._camera(camera, *image.shape[:2])
            for camera, image in zip(given, images, strict=True)
        ]

    def _camera(self, given: Intrinsics | None, height: int, width: int) -> Intrinsics | None:
        if given is not None:
            check_camera_size(given, height=height, width=width)
            return given
        if not self.manifest.needs_intrinsics:
            return None
        hfov_deg = self.manifest.domain.assumed_hfov_deg
        if hfov_deg is None:
            message = (
                f'{self.manifest.name} ({self.manifest.output.kind} depth) needs the camera of '
                'the image, and no intrinsics are given; give those of a calibration '
                '(camera_info), or assumed_hfov_deg, the horizontal field of view, where at least '
                'that is known.'
            )
            raise DataError(message)
        return intrinsics_from_hfov(hfov_deg, height=height, width=width)

    def _pass(
        self,
        images: Sequence[Uint8Array],
        cameras: Sequence[Intrinsics | None],
        stamps_ns: Sequence[int],
        grid: Grid,
    ) -> list[DepthMap]:
        """Answer all images, as many at a time as the graph takes."""
        answers: dict[int, DepthMap] = {}
        waiting = list(range(len(images)))
        while waiting:
            pipeline = self._pipelines.for_image(*images[waiting[0]].shape[:2])
            if len(images) == 1:  # as most callers have it
                return self._at_once(pipeline, images, cameras, stamps_ns, grid)
            step = self.manifest.input.batch or pipeline.largest_batch or len(images)
            size = pipeline.preprocess.size
            suited = (p for p in waiting if self._pipelines.size_for(*images[p].shape[:2]) == size)
            group = list(islice(suited, step))
            found = self._at_once(
                pipeline,
                [images[place] for place in group],
                [cameras[place] for place in group],
                [stamps_ns[place] for place in group],
                grid,
            )
            answers.update(zip(group, found, strict=True))
            waiting = [place for place in waiting if place not in answers]
        return [answers[place] for place in range(len(images))]

    def _at_once(
        self,
        pipeline: Pipeline,
        images: Sequence[Uint8Array],
        cameras: Sequence[Intrinsics | None],
        stamps_ns: Sequence[int],
        grid: Grid,
    ) -> list[DepthMap]:
        """Answer one batch."""
        start = time.perf_counter()
        preprocess = pipeline.preprocess
        if pipeline.resizes is None:
            taken: Any = preprocess(images)
        else:
            taken = [preprocess.bordered(image) for image in images]
        placements = [preprocess.placement(*image.shape[:2]) for image in images]
        seen = pipeline.seen(cameras, placements)
        prepared = time.perf_counter()
        answer = pipeline.run(taken, seen)
        answered = time.perf_counter()
        decoded = [
            pipeline.decode(answer, place, camera and camera.network)
            for place, camera in enumerate(seen)
        ]
        planes = [
            self._planes(plane, placement, image, grid)
            for plane, placement, image in zip(decoded, placements, images, strict=True)
        ]
        self.stage_times = self.stage_times.plus(
            StageTimes(
                preprocess_s=prepared - start,
                inference_s=answered - prepared,
                postprocess_s=time.perf_counter() - answered,
                copy_s=None if pipeline.copies is None else pipeline.copies.copy_s,
            )
        )
        kind = self.manifest.output.kind
        return [
            DepthMap(
                depth_m=depth_m,
                sigma_m=sigma_m,
                kind=DepthKind.METRIC if kind.is_metric else kind,
                stamp_ns=stamp_ns,
                backend=self.backend,
                depth_range=one.depth_range,
                inference_s=answered - prepared,
            )
            for one, (depth_m, sigma_m), stamp_ns in zip(decoded, planes, stamps_ns, strict=True)
        ]

    def _planes(
        self, decoded: Decoded, placement: Placement, image: Uint8Array, grid: Grid
    ) -> tuple[Float32Array, Callable[[], Float32Array]]:
        """Depth, and what makes sigma, at the pixels that are wanted."""
        if grid.size != 'camera':
            size = None if grid.size == 'network' else grid.size
            placement = placement.answered_at(size)
        depth_m, sigma_m = self._postprocess(decoded, placement)
        if grid.guided and (coarse := placement.answered_at(None)) != placement:
            sharpen_edges(depth_m, self._postprocess(decoded, coarse)[0], image)
        return depth_m, sigma_m
