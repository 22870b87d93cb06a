# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's management library tells: GPUs, their energy, and the memory of a process.

Whatever it refuses to tell, on a virtual GPU for instance, is absent and stops no measurement.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
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
        named = []
        for handle in self._handles():
            with contextlib.suppress(self.nvml.NVMLError):
                driver = _text(self.nvml.nvmlSystemGetDriverVersion())
                named.append(f'{_text(self.nvml.nvmlDeviceGetName(handle))}, driver {driver}')
        return named

    def meters(self) -> list[EnergyMeter]:
        """One for each GPU that tells it: its counter of energy, or its power without one."""
        found = (
            self._meter(f'GPU {index}', handle) for index, handle in enumerate(self._handles())
        )
        return [meter for meter in found if meter is not None]

    def memory_mb(self, pid: int) -> float | None:
        """What a process holds on all GPUs now; None when it holds nothing or none can tell."""
        held: list[int] = []
        for handle in self._handles():
            with contextlib.suppress(self.nvml.NVMLError):
                held += [
                    process.usedGpuMemory
                    for process in self.nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                    if process.pid == pid and process.usedGpuMemory is not None
                ]
        return sum(held) / _MEGABYTE if held else None

    def _handles(self) -> list[Any]:
        if self.nvml is None:
            return []
        handles = []
        with contextlib.suppress(self.nvml.NVMLError):
            for index in range(self.nvml.nvmlDeviceGetCount()):
                handles.append(self.nvml.nvmlDeviceGetHandleByIndex(index))  # noqa: PERF401  those before an error count
        return handles

    def _meter(self, name: str, handle: object) -> EnergyMeter | None:
        energy = self._reading(self.nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        power = self._reading(self.nvml.nvmlDeviceGetPowerUsage, handle)
        with contextlib.suppress(OSError):
            energy()
            return Counter(name=name, read=energy, renewed_s=_RENEWED_S)
        with contextlib.suppress(OSError):
            power()
            return Power(name=name, read=power, renewed_s=_RENEWED_S)
        return None

    def _reading(self, ask: Callable[[object], int], handle: object) -> Callable[[], float]:
        """A number that NVML gives in thousandths; its errors become those of a sensor."""

        def read() -> float:
            try:
                return ask(handle) * 1e-3
            except self.nvml.NVMLError as error:
                raise OSError(str(error)) from error

        return read


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
