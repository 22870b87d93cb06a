# SPDX-License-Identifier: Apache-2.0
"""pycuda.driver: errors are exceptions, handles are objects, contexts are a stack by thread."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from test.fakes.driver_errors import GpuError, NoDriverError
from test.fakes.gpu import GPU, as_bytes
from test.fakes.kernels import KERNELS


class Error(Exception):
    """Base of the errors of PyCUDA."""


class MemoryError(Error):
    pass


class LogicError(Error):
    pass


class RuntimeError(Error):
    pass


try:
    _ = GPU.driver_version
except NoDriverError as error:
    message = 'libcuda.so.1: cannot open shared object file: No such file or directory'
    raise ImportError(message) from error


def _raise(call: str, error: GpuError) -> None:
    kind: type[Error] = {2: MemoryError, 100: RuntimeError, 700: LogicError}.get(
        error.code, LogicError
    )
    text = f'{call} failed: {error.text}'
    raise kind(text) from error


def _call(name: str, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except GpuError as error:
        _raise(name, error)


def init(flags: int = 0) -> None:
    assert flags == 0
    _call('cuInit', GPU.init)


def get_version() -> tuple[int, int, int]:
    """CUDA that it was built for."""
    major, _, minor = os.environ.get('FAKE_PYCUDA_CUDA', '12.6').partition('.')
    return int(major), int(minor), 0


def get_driver_version() -> int:
    return GPU.driver_version


class Context:
    """The primary context; nothing else can be made here."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._valid = True
        _call('cuDevicePrimaryCtxRetain', GPU.retain)

    def push(self) -> None:
        if not self._valid:
            _raise('cuCtxPushCurrent', GpuError(201))
        GPU.current.append(self._number + 1)

    @staticmethod
    def pop() -> None:
        if not GPU.current:
            _raise('context::pop', GpuError(201))
        GPU.current.pop()

    def detach(self) -> None:
        if not self._valid:
            _raise('context::detach', GpuError(201))
        self._valid = False
        GPU.let_go()


class device_attribute:
    MULTIPROCESSOR_COUNT = 16
    INTEGRATED = 18


class Device:
    def __init__(self, number: int) -> None:
        _call('cuDeviceGet', GPU.check_device, number)
        self._number = number

    @staticmethod
    def count() -> int:
        return GPU.count

    def name(self) -> str:
        return GPU.name

    def compute_capability(self) -> tuple[int, int]:
        return GPU.capability_of(self._number)

    def total_memory(self) -> int:
        return GPU.total_memory

    def pci_bus_id(self) -> str:
        return GPU.place(self._number)

    def get_attribute(self, attribute: int) -> int:
        return GPU.attributes(self._number)[attribute]

    def retain_primary_context(self) -> Context:
        return Context(self._number)


class DeviceAllocation:
    def __init__(self, size: int) -> None:
        self._address = _call('cuMemAlloc', GPU.allocate, size)

    def __int__(self) -> int:
        return int(self._address)

    def free(self) -> None:
        _call('cuMemFree', GPU.free, self._address)


def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation(size)


def mem_get_info() -> tuple[int, int]:
    _call('cuMemGetInfo', GPU.require_context)
    return GPU.total_memory - GPU.used_memory, GPU.total_memory


class PagelockedHostAllocation:
    def __init__(self, block: NDArray[np.uint8]) -> None:
        self._address = block.ctypes.data
        self.__array_interface__ = block.__array_interface__

    def free(self) -> None:
        _call('cuMemFreeHost', GPU.free_pinned, self._address)


def pagelocked_empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    sizes = (shape,) if isinstance(shape, int) else shape
    kind = np.dtype(dtype)
    block = _call('cuMemHostAlloc', GPU.allocate_pinned, math.prod(sizes) * kind.itemsize)
    array = np.asarray(PagelockedHostAllocation(block))  # its base is the allocation
    return array if kind == np.uint8 and len(sizes) == 1 else array.view(kind).reshape(sizes)


class Stream:
    def __init__(self, flags: int) -> None:
        assert flags == 1  # CU_STREAM_NON_BLOCKING, for which PyCUDA has no name
        self._stream = _call('cuStreamCreate', GPU.create_stream)

    @property
    def handle(self) -> int:
        return int(self._stream.handle)

    def synchronize(self) -> None:
        _call('cuStreamSynchronize', GPU.synchronise, self.handle)

    def __del__(self) -> None:
        # PyCUDA destroys it where its context can be made current, and else lets it go.
        if hasattr(self, '_stream') and self._stream.handle in GPU.streams and GPU.current:
            GPU.destroy_stream(self._stream.handle)


class Event:
    def __init__(self) -> None:
        self._key = _call('cuEventCreate', GPU.create_event)

    def record(self, stream: Stream) -> Event:
        _call('cuEventRecord', GPU.record_event, self._key, stream.handle)
        return self

    def time_since(self, event: Event) -> float:
        return float(_call('cuEventElapsedTime', GPU.elapsed_ms, event._key, self._key))

    def __del__(self) -> None:
        if hasattr(self, '_key') and self._key in GPU.events and GPU.current:
            GPU.destroy_event(self._key)


def memcpy_htod_async(dest: int, src: NDArray[Any], stream: Stream) -> None:
    _call('cuMemcpyHtoDAsync', GPU.upload, int(dest), as_bytes(src), stream.handle)


def memcpy_dtoh_async(dest: NDArray[Any], src: int, stream: Stream) -> None:
    _call('cuMemcpyDtoHAsync', GPU.download, as_bytes(dest), int(src), stream.handle)


class Function:
    def __init__(self, name: str) -> None:
        self._name = name
        self._types = ''

    def prepare(self, types: str) -> Function:
        self._types = types
        return self

    def prepared_async_call(
        self, grid: tuple[int, int], block: tuple[int, int, int], stream: Stream, *arguments: Any
    ) -> None:
        assert len(arguments) == len(self._types)
        _call('cuLaunchKernel', GPU.require_context)
        KERNELS[self._name](grid, block, arguments, stream.handle)


class Module:
    def __init__(self, image: bytes) -> None:
        self._image = image
        self._key = _call('cuModuleLoadDataEx', GPU.load_module, image)

    def get_function(self, name: str) -> Function:
        if name.encode() not in self._image:
            _raise('cuModuleGetFunction', GpuError(500))
        return Function(name)


def module_from_buffer(image: bytes) -> Module:
    return Module(image)
