# SPDX-License-Identifier: Apache-2.0
"""A GPU reached through PyCUDA, with the primary context.

`pycuda.autoinit` is never imported: it makes a context of its own, current on the one thread that
imported it, in which the memory of TensorRT is not to be found. PyCUDA has no calls to record
graphs; cuda-bindings has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import numpy as np
import pycuda.driver as cuda

from depth_core.contracts import Uint8Array
from depth_core.errors import BackendError
from depth_core.runtime.engine.device import (
    ArgumentType,
    DeviceInfo,
    DeviceMemory,
    Event,
    Graph,
    Kernel,
    PinnedMemory,
    Stream,
    check_count,
    check_driver,
    out_of_memory,
    version_of,
)

_PACKAGE: Final = 'pycuda'

_NON_BLOCKING: Final = 1
"""CU_STREAM_NON_BLOCKING of the driver, for which PyCUDA has no name."""

_contexts: Final[dict[int, Any]] = {}
"""By index, for as long as the process lives, as the CUDA runtime keeps them: PyCUDA leaves the
context current on the thread that gives it up."""


class PyCudaDevice:
    """One GPU; see `device.Device`."""

    records_graphs = False

    def __init__(self, index: int) -> None:
        version = version_of(cuda.get_driver_version())
        check_driver(version, package=_PACKAGE, built_for=cuda.get_version()[:2])
        check_count(_count(), index)
        try:
            device = cuda.Device(index)
            self.info = DeviceInfo(
                index=index,
                name=device.name(),
                compute_capability=tuple(device.compute_capability()),
                identity=device.pci_bus_id(),
                multiprocessors=device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT),
                memory_bytes=device.total_memory(),
                integrated=bool(device.get_attribute(cuda.device_attribute.INTEGRATED)),
                cuda=version,
            )
            if index not in _contexts:
                _contexts[index] = device.retain_primary_context()
        except cuda.Error as error:
            message = f'GPU {index} cannot be used: {error}.'
            raise BackendError(message) from error
        self._context = _contexts[index]

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread."""
        try:
            self._context.push()
        except cuda.Error as error:
            _refuse('make the GPU current', error)
        try:
            yield
        finally:
            self._context.pop()

    def free_bytes(self) -> int:
        """Memory that is left."""
        free, _ = _call('ask for the memory that is left', cuda.mem_get_info)
        return int(free)

    def allocate(self, size: int) -> DeviceMemory:
        """Get memory of the device."""
        try:
            block = cuda.mem_alloc(size)
        except cuda.MemoryError as error:
            raise out_of_memory(size, self.free_bytes()) from error
        except cuda.Error as error:
            _refuse('allocate memory', error)
        return DeviceMemory(int(block), size, lambda: _call('free memory', block.free))

    def allocate_pinned(self, size: int) -> PinnedMemory:
        """Get pinned memory of the processor."""
        try:
            array = cuda.pagelocked_empty(size, np.uint8)
        except cuda.MemoryError as error:
            raise out_of_memory(size, None) from error
        except cuda.Error as error:
            _refuse('allocate pinned memory', error)
        return PinnedMemory(array, lambda: _call('free pinned memory', array.base.free))

    def create_stream(self) -> Stream:
        """Make a stream."""
        stream = _call('make a stream', cuda.Stream, _NON_BLOCKING)
        return _PyCudaStream(stream)

    def create_event(self) -> Event:
        """Make an event."""
        return _PyCudaEvent(_call('make an event', cuda.Event))

    def upload(self, address: int, host: Uint8Array, stream: Stream) -> None:
        """Copy to the device."""
        _call('copy to the GPU', cuda.memcpy_htod_async, address, host, _own(stream))

    def download(self, host: Uint8Array, address: int, stream: Stream) -> None:
        """Copy from the device."""
        _call('copy from the GPU', cuda.memcpy_dtoh_async, host, address, _own(stream))

    def synchronise(self, stream: Stream) -> None:
        """Wait for the stream."""
        _call('finish its work', _own(stream).synchronize)

    def mark(self, event: Event, stream: Stream) -> None:
        """Have the stream note the time."""
        _call('mark a moment', _own(event).record, _own(stream))

    def seconds_between(self, earlier: Event, later: Event) -> float:
        """Time between two events."""
        return 1e-3 * float(_call('measure time', _own(later).time_since, _own(earlier)))

    def load_kernel(self, cubin: bytes, name: str, arguments: Sequence[ArgumentType]) -> Kernel:
        """Load a function of a cubin."""
        module = _call('load a kernel', cuda.module_from_buffer, cubin)
        function = _call('load a kernel', module.get_function, name)
        function.prepare(''.join(arguments))
        return _PyCudaKernel(module, function)

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        arguments: Sequence[float],
        stream: Stream,
    ) -> None:
        """Run a kernel."""
        call = _own(kernel).prepared_async_call
        _call('run a kernel', call, grid, (*block, 1), _own(stream), *arguments)

    def record(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Refuse: there are no calls for it."""
        del stream, work
        message = 'pycuda records no CUDA graphs; install cuda-bindings in place of pycuda.'
        raise BackendError(message)

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Refuse, as `record` does."""
        del graph, stream
        message = 'pycuda replays no CUDA graphs; install cuda-bindings in place of pycuda.'
        raise BackendError(message)


class _Owner:
    """Keeps an object of PyCUDA, which the package destroys when nothing refers to it."""

    own: Any

    def forget(self) -> None:
        self.own = None


class _PyCudaStream(Stream, _Owner):
    def __init__(self, own: Any) -> None:  # noqa: ANN401  PyCUDA has no types
        super().__init__(own.handle, self.forget)
        self.own = own


class _PyCudaEvent(Event, _Owner):
    def __init__(self, own: Any) -> None:  # noqa: ANN401  as above
        super().__init__(self.forget)
        self.own = own


class _PyCudaKernel(Kernel, _Owner):
    def __init__(self, module: Any, function: Any) -> None:  # noqa: ANN401  as above
        super().__init__(self.forget)
        self.own = function
        self.module: Any = module

    def forget(self) -> None:
        self.own = self.module = None


def _own(resource: object) -> Any:  # noqa: ANN401  as above
    """The object of PyCUDA behind a resource of this module."""
    return resource.own  # type: ignore[attr-defined]  # nothing else is handed to this device


def _count() -> int:
    try:
        cuda.init()
        return int(cuda.Device.count())
    except cuda.Error as error:
        if 'no CUDA-capable device' in str(error):
            return 0
        message = f'the NVIDIA driver does not start: {error}; look at nvidia-smi.'
        raise BackendError(message) from error


def _call(what: str, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  as above
    try:
        return function(*arguments)
    except cuda.Error as error:
        _refuse(what, error)


def _refuse(what: str, error: Exception) -> NoReturn:
    message = f'the GPU cannot {what}: {error}.'
    raise BackendError(message) from error
