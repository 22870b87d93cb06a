# SPDX-License-Identifier: Apache-2.0
"""cuda.bindings.driver: every function returns its status first, and raises nothing of its own.

Only that the driver library is missing is an exception.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from test.fakes.driver_errors import ERRORS, GpuError, NoDriverError
from test.fakes.gpu import GPU, host_view
from test.fakes.kernels import KERNELS

CUDA_VERSION = 13000

CUresult = enum.IntEnum(  # type: ignore[misc]  # members come from the table
    'CUresult', {'CUDA_SUCCESS': 0, **{name: code for code, (name, _) in ERRORS.items()}}
)


class DynamicLibNotFoundError(RuntimeError):
    pass


class CUdevice_attribute(enum.IntEnum):
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUstream_flags(enum.IntEnum):
    CU_STREAM_DEFAULT = 0
    CU_STREAM_NON_BLOCKING = 1


class CUevent_flags(enum.IntEnum):
    CU_EVENT_DEFAULT = 0
    CU_EVENT_DISABLE_TIMING = 2


class CUstreamCaptureMode(enum.IntEnum):
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


class _Handle:
    """What a handle is in these bindings: an object that `int` reads."""

    def __init__(self, value: int = 0) -> None:
        self._value = int(value)

    def __int__(self) -> int:
        return self._value


class CUdevice(_Handle):
    pass


class CUcontext(_Handle):
    pass


class CUdeviceptr(_Handle):
    pass


class CUstream(_Handle):
    pass


class CUmodule(_Handle):
    pass


class CUevent(_Handle):
    pass


class CUgraph(_Handle):
    pass


class CUgraphExec(_Handle):
    pass


class CUfunction:
    def __init__(self, name: str) -> None:
        self.name = name


def _answer(function: Callable[[], Any], *, kind: Any = None) -> tuple[Any, ...]:
    """(status,) or (status, value), as these bindings answer; value None on an error."""
    try:
        value = function()
    except NoDriverError as error:
        message = '"cuda" is an NVIDIA driver library and can only be found via system search.'
        raise DynamicLibNotFoundError(message) from error
    except GpuError as error:
        return (CUresult(error.code),) if kind is None else (CUresult(error.code), None)
    return (CUresult(0),) if kind is None else (CUresult(0), kind(value))


def cuInit(Flags: int) -> tuple[Any, ...]:
    assert Flags == 0
    return _answer(GPU.init)


def cuDriverGetVersion() -> tuple[Any, ...]:
    return _answer(lambda: GPU.driver_version, kind=int)


def cuGetErrorString(error: Any) -> tuple[Any, ...]:
    return _answer(ERRORS[int(error)][1].encode, kind=bytes)


def cuDeviceGetCount() -> tuple[Any, ...]:
    return _answer(lambda: GPU.count, kind=int)


def cuDeviceGet(ordinal: int) -> tuple[Any, ...]:
    def get() -> int:
        GPU.check_device(ordinal)
        return ordinal

    return _answer(get, kind=CUdevice)


def cuDeviceGetName(length: int, dev: CUdevice) -> tuple[Any, ...]:
    assert isinstance(dev, CUdevice)
    return _answer(lambda: GPU.name.encode()[:length].ljust(length, b'\0'), kind=bytes)


def cuDeviceGetPCIBusId(length: int, dev: CUdevice) -> tuple[Any, ...]:
    return _answer(lambda: GPU.place(int(dev)).encode().ljust(length, b'\0'), kind=bytes)


def cuDeviceTotalMem(dev: CUdevice) -> tuple[Any, ...]:
    assert isinstance(dev, CUdevice)
    return _answer(lambda: GPU.total_memory, kind=int)


def cuDeviceGetAttribute(attrib: CUdevice_attribute, dev: CUdevice) -> tuple[Any, ...]:
    assert isinstance(dev, CUdevice)
    return _answer(lambda: GPU.attributes(int(dev))[attrib], kind=int)


def cuDevicePrimaryCtxRetain(dev: CUdevice) -> tuple[Any, ...]:
    def retain() -> int:
        GPU.check_device(int(dev))
        GPU.retain()
        return int(dev) + 1

    return _answer(retain, kind=CUcontext)


def cuDevicePrimaryCtxRelease(dev: CUdevice) -> tuple[Any, ...]:
    def release() -> None:
        GPU.check_device(int(dev))
        if GPU.retained < 1:
            raise GpuError(201)
        GPU.let_go()

    return _answer(release)


def cuCtxPushCurrent(ctx: CUcontext) -> tuple[Any, ...]:
    return _answer(lambda: GPU.current.append(int(ctx)))


def cuCtxPopCurrent() -> tuple[Any, ...]:
    def pop() -> int:
        if not GPU.current:
            raise GpuError(201)
        return GPU.current.pop()

    return _answer(pop, kind=CUcontext)


def cuMemGetInfo() -> tuple[Any, ...]:
    try:
        GPU.require_context()
    except GpuError as error:
        return CUresult(error.code), None, None
    return CUresult(0), GPU.total_memory - GPU.used_memory, GPU.total_memory


def cuMemAlloc(bytesize: int) -> tuple[Any, ...]:
    return _answer(lambda: GPU.allocate(bytesize), kind=CUdeviceptr)


def cuMemFree(dptr: CUdeviceptr) -> tuple[Any, ...]:
    return _answer(lambda: GPU.free(int(dptr)))


def cuMemHostAlloc(bytesize: int, Flags: int) -> tuple[Any, ...]:
    assert Flags == 0
    return _answer(lambda: GPU.allocate_pinned(bytesize).ctypes.data, kind=int)


def cuMemFreeHost(p: int) -> tuple[Any, ...]:
    return _answer(lambda: GPU.free_pinned(p))


def cuMemcpyHtoDAsync(
    dstDevice: int,
    srcHost: int,
    ByteCount: int,
    hStream: CUstream,
) -> tuple[Any, ...]:
    def copy() -> None:
        with host_view(srcHost, ByteCount) as host:
            GPU.upload(int(dstDevice), host, int(hStream))

    return _answer(copy)


def cuMemcpyDtoHAsync(
    dstHost: int,
    srcDevice: int,
    ByteCount: int,
    hStream: CUstream,
) -> tuple[Any, ...]:
    def copy() -> None:
        with host_view(dstHost, ByteCount) as host:
            GPU.download(host, int(srcDevice), int(hStream))

    return _answer(copy)


def cuStreamCreate(Flags: int) -> tuple[Any, ...]:
    assert Flags == CUstream_flags.CU_STREAM_NON_BLOCKING
    return _answer(lambda: GPU.create_stream().handle, kind=CUstream)


def cuStreamSynchronize(hStream: CUstream) -> tuple[Any, ...]:
    return _answer(lambda: GPU.synchronise(int(hStream)))


def cuStreamDestroy(hStream: CUstream) -> tuple[Any, ...]:
    return _answer(lambda: GPU.destroy_stream(int(hStream)))


def cuEventCreate(Flags: int) -> tuple[Any, ...]:
    assert Flags == CUevent_flags.CU_EVENT_DEFAULT
    return _answer(GPU.create_event, kind=CUevent)


def cuEventDestroy(hEvent: CUevent) -> tuple[Any, ...]:
    return _answer(lambda: GPU.destroy_event(int(hEvent)))


def cuEventRecord(hEvent: CUevent, hStream: CUstream) -> tuple[Any, ...]:
    return _answer(lambda: GPU.record_event(int(hEvent), int(hStream)))


def cuEventElapsedTime(hStart: CUevent, hEnd: CUevent) -> tuple[Any, ...]:
    return _answer(lambda: GPU.elapsed_ms(int(hStart), int(hEnd)), kind=float)


def cuStreamBeginCapture(
    hStream: CUstream,
    mode: CUstreamCaptureMode,
) -> tuple[Any, ...]:
    relaxed = mode == CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    return _answer(lambda: GPU.begin_capture(int(hStream), relaxed=relaxed))


def cuStreamEndCapture(hStream: CUstream) -> tuple[Any, ...]:
    return _answer(lambda: GPU.end_capture(int(hStream)), kind=CUgraph)


def cuGraphInstantiate(hGraph: CUgraph, flags: int) -> tuple[Any, ...]:
    assert flags == 0

    def instantiate() -> int:
        key = GPU.allocate_key()
        GPU.graphs[key] = GPU.graphs[int(hGraph)]
        return key

    return _answer(instantiate, kind=CUgraphExec)


def cuGraphLaunch(
    hGraphExec: CUgraphExec,
    hStream: CUstream,
) -> tuple[Any, ...]:
    return _answer(lambda: GPU.launch_graph(int(hGraphExec), int(hStream)))


def cuGraphDestroy(hGraph: CUgraph) -> tuple[Any, ...]:
    return _answer(lambda: GPU.drop_graph(int(hGraph)))


def cuGraphExecDestroy(hGraphExec: CUgraphExec) -> tuple[Any, ...]:
    return _answer(lambda: GPU.drop_graph(int(hGraphExec)))


def cuModuleLoadData(image: bytes) -> tuple[Any, ...]:
    return _answer(lambda: GPU.load_module(image), kind=CUmodule)


def cuModuleUnload(hmod: CUmodule) -> tuple[Any, ...]:
    return _answer(lambda: GPU.unload_module(int(hmod)))


def cuModuleGetFunction(hmod: CUmodule, name: bytes) -> tuple[Any, ...]:
    def get() -> str:
        if name not in GPU.modules[int(hmod)]:
            raise GpuError(500)
        return name.decode()

    return _answer(get, kind=CUfunction)


def cuLaunchKernel(  # noqa: PLR0917  NVIDIA's signature
    f: CUfunction,
    gridDimX: int,
    gridDimY: int,
    gridDimZ: int,
    blockDimX: int,
    blockDimY: int,
    blockDimZ: int,
    sharedMemBytes: int,
    hStream: CUstream,
    kernelParams: tuple[tuple[Any, ...], tuple[Any, ...]],
    extra: int,
) -> tuple[Any, ...]:
    values, types = kernelParams
    assert len(values) == len(types)
    assert (gridDimZ, sharedMemBytes, extra) == (1, 0, 0)

    def launch() -> None:
        GPU.require_context()
        block = (blockDimX, blockDimY, blockDimZ)
        KERNELS[f.name]((gridDimX, gridDimY), block, values, int(hStream))

    return _answer(launch)
