# SPDX-License-Identifier: Apache-2.0
"""The memory, streams and kernels of one NVIDIA GPU, whichever Python package reaches the driver.

`open_device` asks the driver first, before anything of TensorRT is touched: without a driver some
versions of it end the process. Everything happens in the device's primary context, which is the
one that TensorRT, PyTorch and ONNX Runtime use too. It has to be current on the thread that calls:

    with device.current():
        memory = device.allocate(1 << 20)

No GPU was at hand where this was written: it is tested against stand-ins for both packages, and
`test/gpu` holds what should be run where there is one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from depth_core.contracts import Uint8Array
from depth_core.errors import BackendError

LEAST_CUDA: Final = (11, 4)
"""Oldest CUDA a driver must know: that of JetPack 5, with the oldest TensorRT that is run."""

ArgumentType: TypeAlias = Literal['P', 'i', 'f']
"""Of a kernel's argument: an address, a C int, a C float; letters of the module `struct`."""

_IMPLEMENTATIONS: Final = {
    'pycuda': 'depth_core.runtime.engine.pycuda_device:PyCudaDevice',
    'cuda-bindings': 'depth_core.runtime.engine.cuda_python_device:CudaPythonDevice',
}
_INSTALL: Final = (
    "pip install 'depth_ros[tensorrt]' brings cuda-bindings, and pip install 'depth_ros[pycuda]' "
    'builds PyCUDA where the CUDA toolkit is installed'
)


class OutOfDeviceMemoryError(BackendError):
    """The GPU, or the machine that shares its memory with it, has too little of it left."""


class NoSuchGpuError(BackendError):
    """There are GPUs, and none of the number that was asked for."""


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """Which GPU it is."""

    index: int
    """Among those that the driver shows to this process."""
    name: str
    compute_capability: tuple[int, int]
    identity: str
    """Where it is on the PCI bus, other than a second GPU of the same kind."""
    multiprocessors: int
    """Of how many it is made: variants of one name differ in them."""
    memory_bytes: int
    """All of its memory."""
    integrated: bool
    """Whether it shares the memory of the processor, as on a Jetson."""
    cuda: tuple[int, int]
    """Newest CUDA that its driver knows."""

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return f'{self.name} (compute capability {major}.{minor})'


class Resource:
    """Something of a device, given back once however often that is asked for.

    It is given back with the context current, by whoever owns it; nothing happens by itself.
    """

    def __init__(self, release: Callable[[], object] | None, own: Any = None) -> None:  # noqa: ANN401  handles have no types
        self._release = release
        self.own = own
        """What the package that made it knows it by; None once it is freed."""

    def free(self) -> None:
        """Give it back."""
        release, self._release = self._release, None
        if release is not None:
            release()
        self.own = None


class DeviceMemory(Resource):
    """Memory of the device."""

    def __init__(self, address: int, size: int, release: Callable[[], object]) -> None:
        super().__init__(release)
        self.address = address
        """A multiple of 256."""
        self.size = size
        """Bytes."""


class PinnedMemory(Resource):
    """Memory of the processor that copies to and from the device need not wait for."""

    def __init__(self, array: Uint8Array, release: Callable[[], object]) -> None:
        super().__init__(release)
        self.array = array
        """All of its bytes; not to be used once it is freed."""


class Stream(Resource):
    """Work that the device does in order, none of it on the default stream."""

    def __init__(
        self,
        handle: int,
        release: Callable[[], object] | None,
        own: Any,  # noqa: ANN401  as above
    ) -> None:
        super().__init__(release, own)
        self.handle = handle
        """What TensorRT takes."""


class Event(Resource):
    """A moment in the work of a stream."""


class Kernel(Resource):
    """A function that runs on the device."""


class Graph(Resource):
    """Work that was recorded and can be handed over again as a whole."""


class Device(Protocol):
    """One GPU. All but `info` and `current` need the context to be current on this thread.

    Whatever the driver refuses is a `BackendError`, lack of memory an `OutOfDeviceMemoryError`.
    """

    @property
    def info(self) -> DeviceInfo:
        """Which it is."""

    @property
    def records_graphs(self) -> bool:
        """Whether `record` works: the package may have no calls for it."""

    def current(self) -> AbstractContextManager[None]:
        """Make the context current on this thread, and afterwards what was current before."""

    def free_bytes(self) -> int:
        """Memory that is left."""

    def allocate(self, size: int) -> DeviceMemory:
        """Get `size` bytes of the device's memory, at least 1."""

    def allocate_pinned(self, size: int) -> PinnedMemory:
        """Get `size` bytes of the processor's memory, at least 1."""

    def create_stream(self) -> Stream:
        """Make a stream that does not wait for the default one."""

    def create_event(self) -> Event:
        """Make an event that measures time."""

    def upload(self, address: int, host: Uint8Array, stream: Stream) -> None:
        """Copy pinned bytes to the device once the stream comes to it; they must stay."""

    def download(self, host: Uint8Array, address: int, stream: Stream) -> None:
        """Copy from the device to pinned bytes, which are there once the stream is waited for."""

    def synchronise(self, stream: Stream) -> None:
        """Wait until the stream has done all its work."""

    def mark(self, event: Event, stream: Stream) -> None:
        """Have the stream note the time when it comes here."""

    def seconds_between(self, earlier: Event, later: Event) -> float:
        """Time between two events that a stream has passed."""

    def load_kernel(self, cubin: bytes, name: str, arguments: Sequence[ArgumentType]) -> Kernel:
        """Load the function `name` of a cubin made for this GPU."""

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        arguments: Sequence[float],
        stream: Stream,
    ) -> None:
        """Run a kernel in the stream, on `grid` blocks of `block` threads."""

    def record(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` hands to the stream, without doing it.

        `work` must neither wait nor allocate. Its errors are passed on.
        """

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Hand recorded work to the stream."""


def open_device(index: int = 0, *, to_record: bool = False) -> Device:
    """Open a GPU, through PyCUDA where it is installed, and otherwise through cuda-python.

    Args:
        index: Which, as the driver counts them for this process.
        to_record: Take the one that records graphs first.

    Raises:
        BackendError: No driver, no GPU of that index, a driver too old, or neither package.
    """
    absent = []
    for package in reversed(_IMPLEMENTATIONS) if to_record else _IMPLEMENTATIONS:
        module, _, kind = _IMPLEMENTATIONS[package].partition(':')
        try:
            implementation = getattr(importlib.import_module(module), kind)
        except ImportError as error:
            if 'libcuda' in str(error):
                raise no_driver(str(error)) from error
            absent.append(f'{package}: {error}')
            continue
        device: Device = implementation(index)
        return device
    message = (
        f'no package to reach a GPU with ({"; ".join(absent)}): {_INSTALL}. An NVIDIA driver is '
        'needed as well.'
    )
    raise BackendError(message)


def open_devices() -> list[Device]:
    """Open every GPU that this process sees.

    Raises:
        BackendError: As `open_device`, of any of them.
    """
    devices = [open_device()]
    with contextlib.suppress(NoSuchGpuError):
        while True:
            devices.append(open_device(len(devices)))
    return devices


def device_index(name: str | None) -> int:
    """The number of the GPU called `name`: None and `cuda` are the first, `cuda:1` the second.

    Raises:
        BackendError: It is no such name.
    """
    found = re.fullmatch(r'(?:cuda|gpu)?(?::?(\d+))?', (name or '').strip().lower())
    if found is None:
        message = f'device {name!r} is none of this backend; give cuda:0, cuda:1 and so on.'
        raise BackendError(message)
    return int(found[1] or 0)


def visible_gpu(index: int) -> dict[str, str]:
    """The variables that make a GPU of this process the only one of a child process.

    TensorRT builds for the first GPU that its process sees.
    """
    if index == 0:
        return {}  # as it is
    seen = os.environ.get('CUDA_VISIBLE_DEVICES')
    return {'CUDA_VISIBLE_DEVICES': seen.split(',')[index].strip() if seen else str(index)}


def no_driver(reason: str) -> BackendError:
    """Say that no NVIDIA driver is installed."""
    message = (
        f'no NVIDIA driver is installed here ({reason}); install it and try nvidia-smi (on a '
        'Jetson it comes with JetPack, in a container with the NVIDIA container toolkit).'
    )
    return BackendError(message)


def check_driver(cuda: tuple[int, int], *, package: str, built_for: tuple[int, int]) -> None:
    """Refuse a driver that is too old.

    Args:
        cuda: Newest CUDA that the driver knows.
        package: What it is reached with.
        built_for: CUDA that the package was built for; a driver runs what was built for its own
            major version, and for those before.

    Raises:
        BackendError: Names both versions.
    """
    have = '.'.join(map(str, cuda))
    if cuda < LEAST_CUDA:
        needed = '.'.join(map(str, LEAST_CUDA))
        message = f'the NVIDIA driver knows CUDA up to {have}, {needed} is needed; update it.'
        raise BackendError(message)
    if cuda[0] < built_for[0]:
        message = (
            f'the NVIDIA driver knows CUDA up to {have}, and {package} was built for '
            f'{".".join(map(str, built_for))}; update the driver, or install a {package} for '
            f'CUDA {cuda[0]}.'
        )
        raise BackendError(message)


def check_count(count: int, index: int) -> None:
    """Refuse an index that no GPU has.

    Raises:
        BackendError: There is none, or not so many.
    """
    if count < 1:
        message = (
            'the NVIDIA driver finds no GPU; look at nvidia-smi, and at CUDA_VISIBLE_DEVICES, '
            'which can hide them.'
        )
        raise BackendError(message)
    if not 0 <= index < count:
        message = f'GPU {index} was asked for, and there are {count}, counted from 0.'
        raise NoSuchGpuError(message)


def version_of(number: int) -> tuple[int, int]:
    """(major, minor) of a CUDA version as the driver states it: 12060 is 12.6."""
    return number // 1000, number % 1000 // 10


def out_of_memory(size: int, left: int | None) -> OutOfDeviceMemoryError:
    """Say that `size` bytes could not be had.

    Args:
        size: Bytes that were wanted.
        left: How many there are on the GPU; None when pinned memory of the processor was wanted.
    """
    what = 'pinned memory' if left is None else f'GPU memory, of which {left / 2**20:.0f} are left'
    message = (
        f'out of memory: there are no {size / 2**20:.1f} MiB of {what}; end other programs that '
        'use it, or take a smaller model or fewer images at once.'
    )
    return OutOfDeviceMemoryError(message)
