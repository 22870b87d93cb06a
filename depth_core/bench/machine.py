# SPDX-License-Identifier: Apache-2.0
"""The machine that numbers were measured on: without it they say little."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from depth_core.processes import usable_cpus

_ROOT: Final = Path('/')

_INSTRUCTION_SETS: Final = (
    'sse4_1',
    'sse4_2',
    'avx',
    'f16c',
    'fma',
    'avx2',
    'avx_vnni',
    'avx512f',
    'avx512_vnni',
    'avx512_bf16',
    'avx512_fp16',
    'amx_bf16',
    'amx_int8',
    'asimd',
    'asimdhp',
    'asimddp',
    'sve',
    'bf16',
    'i8mm',
)
"""Those that kernels of networks are written for, as Linux names them."""

_ARM_PARTS: Final = {
    '0x41/0xd07': 'Arm Cortex-A57',
    '0x41/0xd08': 'Arm Cortex-A72',
    '0x41/0xd0b': 'Arm Cortex-A76',
    '0x41/0xd42': 'Arm Cortex-A78AE',
    '0x41/0xd83': 'Arm Neoverse-V3AE',
    '0x4e/0x004': 'NVIDIA Carmel',
}
"""Implementer and part in /proc/cpuinfo; Arm processors give no name."""

_LIBRARIES: Final = (
    'numpy',
    'opencv-python-headless',
    'onnxruntime',
    'onnxruntime-gpu',
    'openvino',
    'torch',
    'tensorrt',
    'tensorrt-rtx',
    'cuda-bindings',
    'pycuda',
)

_BUSY: Final = 0.25
"""Load of the last minute for each CPU above which a machine is not idle."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes, with which software, and when."""

    processor: str
    board: str | None
    """Of a Jetson and other boards that have a device tree."""
    architecture: str
    instruction_sets: tuple[str, ...]
    cpus: int
    """That this process may use."""
    cpus_of_machine: int
    governor: str | None
    """What sets the clock of the processor; None where the system does not tell."""
    gpus: tuple[str, ...]
    system: str
    python: str
    libraries: dict[str, str]
    """Version of each that is installed."""
    date: str
    load_1min: float
    """Processes that computed or waited to, mean of the minute before the measurement."""

    @property
    def is_busy(self) -> bool:
        """Whether others compute here, so that times are too long."""
        return self.load_1min > _BUSY * self.cpus

    def __str__(self) -> str:
        known = ', '.join(self.instruction_sets[-4:])
        on = f' on {self.board}' if self.board else ''
        gpus = ''.join(f'; {gpu}' for gpu in self.gpus)
        return (
            f'{self.processor}{on} ({known or self.architecture}), {self.cpus} of '
            f'{self.cpus_of_machine} CPUs, load {self.load_1min:.2f}{gpus}'
        )

    @property
    def software(self) -> str:
        """The versions in one line."""
        named = (f'{name} {version}' for name, version in self.libraries.items())
        return ', '.join((f'Python {self.python}', *named))


def describe_machine(gpus: tuple[str, ...] = (), root: Path = _ROOT) -> Machine:
    """Describe this machine.

    Args:
        gpus: What NVML tells of GPUs.
        root: Where /proc, /sys and the like are.
    """
    described = _processor_file(root)
    flags = set(described.get('flags', described.get('Features', '')).split())
    return Machine(
        processor=_processor_name(described),
        board=_text(root / 'proc/device-tree/model'),
        architecture=platform.machine(),
        instruction_sets=tuple(name for name in _INSTRUCTION_SETS if name in flags),
        cpus=usable_cpus(),
        cpus_of_machine=os.cpu_count() or 1,
        governor=_text(root / 'sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),
        gpus=gpus,
        system=platform.platform(),
        python=platform.python_version(),
        libraries=_versions(),
        date=dt.datetime.now(dt.timezone.utc).isoformat(timespec='seconds'),
        load_1min=os.getloadavg()[0],
    )


def busy_cpu_s(root: Path = _ROOT) -> float | None:
    """CPU time that all processes of this machine have used, seconds; None where none tells."""
    text = _text(root / 'proc/stat')
    if text is None:
        return None
    user, nice, system, _idle, _waiting, *interrupts = map(int, text.splitlines()[0].split()[1:8])
    return (user + nice + system + sum(interrupts[:2])) / os.sysconf('SC_CLK_TCK')


def _processor_file(root: Path) -> dict[str, str]:
    """The first processor in /proc/cpuinfo."""
    lines = (_text(root / 'proc/cpuinfo') or '').partition('\n\n')[0].splitlines()
    pairs = (line.partition(':') for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _processor_name(described: dict[str, str]) -> str:
    if 'model name' in described:
        family = (described.get('cpu family'), described.get('model'))
        return f'{described["model name"]} (family {family[0]}, model {family[1]})'
    part = f'{described.get("CPU implementer")}/{described.get("CPU part")}'
    if 'CPU part' in described:
        return _ARM_PARTS.get(part, f'Arm {part}')
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding='utf-8').strip('\0\n ')
    except OSError:
        return None
