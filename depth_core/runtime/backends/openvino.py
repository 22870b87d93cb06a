# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime.backends.base import BackendRequest, Precision, reason
from depth_core.runtime.graph import TensorInfo, as_planes, check_graph, input_shape

_DEVICE: Final = 'CPU'

_PRECISIONS: Final[dict[Precision, tuple[str, str]]] = {
    'fp32': ('f32', 'FP32'),
    'bf16': ('bf16', 'BF16'),
    'fp16': ('f16', 'FP16'),
}
"""The hint that asks for a precision, and the capability a processor must have for it."""


@cache
def _core() -> openvino.Core:
    """The one core of this process, which lives as long as the process.

    A core gives the thread that first compiles with it another stack for signal handlers, and
    takes that back when it is destroyed. Two cores that end in the order in which they began
    leave a stack that is no longer mapped behind: the next Ctrl-C would be a crash.
    """
    return openvino.Core()


class OpenVinoBackend:
    """A model compiled for this processor, with one inference request that is used over again."""

    def __init__(self, request: BackendRequest) -> None:
        self.manifest = read_manifest(request.path)
        core = _core()
        hint, capability = _PRECISIONS[request.precision]
        capabilities = core.get_property(_DEVICE, 'OPTIMIZATION_CAPABILITIES')
        if capability not in capabilities:
            # Left to itself, OpenVINO would quietly compute in fp32 here.
            message = (
                f'this processor does not compute in {request.precision} '
                f'(it has {", ".join(sorted(capabilities))}); ask for fp32.'
            )
            raise BackendError(message)
        settings: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': hint,
        }
        if request.threads is not None:
            settings['INFERENCE_NUM_THREADS'] = request.threads
        try:
            model = core.read_model(request.path)
        except RuntimeError as error:
            message = f'openvino cannot load the graph: {reason(error)}'
            raise BackendError(message) from error
        check_graph(
            request.path,
            self.manifest,
            [_info(port) for port in model.inputs],
            [_info(port) for port in model.outputs],
        )
        try:
            if model.is_dynamic():
                model.reshape({self.manifest.input.name: _fixed_shape(self.manifest)})
            compiled = core.compile_model(model, _DEVICE, settings)
        except RuntimeError as error:
            message = f'openvino cannot compile the graph: {reason(error)}'
            raise BackendError(message) from error
        self._request = compiled.create_infer_request()
        output = self.manifest.output
        self._outputs = [output.depth, *([] if output.sigma is None else [output.sigma])]

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        self._request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
        try:
            self._request.infer()
        except RuntimeError as error:
            message = f'openvino failed while computing: {reason(error)}'
            raise BackendError(message) from error
        planes = [
            as_planes(self._request.get_tensor(name).data, name, len(images))
            for name in self._outputs
        ]
        return planes[0], planes[1] if len(planes) > 1 else None


def _fixed_shape(manifest: Manifest) -> list[int]:
    """The shape to compile for; -1 where the number of images stays free."""
    _, *sizes = input_shape(manifest)
    return [manifest.input.batch or -1, *sizes]


def _info(port: Any) -> TensorInfo:  # noqa: ANN401  the bindings give no type for ports
    shape = port.get_partial_shape()
    sizes = None
    if not shape.rank.is_dynamic:
        sizes = tuple(None if size.is_dynamic else size.get_length() for size in shape)
    names = port.get_names()
    return TensorInfo(
        name=port.get_any_name() if names else '',
        dtype=np.dtype(port.get_element_type().to_dtype()).name,
        shape=sizes,
    )
