# SPDX-License-Identifier: Apache-2.0
"""Models in memory, run on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import ExportError
from depth_core.manifest import Manifest
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.runtime.graph import TensorInfo, check_graph, planes_of

Extra: TypeAlias = Mapping[str, NDArray[Any]]
"""What a graph is given beside the image, by name."""

NOTHING: Final[Extra] = MappingProxyType({})

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


def feeds(
    session: onnxruntime.InferenceSession, image: NDArray[Any], extra: Extra
) -> dict[str, NDArray[Any]]:
    """What a session is given for `image`: the one input that `extra` does not name."""
    names = [item.name for item in session.get_inputs() if item.name not in extra]
    return {**extra, names[0]: image}


def extra_inputs(path: Path, model: onnx.ModelProto, manifest: Manifest) -> ExtraInputs:
    """What fills the inputs of a graph beside the image.

    Raises:
        ModelError: The graph at `path` is not what its manifest says.
    """
    stored = {item.name for item in model.graph.initializer}
    inputs = [_info(item) for item in model.graph.input if item.name not in stored]
    check_graph(path, manifest, inputs, [_info(item) for item in model.graph.output])
    return ExtraInputs(manifest, inputs)


def _info(item: onnx.ValueInfoProto) -> TensorInfo:
    kind = item.type.tensor_type
    sizes = [size.dim_value if size.HasField('dim_value') else None for size in kind.shape.dim]
    return TensorInfo(
        name=item.name,
        dtype=onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name,
        shape=tuple(sizes) if kind.HasField('shape') else None,
    )


class ModelBackend:
    """A model in memory as a `runtime` backend."""

    def __init__(
        self,
        model: onnx.ModelProto,
        manifest: Manifest,
        extra: ExtraInputs | None = None,
        *,
        optimise: bool,
    ) -> None:
        self.manifest = manifest
        self.extra_inputs = ExtraInputs(manifest, ()) if extra is None else extra
        self._session = open_session(model, optimise=optimise)

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        count = len(images)
        inputs = {self.manifest.input.name: images, **self.extra_inputs.usual(count)}
        return planes_of(self.manifest, self.run_named(inputs), count)

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch from all inputs."""
        names = self.manifest.outputs
        answers = self._session.run(names, dict(inputs))
        return {name: np.asarray(answer) for name, answer in zip(names, answers, strict=True)}
