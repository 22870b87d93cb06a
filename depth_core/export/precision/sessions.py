# SPDX-License-Identifier: Apache-2.0
"""Models in memory, run on ONNX Runtime."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import ExportError
from depth_core.manifest import Manifest
from depth_core.runtime.graph import as_planes

_ERRORS_ONLY: Final = 3


def open_session(model: onnx.ModelProto, *, optimise: bool) -> onnxruntime.InferenceSession:
    """Make `model` ready to run on the CPU.

    Args:
        model: The model.
        optimise: Whether ONNX Runtime may rewrite the graph; not where rounding counts.

    Raises:
        ExportError: ONNX Runtime does not take it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if not optimise:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider']
        )
    except Exception as error:  # each failure has its own class here, with no common parent
        message = f'ONNX Runtime cannot load the graph: {str(error).strip()}'
        raise ExportError(message) from error


class ModelBackend:
    """A model in memory as a `runtime` backend."""

    def __init__(self, model: onnx.ModelProto, manifest: Manifest, *, optimise: bool) -> None:
        self.manifest = manifest
        self._session = open_session(model, optimise=optimise)
        output = manifest.output
        self._outputs = [output.depth, *([] if output.sigma is None else [output.sigma])]

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        answers = self._session.run(self._outputs, {self.manifest.input.name: images})
        planes = [
            as_planes(np.asarray(answer), name, len(images))
            for answer, name in zip(answers, self._outputs, strict=True)
        ]
        return planes[0], planes[1] if len(planes) > 1 else None
