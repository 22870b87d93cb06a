# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on the CPU or through CUDA."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.files import is_utf8
from depth_core.manifest import read_manifest
from depth_core.runtime.backends.base import BackendRequest, reason
from depth_core.runtime.graph import TensorInfo, as_planes, check_graph

Provider: TypeAlias = Literal['CPUExecutionProvider', 'CUDAExecutionProvider']

_OPTIONS: Final[dict[Provider, dict[str, str]]] = {
    'CPUExecutionProvider': {},
    # TF32 keeps ten bits of the mantissa; fp32 was asked for.
    'CUDAExecutionProvider': {'use_tf32': '0'},
}
_ERRORS_ONLY: Final = 3


class OnnxRuntimeBackend:
    """A session on one execution provider, and on no other: the CPU."""

    provider: ClassVar[Provider] = 'CPUExecutionProvider'

    def __init__(self, request: BackendRequest) -> None:
        self.manifest = read_manifest(request.path)
        provider = self.provider
        available = onnxruntime.get_available_providers()
        if provider not in available:
            message = (
                f'this onnxruntime {onnxruntime.__version__} has no {provider} '
                f'(it has {", ".join(available)}); install a build that does.'
            )
            raise BackendError(message)
        path, options = request.path, onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if request.threads is not None:
            options.intra_op_num_threads = request.threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path) if is_utf8(path) else path.read_bytes(),
                options,
                providers=[(provider, _OPTIONS[provider])],
            )
        except Exception as error:  # each failure has its own class here, with no common parent
            message = f'onnxruntime cannot load the graph: {reason(error)}'
            raise BackendError(message) from error
        # A provider that fails to start leaves its work to the CPU without an error.
        used = self._session.get_providers()
        if used[0] != provider:
            message = f'{provider} did not start, {used[0]} would compute; check its libraries.'
            raise BackendError(message)
        self._session.disable_fallback()
        check_graph(
            request.path,
            self.manifest,
            [_info(item) for item in self._session.get_inputs()],
            [_info(item) for item in self._session.get_outputs()],
        )
        output = self.manifest.output
        self._input = self.manifest.input.name
        self._outputs = [output.depth, *([] if output.sigma is None else [output.sigma])]

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        try:
            answers = self._session.run(self._outputs, {self._input: images})
        except Exception as error:  # as above
            message = f'onnxruntime failed while computing: {reason(error)}'
            raise BackendError(message) from error
        planes = [
            as_planes(np.asarray(answer), name, len(images))
            for answer, name in zip(answers, self._outputs, strict=True)
        ]
        return planes[0], planes[1] if len(planes) > 1 else None


class OnnxRuntimeCudaBackend(OnnxRuntimeBackend):
    """The same on an NVIDIA GPU."""

    provider = 'CUDAExecutionProvider'


def _info(item: onnxruntime.NodeArg) -> TensorInfo:
    dtype = item.type.removeprefix('tensor(').removesuffix(')')
    return TensorInfo(
        name=item.name,
        dtype={'float': 'float32', 'double': 'float64'}.get(dtype, dtype),
        shape=tuple(size if isinstance(size, int) else None for size in item.shape),
    )
