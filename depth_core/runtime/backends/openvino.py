# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU, or on a GPU or NPU that it knows."""

from __future__ import annotations

import logging
import mmap
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.runtime.backends.base import (
    BackendRequest,
    Precision,
    is_same_memory,
    reason,
)
from depth_core.runtime.backends.cpu_graphs import cpu_graph
from depth_core.runtime.backends.openvino_cache import cache_folder
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.runtime.graph import TensorInfo, check_graph, input_shape, planes_of
from depth_core.runtime.weights_beside import refuse_missing_weights

_CPU: Final = 'CPU'
_LOOP: Final = b'Loop'
_TYPE_OF_NODE: Final = re.compile(rb'\x22(\x04|\x84\x80*\x00)\Z')
"""What stands before the type of a node in a file: field 4 of NodeProto, and four bytes long."""
_LONGEST_PREFIX: Final = 11

_PRECISIONS: Final[dict[Precision, tuple[str, str]]] = {
    'fp32': ('f32', 'FP32'),
    'bf16': ('bf16', 'BF16'),
    'fp16': ('f16', 'FP16'),
    'int8': ('f32', 'INT8'),
}
"""The hint that asks for a precision, and the capability a device must have for it. What int8
leaves in floats is computed in fp32."""

_logger = logging.getLogger(__name__)


@cache
def _core() -> openvino.Core:
    """The one core of this process, which lives as long as the process.

    A core gives the thread that first compiles with it another stack for signal handlers, and
    takes that back when it is destroyed. Two cores that end in the order in which they began
    leave a stack that is no longer mapped behind: the next Ctrl-C would be a crash.
    """
    return openvino.Core()


class OpenVinoBackend:
    """A model compiled for one device, with one inference request that is used over again."""

    def __init__(self, request: BackendRequest) -> None:
        path = cpu_graph(request.path, request.precision, request.manifest)
        self.manifest = request.manifest_of(path)
        _refuse_loops(path)
        device = _device(request.device)
        settings = _settings(device, request)
        model = self._read(path)
        folder = cache_folder(path, request.engine.cache_dir)
        try:
            compiled = _compile_kept(model, device, settings, folder)
        except RuntimeError as error:
            message = f'openvino cannot compile the graph for {device}: {reason(error)}'
            raise BackendError(message) from error
        self._outputs = self.manifest.outputs
        self._request = compiled.create_infer_request()
        self._bound: dict[str, NDArray[Any]] = {}

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        count = len(images)
        inputs = {self.manifest.input.name: images, **self.extra_inputs.usual(count)}
        return planes_of(self.manifest, self.run_named(inputs), count)

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch from all inputs."""
        try:
            for name, array in inputs.items():
                self._bind(name, array)
            self._request.infer(share_outputs=True)  # else all outputs are copied
        except RuntimeError as error:
            message = f'openvino failed while computing: {reason(error)}'
            raise BackendError(message) from error
        return {name: self._request.get_tensor(name).data for name in self._outputs}

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        """Let an input be read from `array`; only where it is another, for that takes a while."""
        bound = self._bound.get(name)
        if array is bound or (bound is not None and is_same_memory(array, bound)):
            return
        self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        self._bound[name] = array  # what is bound has to live

    def _read(self, path: Path) -> openvino.Model:
        """Read the graph, check it against its manifest, and fix its sizes."""
        try:
            model = _core().read_model(path)
        except RuntimeError as error:
            refuse_missing_weights(path)
            message = f'openvino cannot load the graph: {reason(error)}'
            raise BackendError(message) from error
        inputs = [_info(port) for port in model.inputs]
        check_graph(path, self.manifest, inputs, [_info(port) for port in model.outputs])
        self.extra_inputs = ExtraInputs(self.manifest, inputs)
        if model.is_dynamic():
            try:
                model.reshape(self._fixed_shapes())
            except RuntimeError as error:
                message = f'openvino cannot fix the size of the graph: {reason(error)}'
                raise BackendError(message) from error
        return model

    def _fixed_shapes(self) -> dict[str, list[int]]:
        """The shapes to compile for; -1 where the number of images stays free."""
        batch = self.manifest.input.batch
        _, *sizes = input_shape(self.manifest)
        fixed = {self.manifest.input.name: [batch or -1, *sizes]}
        if batch:
            for name, filled in self.extra_inputs.usual(batch).items():
                fixed[name] = list(filled.shape)
        return fixed


def _refuse_loops(path: Path) -> None:
    """Refuse a graph with a loop: this runtime cannot be stopped in one that does not end.

    Raises:
        BackendError: As said.
    """
    if path.suffix != '.onnx' or not path.stat().st_size:
        return
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = content.find(_LOOP)
        while found >= 0:
            before = content[max(found - _LONGEST_PREFIX, 0) : found]
            if _TYPE_OF_NODE.search(before):
                break
            found = content.find(_LOOP, found + 1)
    if found >= 0:
        message = (
            'the graph holds a Loop, which openvino cannot be stopped in where it does not end; '
            'use backend onnxruntime, or export the graph without it.'
        )
        raise BackendError(message)


def _device(name: str | None) -> str:
    """The device called `name`, or the CPU.

    Raises:
        BackendError: There is no such device here; the message lists those that are.
    """
    if name is None:
        return _CPU
    wanted = name.strip().upper()
    there = list(_core().available_devices)
    # A device without a number is the first of its kind.
    if wanted not in there and f'{wanted}.0' not in there:
        message = (
            f'openvino has no device {name!r} here, only {", ".join(there)}; name one of these, '
            'or install the driver of the other.'
        )
        raise BackendError(message)
    return wanted


def _settings(device: str, request: BackendRequest) -> dict[str, Any]:
    """What to compile for: the least latency, in the precision that was asked for.

    Raises:
        BackendError: The device does not compute in it.
    """
    hint, capability = _PRECISIONS[request.precision]
    capabilities = _core().get_property(device, 'OPTIMIZATION_CAPABILITIES')
    if capability not in capabilities:
        # Left to itself, OpenVINO would quietly compute in another.
        kind = 'this processor' if device == _CPU else device
        message = (
            f'{kind} does not compute in {request.precision} '
            f'(it has {", ".join(sorted(capabilities))}); ask for another precision.'
        )
        raise BackendError(message)
    settings: dict[str, Any] = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': hint,
    }
    if request.threads is not None and device == _CPU:
        settings['INFERENCE_NUM_THREADS'] = request.threads
    return settings


def _compile_kept(
    model: openvino.Model, device: str, settings: dict[str, Any], folder: Path | None
) -> openvino.CompiledModel:
    """Compile, or take what was compiled before from `folder`, where there is one."""
    if folder is not None:
        try:
            return _compile(model, device, {**settings, 'CACHE_DIR': str(folder)})
        except RuntimeError as error:  # a full disk, for instance, is no reason not to run
            _logger.info('openvino compiles without %s: %s', folder, reason(error))
    return _compile(model, device, settings)


def _compile(
    model: openvino.Model, device: str, settings: dict[str, Any]
) -> openvino.CompiledModel:
    """Compile, without fused snippets where they need more registers than the processor has."""
    try:
        return _core().compile_model(model, device, settings)
    except RuntimeError as error:
        if device != _CPU or 'snippet' not in str(error).lower():
            raise
        _logger.info('openvino compiles without snippets here: %s', reason(error))
    return _core().compile_model(model, device, {**settings, 'SNIPPETS_MODE': 'DISABLE'})


def _info(port: Any) -> TensorInfo:  # noqa: ANN401  the bindings give no type for ports
    shape = port.get_partial_shape()
    sizes = None
    if not shape.rank.is_dynamic:
        sizes = tuple(None if size.is_dynamic else size.get_length() for size in shape)
    names = port.get_names()
    kind = port.get_element_type()
    dtype = np.dtype(kind.to_dtype())
    return TensorInfo(
        name=port.get_any_name() if names else '',
        # bfloat16, and what is smaller than a byte, come in the clothes of another type.
        dtype=dtype.name if openvino.Type(dtype) == kind else kind.get_type_name(),
        shape=sizes,
    )
