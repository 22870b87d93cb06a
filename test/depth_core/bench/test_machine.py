# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from depth_core.bench.machine import busy_cpu_s, describe_machine
from depth_core.bench.worker import peak_memory_mb

AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763
flags\t\t: fpu sse4_2 avx2 fma avx3_of_nobody

processor\t: 1
model name\t: another
"""
ORIN = """processor\t: 0
Features\t: fp asimd asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""


def machine_of(root: Path, cpuinfo: str) -> Path:
    (root / 'proc').mkdir()
    (root / 'proc/cpuinfo').write_text(cpuinfo)
    return root


def test_a_processor_is_named_with_what_it_can_do(tmp_path: Path) -> None:
    found = describe_machine(('NVIDIA RTX A2000',), machine_of(tmp_path, AMD))
    assert found.processor == 'AMD EPYC 7763 (family 25, model 1)'
    assert found.instruction_sets == ('sse4_2', 'fma', 'avx2')
    assert 1 <= found.cpus <= found.cpus_of_machine
    assert 'numpy' in found.libraries
    assert str(found).startswith('AMD EPYC 7763 (family 25, model 1) (sse4_2, fma, avx2), ')
    assert str(found).endswith('; NVIDIA RTX A2000')


def test_an_arm_processor_is_named_by_its_part_and_board(tmp_path: Path) -> None:
    root = machine_of(tmp_path, ORIN)
    (root / 'proc/device-tree').mkdir()
    (root / 'proc/device-tree/model').write_bytes(b'NVIDIA Jetson AGX Orin\0')
    found = describe_machine((), root)
    assert found.processor == 'Arm Cortex-A78AE'
    assert found.board == 'NVIDIA Jetson AGX Orin'
    assert found.instruction_sets == ('asimd', 'asimdhp', 'asimddp')


def test_a_machine_is_busy_when_others_compute(tmp_path: Path) -> None:
    found = describe_machine((), machine_of(tmp_path, AMD))
    idle = dataclasses.replace(found, cpus=8, load_1min=1.9)
    assert not idle.is_busy
    assert dataclasses.replace(idle, load_1min=2.1).is_busy


def test_the_cpu_time_of_all(tmp_path: Path) -> None:
    (tmp_path / 'proc').mkdir()
    # user, nice, system, idle, waiting, interrupts, soft interrupts, stolen
    (tmp_path / 'proc/stat').write_text('cpu  100 20 30 9999 8888 7 3 5555 0 0\ncpu0 1 1 1\n')
    ticks = os.sysconf('SC_CLK_TCK')
    assert busy_cpu_s(tmp_path) == pytest.approx(160 / ticks)
    assert busy_cpu_s(tmp_path / 'nothing') is None


def test_the_memory_of_this_process_is_that_of_a_python() -> None:
    assert 10.0 < peak_memory_mb() < 100_000.0
