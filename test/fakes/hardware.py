# SPDX-License-Identifier: Apache-2.0
"""What the fake GPU is, read from environment variables so that child processes have it too.

FAKE_GPU_DRIVER   newest CUDA its driver knows, 13000 for 13.0; `none` for no driver at all
FAKE_GPU_COUNT    how many there are
FAKE_GPU_NAME, FAKE_GPU_MEMORY      the name and the bytes of memory of each
FAKE_GPU_CC       compute capabilities: `8.6`, or `8.6,7.5` for two GPUs
FAKE_GPU_INTEGRATED    `1` where they have no memory of their own
FAKE_GPU_EXCLUSIVE     a file: only the process that locks it may have a context
"""

from __future__ import annotations

import fcntl
import os

from test.fakes.driver_errors import GpuError, NoDriverError


class Hardware:
    """Its properties; devices differ by their number and their compute capability only."""

    initialised = False
    claimed: int | None = None
    """Descriptor of the lock of this process, in compute mode EXCLUSIVE_PROCESS."""

    @property
    def driver_version(self) -> int:
        version = os.environ.get('FAKE_GPU_DRIVER', '13000')
        if version == 'none':
            raise NoDriverError
        return int(version)

    @property
    def count(self) -> int:
        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        return len(visible.split(',')) if visible else int(os.environ.get('FAKE_GPU_COUNT', '1'))

    @property
    def name(self) -> str:
        return os.environ.get('FAKE_GPU_NAME', 'Fake GPU')

    @property
    def total_memory(self) -> int:
        return int(os.environ.get('FAKE_GPU_MEMORY', str(8 << 30)))

    def capability_of(self, number: int) -> tuple[int, int]:
        listed = os.environ.get('FAKE_GPU_CC', '8.6').split(',')
        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        number = int(visible.split(',')[number]) if visible else number
        major, _, minor = listed[min(number, len(listed) - 1)].partition('.')
        return int(major), int(minor)

    def attributes(self, number: int) -> dict[int, int]:
        """Multiprocessors, whether it is integrated, and its compute capability, by number."""
        major, minor = self.capability_of(number)
        integrated = int(os.environ.get('FAKE_GPU_INTEGRATED', '0'))
        return {16: 12, 18: integrated, 75: major, 76: minor}

    def place(self, number: int) -> str:
        """Of the device on the PCI bus."""
        return f'0000:0{number}:00.0'

    def init(self) -> None:
        if not self.driver_version:
            raise NoDriverError
        if self.count < 1:
            raise GpuError(100)
        self.initialised = True

    def check_device(self, number: int) -> None:
        if not self.initialised:
            raise GpuError(3)
        if not 0 <= number < self.count:
            raise GpuError(101)

    def claim(self) -> None:
        """Have a context in this process."""
        path = os.environ.get('FAKE_GPU_EXCLUSIVE')
        if path is None or self.claimed is not None:
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise GpuError(46) from error
        self.claimed = descriptor

    def unclaim(self) -> None:
        """Have none any more."""
        if self.claimed is not None:
            os.close(self.claimed)
        self.claimed = None
