# SPDX-License-Identifier: Apache-2.0
"""Depth of an image of any size, from a model file, on whichever backend can run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depth_core.contracts import DepthMap, Uint8Array
from depth_core.errors import ConfigError
from depth_core.runtime.backends import BACKENDS, Backend, BackendRequest, Precision, open_backend
from depth_core.runtime.flip import FlipAverage, predict_averaged
from depth_core.runtime.graph import input_shape
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
        self.precision = precision
        self.manifest = backend.manifest
        self.framing = framing
        self.stage_times = StageTimes()
        """Of the last answer."""
        self._run = backend.run
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
        request = BackendRequest(path=path, precision=precision, threads=threads)
        name, opened = open_backend(request, chain, strict=strict)
        # The first run allocates and tunes, and shows whether the outputs are planes.
        opened.run(np.zeros(input_shape(opened.manifest), opened.manifest.input.dtype))
        if framing.keep_aspect and not BACKENDS[name].any_size:
            spec = opened.manifest.input
            message = (
                f'{path} takes images of {spec.height}x{spec.width} on {name}, and the aspect of '
                'each image is to be kept; open the checkpoint on torch, or export the graph at '
                'the size that fits your camera.'
            )
            raise ConfigError(message)
        return cls(opened, name=name, path=path, precision=precision, framing=framing)

    def predict(self, image: Uint8Array, *, stamp_ns: int = 0) -> DepthMap:
        """Predict the depth of `image`.

        Args:
            image: [H, W, 3] uint8 RGB of any size; it is stretched to the size of the graph,
                unless `framing` says otherwise.
            stamp_ns: Handed through to the answer, nanoseconds.

        Returns:
            Depth, sigma (NaN when the model gives none) and confidence at the size of `image`.

        Raises:
            DataError: `image` is not such an array.
            BackendError: The backend failed.
        """
        pixels = check_image(image)
        with self._lock:
            self.stage_times = StageTimes()
            return predict_averaged(
                lambda shown: self._once(shown, stamp_ns), pixels, self.framing.flip_average
            )

    def _once(self, pixels: Uint8Array, stamp_ns: int) -> DepthMap:
        height, width = pixels.shape[:2]
        start = time.perf_counter()
        rows, columns = reflect_padding(height, width) if self.framing.padding else (0, 0)
        padded = pad_reflect(pixels, (rows, columns)) if rows or columns else pixels
        network_input = self._preprocessor(padded)(padded)
        prepared = time.perf_counter()
        depth, sigma = self._run(network_input)
        answered = time.perf_counter()
        depth_m, sigma_m = self._postprocess(
            depth, sigma, height=padded.shape[0], width=padded.shape[1]
        )
        if rows or columns:
            inner = slice(rows, rows + height), slice(columns, columns + width)
            depth_m, sigma_m = depth_m[inner].copy(), sigma_m[inner].copy()
        self.stage_times = self.stage_times.plus(
            StageTimes(
                preprocess_s=prepared - start,
                inference_s=answered - prepared,
                postprocess_s=time.perf_counter() - answered,
            )
        )
        return DepthMap(
            depth_m=depth_m,
            sigma_m=sigma_m,
            kind=self.manifest.output.kind,
            stamp_ns=stamp_ns,
            backend=self.backend,
            depth_range=self._depth_range,
            inference_s=answered - prepared,
        )

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
