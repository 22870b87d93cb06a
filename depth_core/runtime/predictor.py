# SPDX-License-Identifier: Apache-2.0
"""Depth of an image of any size, from a model file, on whichever backend can run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_core.contracts import DepthMap, Uint8Array
from depth_core.runtime.backends import Backend, BackendRequest, Precision, open_backend
from depth_core.runtime.graph import input_shape
from depth_core.runtime.preprocessing import Postprocessor, Preprocessor, check_image


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Where the time of one answer went, seconds."""

    preprocess_s: float
    inference_s: float
    postprocess_s: float


class Predictor:
    """A model that is ready to answer.

    Calls from several threads are answered one after the other. Every answer owns its memory.
    """

    def __init__(
        self, backend: Backend, *, name: str, path: Path, precision: Precision = 'fp32'
    ) -> None:
        self.backend = name
        """The backend really in use."""
        self.path = path
        self.precision = precision
        self.manifest = backend.manifest
        self.stage_times = StageTimes(preprocess_s=0.0, inference_s=0.0, postprocess_s=0.0)
        """Of the last answer."""
        self._run = backend.run
        self._preprocess = Preprocessor(self.manifest)
        self._postprocess = Postprocessor(self.manifest.output)
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
    ) -> Predictor:
        """Open an `.onnx` file or a `.ckpt` checkpoint, and run it once to warm it up.

        Args:
            path: The model. A foreign ONNX graph needs a manifest beside it, `<stem>.json`.
            backend: A name from `runtime.BACKENDS`, or several: the first that can run the model
                is used, each one passed over is logged, and `Predictor.backend` tells the one in
                use. None takes the fastest that is installed.
            precision: What the backend computes in.
            strict: Use the first backend or none.
            threads: Most CPU threads to compute with; None means all cores.

        Raises:
            BackendError: A backend is unknown, or none can run the model as asked.
            ConfigError: The path, the manifest, the precision or the threads are wrong.
            ModelError: The model is missing, corrupt or contradicts its manifest.
            CheckpointError: The same, for a checkpoint.
        """
        path = Path(path)
        chain = [backend] if isinstance(backend, str) else backend
        request = BackendRequest(path=path, precision=precision, threads=threads)
        name, opened = open_backend(request, chain, strict=strict)
        # The first run allocates and tunes, and shows whether the outputs are planes.
        opened.run(np.zeros(input_shape(opened.manifest), opened.manifest.input.dtype))
        return cls(opened, name=name, path=path, precision=precision)

    def predict(self, image: Uint8Array, *, stamp_ns: int = 0) -> DepthMap:
        """Predict the depth of `image`.

        Args:
            image: [H, W, 3] uint8 RGB of any size; it is stretched to the size of the graph.
            stamp_ns: Handed through to the answer, nanoseconds.

        Returns:
            Depth, sigma (NaN when the model gives none) and confidence at the size of `image`.

        Raises:
            DataError: `image` is not such an array.
            BackendError: The backend failed.
        """
        pixels = check_image(image)
        height, width = pixels.shape[:2]
        with self._lock:
            start = time.perf_counter()
            network_input = self._preprocess(pixels)
            prepared = time.perf_counter()
            depth, sigma = self._run(network_input)
            answered = time.perf_counter()
            depth_m, sigma_m = self._postprocess(depth, sigma, height=height, width=width)
            self.stage_times = StageTimes(
                preprocess_s=prepared - start,
                inference_s=answered - prepared,
                postprocess_s=time.perf_counter() - answered,
            )
        return DepthMap(
            depth_m=depth_m,
            sigma_m=sigma_m,
            kind=self.manifest.output.kind,
            stamp_ns=stamp_ns,
            backend=self.backend,
            inference_s=answered - prepared,
        )
