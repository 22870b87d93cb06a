# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's management library tells: GPUs, their energy, and the memory of a process."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from depth_core.bench.energy import Counter, EnergyMeter, Power

_RENEWED_S: Final = 0.1
"""Of energy and power; older GPUs renew them that seldom."""
_MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """The GPUs of this machine, as far as NVML tells of them; none without a driver."""

    nvml: Any
    """The module `pynvml`, started; None where it cannot be."""
    absence: str = ''
    """Why there are none."""

    @property
    def names(self) -> list[str]:
        """What they are, with the version of the driver."""
        if self.nvml is None:
            return []
        driver = _text(self.nvml.nvmlSystemGetDriverVersion())
        return [
            f'{_text(self.nvml.nvmlDeviceGetName(handle))}, driver {driver}'
            for handle in self._handles()
        ]

    def meters(self) -> list[EnergyMeter]:
        """One for each GPU: its counter of energy, or its power where it has none."""
        if self.nvml is None:
            return []
        return [
            self._meter(f'GPU {index}', handle) for index, handle in enumerate(self._handles())
        ]

    def memory_mb(self, pid: int) -> float | None:
        """What a process holds on all GPUs now; None when it holds nothing or none can tell."""
        held = [
            process.usedGpuMemory
            for handle in self._handles()
            for process in self.nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            if process.pid == pid and process.usedGpuMemory is not None
        ]
        return sum(held) / _MEGABYTE if held else None

    def _handles(self) -> Iterator[Any]:
        if self.nvml is not None:
            for index in range(self.nvml.nvmlDeviceGetCount()):
                yield self.nvml.nvmlDeviceGetHandleByIndex(index)

    def _meter(self, name: str, handle: object) -> EnergyMeter:
        energy = partial(self.nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        with contextlib.suppress(self.nvml.NVMLError):
            energy()
            return Counter(name=name, read=lambda: energy() * 1e-3, renewed_s=_RENEWED_S)
        power = partial(self.nvml.nvmlDeviceGetPowerUsage, handle)
        return Power(name=name, read=lambda: power() * 1e-3, renewed_s=_RENEWED_S)


def find_gpus() -> Gpus:
    """Ask NVML, where `nvidia-ml-py` and a driver are."""
    try:
        nvml = importlib.import_module('pynvml')
    except ImportError:
        return Gpus(nvml=None, absence="GPUs: pip install 'depth_ros[bench]' brings NVML")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Gpus(nvml=None, absence=f'GPUs: NVML does not start ({error})')
    return Gpus(nvml=nvml)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
