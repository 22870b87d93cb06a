# SPDX-License-Identifier: Apache-2.0
"""A GPU reached through PyCUDA, with the primary context.

`pycuda.autoinit` is never imported: it makes a context of its own, current on the one thread that
imported it, in which the memory of TensorRT is not to be found. PyCUDA has no calls to record
graphs; cuda-bindings has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

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
    OutOfDeviceMemoryError,
    PinnedMemory,
    Stream,
    check_count,
    check_driver,
    version_of,
)
from depth_core.runtime.engine.driver_device import DriverDevice

_PACKAGE: Final = 'pycuda'

_NON_BLOCKING: Final = 1
"""CU_STREAM_NON_BLOCKING of the driver, for which PyCUDA has no name."""


class PyCudaDevice(DriverDevice):
    """One GPU; see `device.Device`."""

    records_graphs = False
    # Never given up: PyCUDA would leave the context current on the thread that does.
    _contexts: ClassVar[dict[int, Any]] = {}

    def __init__(self, index: int) -> None:
        version = version_of(cuda.get_driver_version())
        check_driver(version, package=_PACKAGE, built_for=cuda.get_version()[:2])
        check_count(_count(), index)
        try:
            device = self._device = cuda.Device(index)
            info = DeviceInfo(
                index=index,
                name=device.name(),
                compute_capability=tuple(device.compute_capability()),
                identity=device.pci_bus_id().lower(),
                multiprocessors=device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT),
                memory_bytes=device.total_memory(),
                integrated=bool(device.get_attribute(cuda.device_attribute.INTEGRATED)),
                cuda=version,
            )
        except cuda.Error as error:
            message = f'GPU {index} cannot be used: {error}.'
            raise BackendError(message) from error
        super().__init__(info)

    def _retain(self) -> Any:  # noqa: ANN401  PyCUDA has no types
        return _call('be used', self._device.retain_primary_context)

    def _push(self, context: Any) -> None:  # noqa: ANN401  as above
        _call('be made current', context.push)

    def _pop(self) -> None:
        with suppress(cuda.Error):
            cuda.Context.pop()

    def free_bytes(self) -> int:
        """Memory that is left."""
        free, _ = _call('ask for the memory that is left', cuda.mem_get_info)
        return int(free)

    def _allocate(self, size: int) -> DeviceMemory:
        block = _call('allocate memory', cuda.mem_alloc, size)
        return DeviceMemory(int(block), size, lambda: _call('free memory', block.free))

    def _allocate_pinned(self, size: int) -> PinnedMemory:
        array = _call('allocate pinned memory', cuda.pagelocked_empty, size, np.uint8)
        return PinnedMemory(array, lambda: _call('free pinned memory', array.base.free))

    def create_stream(self) -> Stream:
        """Make a stream."""
        own = _call('make a stream', cuda.Stream, _NON_BLOCKING)
        return Stream(own.handle, None, own)  # PyCUDA ends what nothing refers to

    def create_event(self) -> Event:
        """Make an event."""
        return Event(None, _call('make an event', cuda.Event))

    def upload(self, address: int, host: Uint8Array, stream: Stream) -> None:
        """Copy to the device."""
        _call('copy to the GPU', cuda.memcpy_htod_async, address, host, stream.own)

    def download(self, host: Uint8Array, address: int, stream: Stream) -> None:
        """Copy from the device."""
        _call('copy from the GPU', cuda.memcpy_dtoh_async, host, address, stream.own)

    def synchronise(self, stream: Stream) -> None:
        """Wait for the stream."""
        _call('finish its work', stream.own.synchronize)

    def mark(self, event: Event, stream: Stream) -> None:
        """Have the stream note the time."""
        _call('mark a moment', event.own.record, stream.own)

    def seconds_between(self, earlier: Event, later: Event) -> float:
        """Time between two events."""
        return 1e-3 * float(_call('measure time', later.own.time_since, earlier.own))

    def load_kernel(self, cubin: bytes, name: str, arguments: Sequence[ArgumentType]) -> Kernel:
        """Load a function of a cubin."""
        module = _call('load a kernel', cuda.module_from_buffer, cubin)
        function = _call('load a kernel', module.get_function, name)
        function.prepare(''.join(arguments))
        return Kernel(None, (module, function))

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        arguments: Sequence[float],
        stream: Stream,
    ) -> None:
        """Run a kernel."""
        _, function = kernel.own
        _call(
            'run a kernel', function.prepared_async_call, grid, (*block, 1), stream.own, *arguments
        )

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
        message = f'the GPU cannot {what}: {error}.'
        if isinstance(error, cuda.MemoryError):
            raise OutOfDeviceMemoryError(message) from error
        raise BackendError(message) from error
