# SPDX-License-Identifier: Apache-2.0
"""A GPU whose memory is NumPy's, behind the fakes of pycuda, cuda-python and TensorRT.

It is awkward where a GPU is: work handed to a stream is done no sooner than somebody waits for
it, so that a forgotten wait shows as old numbers; a call from a thread where no context is
current fails; addresses are no addresses of this process. What it is, `hardware` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from test.fakes.driver_errors import GpuError
from test.fakes.hardware import Hardware

ALIGNMENT = 256
_FIRST_ADDRESS = 0x7F00_0000_0000

Work = Callable[[], None]


@dataclass
class Stream:
    """Work in the order in which it was handed over."""

    handle: int
    waiting: list[Work] = field(default_factory=list)
    recorded: list[Work] | None = None
    """Work of a capture that is under way."""
    relaxed: bool = False
    """Whether memory may be had and freed during that."""
    capture_failed: bool = False


class Gpu(Hardware):
    """All devices of this process, and what they do."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a new process would."""
        self.unclaim()
        self.initialised = False
        self.retained = 0
        """Holders of the primary context."""
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.reserved: dict[int, int] = {}
        """Bytes that TensorRT holds, by a key of its own."""
        self.pinned: dict[int, NDArray[np.uint8]] = {}
        self.streams: dict[int, Stream] = {0: Stream(0)}
        self.modules: dict[int, bytes] = {}
        self.events: dict[int, float | None] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.broken = 0
        """The error that the context was lost to; every later call repeats it."""
        self.crashed = False  # whether something happened that ends a real process
        self.pageable_copies = 0
        """Copies that were not asynchronous, because the memory was not pinned."""
        self.launches: list[str] = []
        """Names of the kernels that ran."""
        self._next = _FIRST_ADDRESS
        self._contexts = threading.local()

    @property
    def compute_capability(self) -> tuple[int, int]:
        """Of the GPU whose context is current here, or of the first."""
        return self.capability_of(self.current[-1] - 1 if self.current else 0)

    @property
    def used_memory(self) -> int:
        return sum(block.nbytes for block in self.memory.values()) + sum(self.reserved.values())

    # Contexts.

    def retain(self) -> None:
        """Hold the primary context, which begins to exist with its first holder."""
        self.claim()
        self.retained += 1

    def let_go(self) -> None:
        self.retained -= 1
        if not self.retained:
            self.unclaim()

    @property
    def current(self) -> list[int]:
        """The contexts of this thread, the current one last."""
        if not hasattr(self._contexts, 'stack'):
            self._contexts.stack = []
        stack: list[int] = self._contexts.stack
        return stack

    def require_context(self) -> None:
        """Fail where the primary context is not current on this thread."""
        if not self.initialised:
            raise GpuError(3)
        if self.broken:
            raise GpuError(self.broken)
        if not self.current or not self.current[-1] or self.retained < 1:
            raise GpuError(201)

    # Memory.

    def allocate(self, size: int) -> int:
        with self.lock:
            self.require_context()
            self.refuse_while_capturing()
            if size < 1:
                raise GpuError(1)
            if self.used_memory + size > self.total_memory:
                raise GpuError(2)
            address = self._take_address(size)
            self.memory[address] = np.full(size, 0xA5, np.uint8)  # as found, not as zeros
            return address

    def free(self, address: int) -> None:
        with self.lock:
            self.require_context()
            self.refuse_while_capturing()
            self.finish_all()
            if address not in self.memory:
                raise GpuError(1)
            del self.memory[address]

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        with self.lock:
            self.require_context()
            self.refuse_while_capturing()
            if size < 1:
                raise GpuError(1)
            block = np.full(size, 0x5A, np.uint8)
            self.pinned[block.ctypes.data] = block
            return block

    def free_pinned(self, address: int) -> None:
        with self.lock:
            self.require_context()
            self.finish_all()
            if self.pinned.pop(address, None) is None:
                raise GpuError(1)

    def reserve(self, size: int) -> int | None:
        """Take memory that has no address, as an engine does; None when there is too little."""
        with self.lock:
            if self.used_memory + size > self.total_memory:
                return None
            key = self._take_address(0)
            self.reserved[key] = size
            return key

    def release(self, key: int) -> None:
        self.reserved.pop(key, None)

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        """The bytes at a device address, which may lie inside a block."""
        for start, block in self.memory.items():
            if start <= address and address + size <= start + block.nbytes:
                return block[address - start : address - start + size]
        self.broken = 700
        raise GpuError(700)

    def _take_address(self, size: int) -> int:
        address = self._next
        self._next += -(-(size + 1) // ALIGNMENT) * ALIGNMENT  # a gap, so that overruns show
        return address

    # Streams.

    def create_stream(self) -> Stream:
        with self.lock:
            self.require_context()
            stream = Stream(self._take_address(0))
            self.streams[stream.handle] = stream
            return stream

    def stream(self, handle: int) -> Stream:
        if handle not in self.streams:
            raise GpuError(400)
        return self.streams[handle]

    def destroy_stream(self, handle: int) -> None:
        with self.lock:
            self.require_context()
            stream = self.stream(handle)
            self._finish(stream)
            if handle:
                del self.streams[handle]

    def enqueue(self, handle: int, work: Work) -> None:
        with self.lock:
            stream = self.stream(handle)
            (stream.waiting if stream.recorded is None else stream.recorded).append(work)

    def synchronise(self, handle: int) -> None:
        with self.lock:
            self.require_context()
            stream = self.stream(handle)
            if stream.recorded is not None:
                stream.capture_failed = True
                raise GpuError(900)
            self._finish(stream)

    def finish_all(self) -> None:
        for stream in self.streams.values():
            self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        waiting, stream.waiting = stream.waiting, []
        for work in waiting:
            work()

    def refuse_while_capturing(self) -> None:
        for stream in self.streams.values():
            if stream.recorded is not None and not stream.relaxed:
                stream.capture_failed = True
                raise GpuError(900)

    # Copies and kernels.

    def upload(self, address: int, host: NDArray[np.uint8], handle: int) -> None:
        with self.lock:
            self.require_context()
            if not self._is_pinned(host):
                self.pageable_copies += 1
                host = host.copy()  # the driver reads it before it returns

            def copy() -> None:
                self.view(address, host.nbytes)[:] = host

            self.enqueue(handle, copy)

    def download(self, host: NDArray[np.uint8], address: int, handle: int) -> None:
        with self.lock:
            self.require_context()

            def copy() -> None:
                host[:] = self.view(address, host.nbytes)

            self.enqueue(handle, copy)
            if not self._is_pinned(host):
                self.pageable_copies += 1
                self.synchronise(handle)

    def _is_pinned(self, host: NDArray[np.uint8]) -> bool:
        start = host.ctypes.data
        return any(
            base <= start and start + host.nbytes <= base + block.nbytes
            for base, block in self.pinned.items()
        )

    def create_event(self) -> int:
        with self.lock:
            self.require_context()
            key = self._take_address(0)
            self.events[key] = None
            return key

    def record_event(self, key: int, handle: int) -> None:
        with self.lock:
            self.require_context()
            if key not in self.events:
                raise GpuError(400)
            self.enqueue(handle, lambda: self.events.update({key: time.perf_counter()}))

    def destroy_event(self, key: int) -> None:
        with self.lock:
            self.require_context()
            if self.events.pop(key, self) is self:
                raise GpuError(400)

    def elapsed_ms(self, earlier: int, later: int) -> float:
        first, second = self.events.get(earlier), self.events.get(later)
        if first is None or second is None:
            raise GpuError(600)
        return 1e3 * (second - first)

    def load_module(self, image: bytes) -> int:
        with self.lock:
            self.require_context()
            if not image.startswith(b'\x7fELF'):
                raise GpuError(200)
            key = self._take_address(0)
            self.modules[key] = image
            return key

    # Graphs.

    def begin_capture(self, handle: int, *, relaxed: bool) -> None:
        with self.lock:
            self.require_context()
            stream = self.stream(handle)
            if handle == 0 or stream.recorded is not None:
                raise GpuError(900)
            stream.recorded, stream.relaxed, stream.capture_failed = [], relaxed, False

    def end_capture(self, handle: int) -> int:
        with self.lock:
            self.require_context()
            stream = self.stream(handle)
            recorded, stream.recorded = stream.recorded, None
            if recorded is None or stream.capture_failed:
                raise GpuError(901)
            key = self._take_address(0)
            self.graphs[key] = recorded
            return key

    def allocate_key(self) -> int:
        """A handle that nothing else has."""
        return self._take_address(0)

    def drop_graph(self, key: int) -> None:
        with self.lock:
            self.require_context()
            if self.graphs.pop(key, None) is None:
                raise GpuError(400)

    def unload_module(self, key: int) -> None:
        with self.lock:
            self.require_context()
            if self.modules.pop(key, None) is None:
                raise GpuError(400)

    def launch_graph(self, key: int, handle: int) -> None:
        with self.lock:
            self.require_context()
            if key not in self.graphs:
                raise GpuError(400)
            for work in self.graphs[key]:
                self.enqueue(handle, work)


GPU = Gpu()
"""The one of this process."""


@contextmanager
def host_view(address: int, size: int) -> Iterator[NDArray[np.uint8]]:
    """Pinned memory of this process, by its address; nothing else may be given by address."""
    for base, block in GPU.pinned.items():
        if base <= address and address + size <= base + block.nbytes:
            yield block[address - base : address - base + size]
            return
    raise GpuError(1)


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of a C-contiguous array, without a copy."""
    if not array.flags.c_contiguous:
        raise GpuError(1)
    return array.reshape(-1).view(np.uint8)
