# SPDX-License-Identifier: Apache-2.0
"""Running a plan: ONNX Runtime computes on the fake GPU's memory, when its stream comes to it.

Environment variables make it fail:

    FAKE_TENSORRT_BROKEN       a factor on every floating output: an engine that miscomputes
    FAKE_TENSORRT_CUDA         CUDA that it was built for, 12000 unless said; a driver that knows
                               only an older one leaves a runtime that ends the process
    FAKE_TENSORRT_RUN          `no_engine`, `no_context` or `no_enqueue` fails there for memory
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from test.fakes.driver_errors import GpuError, NoDriverError
from test.fakes.gpu import ALIGNMENT, GPU
from test.fakes.trt.builder import read_plan
from test.fakes.trt.nouns import Dims, HostMemory, ILogger, check_logger, complain, plain_ints

DATA_DEPENDENT = {'NonZero', 'NonMaxSuppression', 'Compress'}
NUMPY_TYPES = {
    'FLOAT': 'float32',
    'HALF': 'float16',
    'INT8': 'int8',
    'INT32': 'int32',
    'INT64': 'int64',
    'UINT8': 'uint8',
    'BOOL': 'bool',
}


class SegmentationFaultError(BaseException):
    """Where the real library takes the process down."""


class Runtime:
    api: Any
    _dead = False

    def __init__(self, logger: ILogger) -> None:
        self._logger = check_logger(logger)
        wanted = int(os.environ.get('FAKE_TENSORRT_CUDA', '12000'))
        try:
            GPU.init()
            self._dead = GPU.driver_version < wanted
        except (NoDriverError, GpuError):
            self._dead = True
        if self._dead and self.api.flavour == 'tensorrt':
            complain(logger, 'CUDA initialization failure with error: 35')

    def __del__(self) -> None:
        if self._dead and self.api.flavour == 'tensorrt':
            GPU.crashed = True  # where the real one takes the process down

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        if self._dead:
            if self.api.flavour == 'tensorrt':
                message = 'a Runtime made without a driver was used'
                raise SegmentationFaultError(message)
            return None
        plan = read_plan(bytes(serialized_engine))
        problem = self._problem(plan)
        if plan is None or problem is not None:
            complain(self._logger, str(problem))
            return None
        memory = GPU.reserve(len(plan[1]))
        if memory is None or os.environ.get('FAKE_TENSORRT_RUN') == 'no_engine':
            complain(self._logger, 'Error Code 2: OutOfMemory (Requested size was 4096 bytes.)')
            return None
        return self.api.ICudaEngine(self._logger, plan, bytes(serialized_engine), memory)

    def _problem(self, plan: tuple[dict[str, Any], bytes] | None) -> str | None:
        if plan is None:
            return (
                'Error Code 1: Serialization (Serialization assertion stdVersionRead == '
                'kSERIALIZATION_VERSION failed.Version tag does not match.)'
            )
        header, _ = plan
        if (header['version'], header['flavour']) != (self.api.version, self.api.flavour):
            return (
                'Error Code 6: API Usage Error (The engine plan file is not compatible with this '
                f'version of TensorRT, expecting library version {self.api.version} got '
                f'{header["version"]}, please rebuild.)'
            )
        major, minor = GPU.compute_capability
        if f'SM{major}{minor}' not in header['targets'] and 'CURRENT' not in header['targets']:
            return (
                'Error Code 6: API Usage Error (The engine plan file is generated on an '
                f'incompatible device, expecting compute {major}.{minor} got compute '
                f'{" ".join(header["targets"])}, please rebuild.)'
            )
        return None


class ICudaEngine:
    api: Any

    def __init__(
        self, logger: ILogger, plan: tuple[dict[str, Any], bytes], content: bytes, memory: int
    ) -> None:
        header, model = plan
        self._logger, self._content, self._memory = logger, content, memory
        self._profiles = header['profiles']
        self._model = onnx.load_from_string(model)
        graph = self._model.graph
        self._inputs = {item.name: self.api.ITensor(item) for item in graph.input}
        self._outputs = {item.name: self.api.ITensor(item) for item in graph.output}
        self._tensors = {**self._inputs, **self._outputs}
        self._data_dependent = any(node.op_type in DATA_DEPENDENT for node in graph.node)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider']
        )
        self.num_optimization_profiles = max(1, len(self._profiles))
        self.num_layers = len(graph.node)
        self.name = graph.name
        self.refittable = False

    def __del__(self) -> None:
        GPU.release(self._memory)

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    @property
    def num_bindings(self) -> int:
        return len(self._tensors)

    @property
    def device_memory_size(self) -> int:
        return 1 << 20

    @property
    def device_memory_size_v2(self) -> int:
        return 1 << 20

    def get_tensor_name(self, index: int) -> str:
        names: list[str] = list(self._tensors)
        return names[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.api.TensorIOMode
        if name in self._inputs:
            return modes.INPUT
        return modes.OUTPUT if name in self._outputs else modes.NONE

    def get_tensor_dtype(self, name: str) -> Any:
        return self._tensors[name].dtype

    def get_tensor_shape(self, name: str) -> Dims:
        return self._tensors[name].shape if name in self._tensors else Dims([-1])

    def get_tensor_location(self, name: str) -> Any:
        assert name in self._tensors
        return self.api.TensorLocation.DEVICE

    def is_shape_inference_io(self, name: str) -> bool:
        assert name in self._tensors
        return False

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        if name not in self._inputs:
            return [Dims([-1])] * 3
        if not self._profiles or name not in self._profiles[profile_index]:
            return [self._tensors[name].shape] * 3
        return [Dims(shape) for shape in self._profiles[profile_index][name]]

    def serialize(self) -> HostMemory:
        return HostMemory(self._content)

    def create_execution_context(self) -> Any:
        memory = GPU.reserve(1 << 20)
        if memory is None or os.environ.get('FAKE_TENSORRT_RUN') == 'no_context':
            complain(self._logger, 'Error Code 2: OutOfMemory (Requested size was 1048576 bytes.)')
            return None
        return self.api.IExecutionContext(self, memory)


class IExecutionContext:
    api: Any

    def __init__(self, engine: Any, memory: int) -> None:
        self._engine, self._memory = engine, memory
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._output_shapes: dict[tuple[Any, ...], dict[str, tuple[int, ...]]] = {}
        self._warm = False
        """Whether something was enqueued since shapes or addresses changed."""

    def __del__(self) -> None:
        GPU.release(self._memory)

    def _complain(self, text: str) -> bool:
        complain(
            self._engine._logger, f'IExecutionContext: Error Code 3: API Usage Error ({text})'
        )
        return False

    def set_input_shape(self, name: str, shape: Any) -> bool:
        sizes = plain_ints(shape)
        if name not in self._engine._inputs:
            return self._complain(f'Given invalid tensor name: {name}.')
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        fits = len(sizes) == len(low) and all(
            a <= b <= c for a, b, c in zip(low, sizes, high, strict=True)
        )
        if not fits:
            return self._complain(
                f'Static dimension mismatch or out of profile: {name} {list(sizes)} is not in '
                f'[{list(low)}, {list(high)}].'
            )
        self._shapes[name] = sizes
        self._warm = False
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors:
            return self._complain(f'Given invalid tensor name: {name}.')
        if type(memory) is not int:
            message = 'set_tensor_address(): incompatible function arguments.'
            raise TypeError(message)
        self._addresses[name] = memory
        self._warm = False
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if -1 in self._input_shape(name)]

    def _input_shape(self, name: str) -> tuple[int, ...]:
        fixed = tuple(self._engine._inputs[name].shape)
        return self._shapes.get(name, fixed) if -1 in fixed else fixed

    def get_tensor_shape(self, name: str) -> Dims:
        engine = self._engine
        if name in engine._inputs:
            return Dims(self._input_shape(name))
        fixed = tuple(engine._outputs[name].shape)
        if -1 not in fixed or self.infer_shapes() or engine._data_dependent:
            return Dims(fixed)
        shapes = tuple(self._input_shape(item) for item in engine._inputs)
        if shapes not in self._output_shapes:
            zeros = {
                item: np.zeros(self._input_shape(item), self._dtype(item))
                for item in engine._inputs
            }
            answers = engine._session.run(list(engine._outputs), zeros)
            named = zip(engine._outputs, (answer.shape for answer in answers), strict=True)
            self._output_shapes[shapes] = dict(named)
        return Dims(self._output_shapes[shapes][name])

    def _dtype(self, name: str) -> np.dtype[Any]:
        """Of the graph, which is not that of the binding for int64 on TensorRT 8."""
        graph = self._engine._model.graph
        (info,) = (item for item in (*graph.input, *graph.output) if item.name == name)
        return np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))

    def execute_async_v3(self, stream_handle: int) -> bool:
        if type(stream_handle) is not int:
            message = 'execute_async_v3(): incompatible function arguments.'
            raise TypeError(message)
        problem = self._problem(stream_handle)
        if problem is not None:
            return self._complain(problem)
        engine = self._engine
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in engine._tensors}
        addresses = dict(self._addresses)
        GPU.enqueue(stream_handle, lambda: self._compute(shapes, addresses))
        self._warm = True
        return True

    def _problem(self, stream: int) -> str | None:
        """Why nothing can be enqueued, in the words of TensorRT; None when it can."""
        unset = self.infer_shapes()
        missing = [name for name in self._engine._tensors if not self._addresses.get(name)]
        try:
            GPU.require_context()
            recording = GPU.stream(stream).recorded is not None
        except GpuError as error:
            return f'Cuda failure: {error.text}'
        unaligned = any(address % ALIGNMENT for address in self._addresses.values())
        exhausted = os.environ.get('FAKE_TENSORRT_RUN') == 'no_enqueue'
        if recording and not self._warm:
            GPU.stream(stream).capture_failed = True
        found = (
            (unset, f'Input dimensions of {", ".join(unset)} are not specified.'),
            (missing, f'Neither address or allocator is set for {", ".join(missing)}.'),
            (unaligned, 'a tensor address is not aligned to 256 bytes.'),
            (
                recording and not self._warm,
                'Cuda failure: operation not permitted when stream is capturing',
            ),
            (exhausted, 'Error Code 2: OutOfMemory (Requested size was 512 bytes.)'),
        )
        return next((text for wrong, text in found if wrong), None)

    def _compute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        engine = self._engine
        feed = {}
        for name in engine._inputs:
            kind = np.dtype(NUMPY_TYPES[engine._tensors[name].dtype.name])
            size = int(np.prod(shapes[name])) * kind.itemsize
            content = GPU.view(addresses[name], size).view(kind).reshape(shapes[name])
            feed[name] = content.astype(self._dtype(name))
        factor = float(os.environ.get('FAKE_TENSORRT_BROKEN', '1'))
        answers = engine._session.run(list(engine._outputs), feed)
        for name, answer in zip(engine._outputs, answers, strict=True):
            kind = np.dtype(NUMPY_TYPES[engine._tensors[name].dtype.name])
            if kind.kind == 'f' and factor != 1.0:
                answer = answer * np.float32(factor)  # noqa: PLW2901  the broken answer
            given = np.ascontiguousarray(answer.astype(kind, copy=False))
            GPU.view(addresses[name], given.nbytes)[:] = given.reshape(-1).view(np.uint8)
