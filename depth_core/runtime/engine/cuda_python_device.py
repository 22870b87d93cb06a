# SPDX-License-Identifier: Apache-2.0
"""A GPU reached through cuda-python (package cuda-bindings), with the primary context.

Only `cuda.bindings.driver` is used, whose functions are those of the driver's C interface: each
answers a status first, and none raises.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from cuda.bindings import driver as cuda

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
    no_driver,
    version_of,
)
from depth_core.runtime.engine.driver_device import DriverDevice

_PACKAGE: Final = 'cuda-bindings'
_LONGEST_NAME: Final = 256
_C_TYPES: Final = {'P': ctypes.c_void_p, 'i': ctypes.c_int, 'f': ctypes.c_float}


class CudaPythonDevice(DriverDevice):
    """One GPU; see `device.Device`."""

    records_graphs = True
    _contexts: ClassVar[dict[int, Any]] = {}

    def __init__(self, index: int) -> None:
        count, version = _probe()
        check_count(count, index)
        self._device = _call('be opened', cuda.cuDeviceGet, index)
        super().__init__(_describe(index, self._device, version))

    def _retain(self) -> Any:  # noqa: ANN401  the handles have no types
        return _call('be used', cuda.cuDevicePrimaryCtxRetain, self._device)

    def _push(self, context: Any) -> None:  # noqa: ANN401  as above
        _call('be made current', cuda.cuCtxPushCurrent, context)

    def _pop(self) -> None:
        cuda.cuCtxPopCurrent()

    def free_bytes(self) -> int:
        """Memory that is left."""
        status, free, _ = cuda.cuMemGetInfo()
        _check('ask for the memory that is left', status)
        return int(free)

    def _allocate(self, size: int) -> DeviceMemory:
        block = _call('allocate memory', cuda.cuMemAlloc, size)
        return DeviceMemory(int(block), size, lambda: _call('free memory', cuda.cuMemFree, block))

    def _allocate_pinned(self, size: int) -> PinnedMemory:
        address = _call('allocate pinned memory', cuda.cuMemHostAlloc, size, 0)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        return PinnedMemory(
            array, lambda: _call('free pinned memory', cuda.cuMemFreeHost, address)
        )

    def create_stream(self) -> Stream:
        """Make a stream."""
        flags = cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        own = _call('make a stream', cuda.cuStreamCreate, flags)
        return Stream(int(own), lambda: _call('end a stream', cuda.cuStreamDestroy, own), own)

    def create_event(self) -> Event:
        """Make an event."""
        flags = cuda.CUevent_flags.CU_EVENT_DEFAULT
        own = _call('make an event', cuda.cuEventCreate, flags)
        return Event(lambda: _call('end an event', cuda.cuEventDestroy, own), own)

    def upload(self, address: int, host: Uint8Array, stream: Stream) -> None:
        """Copy to the device."""
        copy, source = cuda.cuMemcpyHtoDAsync, host.ctypes.data
        _call('copy to the GPU', copy, address, source, host.nbytes, stream.own)

    def download(self, host: Uint8Array, address: int, stream: Stream) -> None:
        """Copy from the device."""
        copy, target = cuda.cuMemcpyDtoHAsync, host.ctypes.data
        _call('copy from the GPU', copy, target, address, host.nbytes, stream.own)

    def synchronise(self, stream: Stream) -> None:
        """Wait for the stream."""
        _call('finish its work', cuda.cuStreamSynchronize, stream.own)

    def mark(self, event: Event, stream: Stream) -> None:
        """Have the stream note the time."""
        _call('mark a moment', cuda.cuEventRecord, event.own, stream.own)

    def seconds_between(self, earlier: Event, later: Event) -> float:
        """Time between two events."""
        elapsed = _call('measure time', cuda.cuEventElapsedTime, earlier.own, later.own)
        return 1e-3 * float(elapsed)

    def load_kernel(self, cubin: bytes, name: str, arguments: Sequence[ArgumentType]) -> Kernel:
        """Load a function of a cubin."""
        module = _call('load a kernel', cuda.cuModuleLoadData, cubin)
        try:
            own = _call('load a kernel', cuda.cuModuleGetFunction, module, name.encode())
        except BackendError:
            cuda.cuModuleUnload(module)
            raise
        types = tuple(_C_TYPES[letter] for letter in arguments)
        return Kernel(lambda: _call('unload a kernel', cuda.cuModuleUnload, module), (own, types))

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        arguments: Sequence[float],
        stream: Stream,
    ) -> None:
        """Run a kernel."""
        function, types = kernel.own
        parameters = (tuple(arguments), types)
        where = (*grid, 1, *block, 1)
        launch = cuda.cuLaunchKernel
        _call('run a kernel', launch, function, *where, 0, stream.own, parameters, 0)

    def record(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` hands to the stream."""
        # In any other mode it would fail where memory is freed meanwhile: by another thread, or by
        # a collection of Python's on this one, which ends an engine that nothing refers to.
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        _call('begin to record', cuda.cuStreamBeginCapture, stream.own, mode)
        try:
            work()
        except BaseException:
            _, unfinished = cuda.cuStreamEndCapture(stream.own)
            if unfinished is not None and int(unfinished):
                cuda.cuGraphDestroy(unfinished)
            raise
        recorded = _call('record its work', cuda.cuStreamEndCapture, stream.own)
        try:
            own = _call('prepare recorded work', cuda.cuGraphInstantiate, recorded, 0)
        finally:
            cuda.cuGraphDestroy(recorded)
        return Graph(lambda: _call('end a graph', cuda.cuGraphExecDestroy, own), own)

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Hand recorded work to the stream."""
        _call('repeat recorded work', cuda.cuGraphLaunch, graph.own, stream.own)


def _probe() -> tuple[int, tuple[int, int]]:
    """How many GPUs there are, and the newest CUDA that the driver knows."""
    try:
        (status,) = cuda.cuInit(0)
        answer, number = cuda.cuDriverGetVersion()
    except RuntimeError as error:  # the library of the driver is not found
        raise no_driver(str(error).splitlines()[0]) from error
    _check('tell its version', answer)
    version = version_of(int(number))
    check_driver(version, package=_PACKAGE, built_for=version_of(cuda.CUDA_VERSION))
    if status == cuda.CUresult.CUDA_ERROR_NO_DEVICE:
        return 0, version
    _check('be started', status)
    return int(_call('be counted', cuda.cuDeviceGetCount)), version


def _describe(index: int, device: Any, version: tuple[int, int]) -> DeviceInfo:  # noqa: ANN401  as above
    def attribute(name: str) -> int:
        which = getattr(cuda.CUdevice_attribute, f'CU_DEVICE_ATTRIBUTE_{name}')
        return int(_call('tell what it is', cuda.cuDeviceGetAttribute, which, device))

    name = _call('tell its name', cuda.cuDeviceGetName, _LONGEST_NAME, device)
    place = _call('tell where it is', cuda.cuDeviceGetPCIBusId, _LONGEST_NAME, device)
    return DeviceInfo(
        index=index,
        name=_text(name),
        compute_capability=(
            attribute('COMPUTE_CAPABILITY_MAJOR'),
            attribute('COMPUTE_CAPABILITY_MINOR'),
        ),
        identity=_text(place).lower(),
        multiprocessors=attribute('MULTIPROCESSOR_COUNT'),
        memory_bytes=int(_call('tell its memory', cuda.cuDeviceTotalMem, device)),
        integrated=bool(attribute('INTEGRATED')),
        cuda=version,
    )


def _text(characters: bytes) -> str:
    return characters.partition(b'\0')[0].decode(errors='replace')


def _call(what: str, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  as above
    """Call a function of the driver, and return what it answers besides its status."""
    status, *answer = function(*arguments)
    _check(what, status)
    return answer[0] if answer else None


def _check(what: str, status: Any) -> None:  # noqa: ANN401  as above
    if status == cuda.CUresult.CUDA_SUCCESS:
        return
    _, text = cuda.cuGetErrorString(status)
    reason = text.decode() if text else status.name
    message = f'the GPU cannot {what}: {reason}.'
    if status == cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise OutOfDeviceMemoryError(message)
    raise BackendError(message)
