# SPDX-License-Identifier: Apache-2.0
"""An engine made ready: deserialised, with memory for its tensors, handed to a stream.

TensorRT raises nothing: each call answers None or False when it failed. All of this happens with
the device's context current, and is guarded by whoever owns it: one thread at a time.
"""

from __future__ import annotations

import ctypes
import logging
import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.engine.api import (
    OUT_OF_MEMORY,
    ICudaEngine,
    IExecutionContext,
    Runtime,
    TensorRt,
)
from depth_core.runtime.engine.device import (
    Device,
    DeviceMemory,
    Graph,
    OutOfDeviceMemoryError,
    Stream,
)
from depth_core.runtime.engine.tensors import (
    EngineTensor,
    check_tensors,
    graph_inputs,
    largest_batch,
    read_tensors,
)
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.runtime.graph import input_shape

_logger = logging.getLogger(__name__)


class PlanRefusedError(BackendError):
    """TensorRT does not take this plan, whatever memory is left: another one has to be built."""


@dataclass
class _Loaded:
    """What lives in TensorRT; each needs the one before it."""

    runtime: Runtime
    engine: ICudaEngine
    context: IExecutionContext

    def drop(self) -> None:
        """Let TensorRT destroy them, the last one first."""
        self.context = None
        self.engine = None
        self.runtime = None


class Execution:
    """One engine, one context, one stream, and the memory of every tensor.

    Addresses are set once, shapes only when the number of images changes.
    """

    def __init__(
        self,
        trt: TensorRt,
        plan: bytes,
        device: Device,
        manifest: Manifest,
        *,
        path: Path,
        cuda_graph: bool,
        owner: ExitStack,
    ) -> None:
        """Make the engine ready.

        Args:
            trt: The TensorRT that built the plan.
            plan: The serialised engine.
            device: Where it runs.
            manifest: What it takes and gives.
            path: Of the model, for messages.
            cuda_graph: Record the work and replay it.
            owner: Gets everything that has to be given back.

        Raises:
            PlanRefusedError: TensorRT refuses the plan.
            BackendError: Memory is lacking, or the driver fails.
            ModelError: The engine is not what the manifest describes.
        """
        self._trt, self._device, self._manifest = trt, device, manifest
        self.stream: Stream = device.create_stream()
        owner.callback(self.stream.free)
        self._loaded = self._load(plan)
        owner.callback(self._loaded.drop)
        tensors = read_tensors(trt, self._loaded.engine)
        check_tensors(path, manifest, tensors)
        self.tensors = {tensor.name: tensor for tensor in tensors}
        """Inputs and outputs by name."""
        self.input: EngineTensor = self.tensors[manifest.input.name]
        self.extra_inputs = ExtraInputs(manifest, graph_inputs(manifest, tensors))
        """What fills the inputs beside the image."""
        self.largest_batch = largest_batch(self._loaded.engine, self.input)
        self._images = 0
        """For how many the shapes are set."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Of each tensor, for that number of images."""
        self._warm = False
        self._graph: Graph | None = None
        self._record = cuda_graph and self._may_record()
        owner.callback(self._drop_graph)
        self.memory = self._allocate(owner)
        """Of each tensor, for the largest batch."""

    def _load(self, plan: bytes) -> _Loaded:
        runtime = open_runtime(self._trt, self._device.info.cuda)
        engine: ICudaEngine = load_engine(self._trt, runtime, plan)
        context = self._required(engine.create_execution_context(), 'prepare the engine to run')
        return _Loaded(runtime, engine, context)

    def _may_record(self) -> bool:
        if not self._device.records_graphs:
            _logger.warning(
                'cuda_graph is asked for, and pycuda cannot record: each inference is launched '
                'anew. cuda-bindings can; install it in place of pycuda.'
            )
        return self._device.records_graphs

    def _allocate(self, owner: ExitStack) -> dict[str, DeviceMemory]:
        """Get memory for the largest batch, and tell the engine where it is."""
        self._set_images(self.largest_batch)
        memory = {}
        for name, tensor in self.tensors.items():
            block = self._device.allocate(
                max(math.prod(self.shapes[name]) * tensor.dtype.itemsize, 1)
            )
            owner.callback(block.free)
            memory[name] = block
            self._required(
                self._loaded.context.set_tensor_address(name, block.address),
                f'take the address of {name!r}',
            )
        return memory

    def _set_images(self, images: int) -> None:
        """Set the shapes for a number of images."""
        if images == self._images:
            return
        self._images = 0
        self._warm = False
        self._drop_graph()
        context = self._loaded.context
        if self.input.is_free:
            shape = input_shape(self._manifest, images)
            self._required(
                context.set_input_shape(self.input.name, shape), f'take {images} images at once'
            )
        for name, filled in self.extra_inputs.usual(images).items():
            if self.tensors[name].is_free:
                accepted = context.set_input_shape(name, filled.shape)
                self._required(accepted, f'take {name!r} of shape {list(filled.shape)}')
        unset = context.infer_shapes()
        if unset:
            message = f'the engine has inputs of unknown shape: {", ".join(unset)}.'
            raise BackendError(message)
        self.shapes = {
            name: tuple(int(size) for size in context.get_tensor_shape(name))
            for name in self.tensors
        }
        unknown = [name for name, shape in self.shapes.items() if min(shape, default=0) < 0]
        if unknown:
            message = (
                f'the shape of {", ".join(map(repr, unknown))} depends on what is in the image; '
                'a depth graph gives a plane of a size that is known before.'
            )
            raise BackendError(message)
        self._images = images

    def enqueue(self, images: int) -> None:
        """Hand the work for a number of images to the stream.

        Raises:
            BackendError: TensorRT or the driver refuses.
        """
        self._set_images(images)
        if self._record and self._warm and self._graph is None:
            # Whatever the first run after a change prepares cannot be recorded.
            try:
                self._graph = self._device.record(self.stream, self._launch)
            except BackendError as error:
                _logger.warning('the work of the engine cannot be recorded: %s', error)
                self._record = False
        if self._graph is not None:
            self._device.replay(self._graph, self.stream)
        else:
            self._launch()
        self._warm = True

    def _launch(self) -> None:
        self._trt.clear_errors()
        started = self._loaded.context.execute_async_v3(self.stream.handle)
        self._required(started, 'run the engine')

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.free()

    def _required(self, answer: Any, what: str) -> Any:  # noqa: ANN401  whatever TensorRT answers
        return _required(self._trt, answer, what)


def load_engine(trt: TensorRt, runtime: Runtime, plan: bytes) -> ICudaEngine:
    """Deserialise a plan, with the device's context current.

    Raises:
        PlanRefusedError: TensorRT refuses it.
        OutOfDeviceMemoryError: Memory is lacking.
    """
    trt.clear_errors()
    engine: ICudaEngine = runtime.deserialize_cuda_engine(plan)
    try:
        _required(trt, engine, 'load the engine')
    except OutOfDeviceMemoryError:
        raise
    except BackendError as error:
        raise PlanRefusedError(str(error)) from error
    return engine


def _required(trt: TensorRt, answer: Any, what: str) -> Any:  # noqa: ANN401  whatever TensorRT answers
    try:
        return trt.required(answer, what)
    except BackendError as error:
        if not OUT_OF_MEMORY.search(str(error)):
            raise
        message = (
            f'out of memory: {error} End other programs that use the GPU, or take a smaller '
            'model or fewer images at once.'
        )
        raise OutOfDeviceMemoryError(message) from error


def open_runtime(trt: TensorRt, cuda: tuple[int, int]) -> Runtime:
    """Open TensorRT's runtime, which may be unusable: with a driver older than it wants.

    Args:
        trt: The TensorRT whose plans it is to load, plugins and all.
        cuda: Newest CUDA that the driver knows.

    Raises:
        BackendError: It is unusable.
    """
    wanted = trt.cuda_major
    if wanted is not None and cuda[0] < wanted:
        message = (
            f'{trt} was built for CUDA {wanted}, and the driver knows CUDA up to '
            f'{cuda[0]}.{cuda[1]}; update the driver, or install {trt.flavour}-cu{cuda[0]}.'
        )
        raise BackendError(message)
    trt.clear_errors()
    trt.register_plugins()
    trt.clear_errors()
    try:
        runtime: Runtime = trt.module.Runtime(trt.logger)
    except TypeError as error:  # the library gave nothing
        message = f'{trt} does not start: {trt.first_error() or error}; update the driver.'
        raise BackendError(message) from error
    complaint = trt.first_error(own=True)
    if complaint:
        # Whatever is asked of it ends the process, deleting it too: it is kept for good.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))
        message = f'{trt} does not start: {complaint}; update the driver.'
        raise BackendError(message)
    return runtime
