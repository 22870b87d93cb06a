# SPDX-License-Identifier: Apache-2.0
"""A GPU reached through cuda-python (package cuda-bindings), with the primary context.

Only `cuda.bindings.driver` is used, whose functions are those of the driver's C interface: each
answers a status first, and none raises.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

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
    PinnedMemory,
    Stream,
    check_count,
    check_driver,
    no_driver,
    out_of_memory,
    version_of,
)

_PACKAGE: Final = 'cuda-bindings'
_contexts: Final[dict[int, Any]] = {}
"""By index, for as long as the process lives, as the CUDA runtime keeps them."""

_LONGEST_NAME: Final = 256
_C_TYPES: Final = {'P': ctypes.c_void_p, 'i': ctypes.c_int, 'f': ctypes.c_float}


class CudaPythonDevice:
    """One GPU; see `device.Device`."""

    records_graphs = True

    def __init__(self, index: int) -> None:
        count, version = _probe()
        check_count(count, index)
        device = _call('be opened', cuda.cuDeviceGet, index)
        self.info = _describe(index, device, version)
        if index not in _contexts:
            _contexts[index] = _call('be used', cuda.cuDevicePrimaryCtxRetain, device)
        self._context = _contexts[index]

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread."""
        _call('be made current', cuda.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            cuda.cuCtxPopCurrent()

    def free_bytes(self) -> int:
        """Memory that is left."""
        status, free, _ = cuda.cuMemGetInfo()
        _check('ask for the memory that is left', status)
        return int(free)

    def allocate(self, size: int) -> DeviceMemory:
        """Get memory of the device."""
        status, block = cuda.cuMemAlloc(size)
        if status == cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise out_of_memory(size, self.free_bytes())
        _check('allocate memory', status)
        return DeviceMemory(int(block), size, lambda: _call('free memory', cuda.cuMemFree, block))

    def allocate_pinned(self, size: int) -> PinnedMemory:
        """Get pinned memory of the processor."""
        status, address = cuda.cuMemHostAlloc(size, 0)
        if status == cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise out_of_memory(size, None)
        _check('allocate pinned memory', status)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        return PinnedMemory(
            array, lambda: _call('free pinned memory', cuda.cuMemFreeHost, address)
        )

    def create_stream(self) -> Stream:
        """Make a stream."""
        flags = cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        own = _call('make a stream', cuda.cuStreamCreate, flags)
        return _DriverStream(own)

    def create_event(self) -> Event:
        """Make an event."""
        flags = cuda.CUevent_flags.CU_EVENT_DEFAULT
        own = _call('make an event', cuda.cuEventCreate, flags)
        return _DriverEvent(own)

    def upload(self, address: int, host: Uint8Array, stream: Stream) -> None:
        """Copy to the device."""
        copy, source = cuda.cuMemcpyHtoDAsync, host.ctypes.data
        _call('copy to the GPU', copy, address, source, host.nbytes, _own(stream))

    def download(self, host: Uint8Array, address: int, stream: Stream) -> None:
        """Copy from the device."""
        copy, target = cuda.cuMemcpyDtoHAsync, host.ctypes.data
        _call('copy from the GPU', copy, target, address, host.nbytes, _own(stream))

    def synchronise(self, stream: Stream) -> None:
        """Wait for the stream."""
        _call('finish its work', cuda.cuStreamSynchronize, _own(stream))

    def mark(self, event: Event, stream: Stream) -> None:
        """Have the stream note the time."""
        _call('mark a moment', cuda.cuEventRecord, _own(event), _own(stream))

    def seconds_between(self, earlier: Event, later: Event) -> float:
        """Time between two events."""
        elapsed = _call('measure time', cuda.cuEventElapsedTime, _own(earlier), _own(later))
        return 1e-3 * float(elapsed)

    def load_kernel(self, cubin: bytes, name: str, arguments: Sequence[ArgumentType]) -> Kernel:
        """Load a function of a cubin."""
        module = _call('load a kernel', cuda.cuModuleLoadData, cubin)
        try:
            own = _call('load a kernel', cuda.cuModuleGetFunction, module, name.encode())
        except BackendError:
            cuda.cuModuleUnload(module)
            raise
        return _DriverKernel(own, module, tuple(_C_TYPES[letter] for letter in arguments))

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        arguments: Sequence[float],
        stream: Stream,
    ) -> None:
        """Run a kernel."""
        parameters = (tuple(arguments), kernel.types)  # type: ignore[attr-defined]  # as `_own`
        where = (*grid, 1, *block, 1)
        launch = cuda.cuLaunchKernel
        _call('run a kernel', launch, _own(kernel), *where, 0, _own(stream), parameters, 0)

    def record(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` hands to the stream."""
        # Only this thread's calls are held to the rules of recording, not those of others.
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call('begin to record', cuda.cuStreamBeginCapture, _own(stream), mode)
        try:
            work()
        except BaseException:
            _, unfinished = cuda.cuStreamEndCapture(_own(stream))
            if unfinished is not None and int(unfinished):
                cuda.cuGraphDestroy(unfinished)
            raise
        recorded = _call('record its work', cuda.cuStreamEndCapture, _own(stream))
        try:
            own = _call('prepare recorded work', cuda.cuGraphInstantiate, recorded, 0)
        finally:
            cuda.cuGraphDestroy(recorded)
        return _DriverGraph(own)

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Hand recorded work to the stream."""
        _call('repeat recorded work', cuda.cuGraphLaunch, _own(graph), _own(stream))


class _DriverStream(Stream):
    def __init__(self, own: Any) -> None:  # noqa: ANN401  the handles have no types
        super().__init__(int(own), lambda: _call('end a stream', cuda.cuStreamDestroy, own))
        self.own = own


class _DriverEvent(Event):
    def __init__(self, own: Any) -> None:  # noqa: ANN401  as above
        super().__init__(lambda: _call('end an event', cuda.cuEventDestroy, own))
        self.own = own


class _DriverGraph(Graph):
    def __init__(self, own: Any) -> None:  # noqa: ANN401  as above
        super().__init__(lambda: _call('end a graph', cuda.cuGraphExecDestroy, own))
        self.own = own


class _DriverKernel(Kernel):
    def __init__(self, own: Any, module: Any, types: tuple[type[Any], ...]) -> None:  # noqa: ANN401  as above
        super().__init__(lambda: _call('unload a kernel', cuda.cuModuleUnload, module))
        self.own = own
        self.types = types


def _own(resource: object) -> Any:  # noqa: ANN401  as above
    """The handle of the driver behind a resource of this module."""
    return resource.own  # type: ignore[attr-defined]  # nothing else is handed to this device


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
    identity = _call('tell its identity', cuda.cuDeviceGetUuid, device)
    return DeviceInfo(
        index=index,
        name=name.partition(b'\0')[0].decode(errors='replace'),
        compute_capability=(
            attribute('COMPUTE_CAPABILITY_MAJOR'),
            attribute('COMPUTE_CAPABILITY_MINOR'),
        ),
        identity=bytes(identity.bytes).hex(),
        multiprocessors=attribute('MULTIPROCESSOR_COUNT'),
        memory_bytes=int(_call('tell its memory', cuda.cuDeviceTotalMem, device)),
        integrated=bool(attribute('INTEGRATED')),
        cuda=version,
    )


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
    raise BackendError(message)
