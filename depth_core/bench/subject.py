# SPDX-License-Identifier: Apache-2.0
"""What answers in a row: a model opened as its users open it, or the bare loop of its runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from depth_core.bench.raw import open_raw
from depth_core.bench.request import BenchRequest
from depth_core.contracts import Float32Array, Uint8Array
from depth_core.runtime import Precision, Predictor, StageTimes
from depth_core.runtime.backends import Backend, computed_precision, open_backend


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is ready to answer the same images again and again."""

    backend: str
    precision: Precision
    """What is computed in: of the graph, where that is in another than the one asked for."""
    answer: Callable[[], None]
    """Answers all images of one call."""
    stages: Callable[[], StageTimes]
    """Where the time of the last call went; a raw loop has inference alone."""
    open_s: float
    """Until it had answered once."""
    depth_m: Float32Array | None = None
    """What it answered for the first image; a raw loop is not asked."""


def camera_images(request: BenchRequest) -> list[Uint8Array]:
    """The images of one call: noise, the same in every process."""
    generator = np.random.default_rng(0)
    shape = (request.image_height, request.image_width, 3)
    return [generator.integers(0, 256, shape, np.uint8) for _ in range(request.batch)]


def open_subject(request: BenchRequest) -> Subject:
    """Open what the request names.

    Raises:
        DepthError: The model cannot be run on this backend, or takes no such batch.
    """
    start = time.perf_counter()
    if request.loop == 'raw':
        return _raw(request, start)
    images = camera_images(request)
    predictor = _open_predictor(request)
    request.check_batch(predictor.manifest)
    request.check_camera(predictor.manifest)
    cameras = [request.camera] * len(images)

    def answer() -> None:
        predictor.predict_batch(images, cameras)

    depth_m = predictor.predict_batch(images, cameras)[0].depth_m
    return Subject(
        backend=predictor.backend,
        precision=predictor.precision,
        answer=answer,
        stages=lambda: predictor.stage_times,
        open_s=time.perf_counter() - start,
        depth_m=depth_m,
    )


def _raw(request: BenchRequest, start: float) -> Subject:
    loop = open_raw(request)
    loop()
    open_s = time.perf_counter() - start
    taken = [0.0]

    def answer() -> None:
        before = time.perf_counter()
        loop()
        taken[0] = time.perf_counter() - before

    stated = request.stated() if request.model.suffix == '.onnx' else None
    return Subject(
        backend=request.backend,
        precision=computed_precision(request.precision, stated) if stated else request.precision,
        answer=answer,
        stages=lambda: StageTimes(inference_s=taken[0]),
        open_s=open_s,
    )


def _open_predictor(request: BenchRequest) -> Predictor:
    wanted = request.wanted
    if request.network_size is None:
        return Predictor.open(
            request.model,
            manifest=wanted.manifest,
            backend=request.backend,
            precision=request.precision,
            threads=request.threads,
            strict=True,
            device=wanted.device,
            engine=wanted.engine,
        )
    opened = open_backend(wanted, [request.backend], strict=True)
    sized = _AtSize(opened.backend, *request.network_size)
    return Predictor(sized, name=opened.name, path=request.model, precision=request.precision)


class _AtSize:
    """A backend that takes every size, held to one."""

    def __init__(self, backend: Backend, height: int, width: int) -> None:
        spec = replace(backend.manifest.input, height=height, width=width)
        self.manifest = replace(backend.manifest, input=spec)
        self.run = backend.run
