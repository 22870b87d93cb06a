# SPDX-License-Identifier: Apache-2.0
"""What is alike for both packages that reach a GPU: its context, and memory that runs out."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from depth_core.runtime.engine.device import (
    DeviceInfo,
    DeviceMemory,
    OutOfDeviceMemoryError,
    PinnedMemory,
    out_of_memory,
)

_retaining: Final = threading.Lock()


class DriverDevice(ABC):
    """One GPU; see `device.Device`.

    Its primary context is retained when it is first made current and kept as long as the process
    lives, as the CUDA runtime does. Until then this process does not use the GPU, so that the one
    that builds an engine can where only one at a time may (compute mode EXCLUSIVE_PROCESS).
    """

    _contexts: ClassVar[dict[int, Any]]
    """Of each package, by the number of the GPU."""

    def __init__(self, info: DeviceInfo) -> None:
        self.info = info

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread."""
        index = self.info.index
        with _retaining:
            if index not in self._contexts:
                self._contexts[index] = self._retain()
        self._push(self._contexts[index])
        try:
            yield
        finally:
            self._pop()

    def allocate(self, size: int) -> DeviceMemory:
        """Get memory of the device."""
        try:
            return self._allocate(size)
        except OutOfDeviceMemoryError as error:
            raise out_of_memory(size, self.free_bytes()) from error

    def allocate_pinned(self, size: int) -> PinnedMemory:
        """Get pinned memory of the processor."""
        try:
            return self._allocate_pinned(size)
        except OutOfDeviceMemoryError as error:
            raise out_of_memory(size, None) from error

    @abstractmethod
    def free_bytes(self) -> int:
        """Memory that is left."""

    @abstractmethod
    def _retain(self) -> Any:  # noqa: ANN401  contexts have no types
        """The primary context."""

    @abstractmethod
    def _push(self, context: Any) -> None:  # noqa: ANN401  as above
        """Make a context current."""

    @abstractmethod
    def _pop(self) -> None:
        """Make current what was before; nothing is raised, since work may just have failed."""

    @abstractmethod
    def _allocate(self, size: int) -> DeviceMemory: ...

    @abstractmethod
    def _allocate_pinned(self, size: int) -> PinnedMemory: ...
