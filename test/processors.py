# SPDX-License-Identifier: Apache-2.0
"""Run the numeric tests as other processors compute: `python -m test.processors`.

PyTorch, oneDNN and MKL choose their kernels by what the processor can do, and these add in another
order. Each library can be made to take the kernels of an older processor, which shows on one
machine what a test would find on another. Settings of several libraries are tried in one run where
a comma joins them, as an old processor has the old kernels of all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

REPOSITORY: Final = Path(__file__).resolve().parents[1]

SETTINGS: Final = (
    'ATEN_CPU_CAPABILITY=default',
    'ATEN_CPU_CAPABILITY=avx2',
    'ATEN_CPU_CAPABILITY=avx512',
    'ONEDNN_MAX_CPU_ISA=SSE41',
    'ONEDNN_MAX_CPU_ISA=AVX2',
    'MKL_CBWR=COMPATIBLE',
    'OMP_NUM_THREADS=1',
    'OMP_NUM_THREADS=2',
)
"""Variables that choose kernels, with the values that are tried."""

CAPABILITIES: Final = ('DEFAULT', 'AVX2', 'AVX512')
"""What PyTorch has kernels for, each processor being able to run those before its own."""


def settings_of(capability: str) -> list[str]:
    """The settings that a processor can run.

    Args:
        capability: Its best kernels as PyTorch names them.
    """
    beyond = CAPABILITIES[CAPABILITIES.index(capability) + 1 :]
    missing = {f'ATEN_CPU_CAPABILITY={name.lower()}' for name in beyond}
    return [setting for setting in SETTINGS if setting not in missing]


def numeric_files() -> list[Path]:
    """The files that have numeric tests: to load the others would take half of the time."""
    found = (REPOSITORY / 'test').rglob('test_*.py')
    return sorted(path for path in found if 'mark.numeric' in path.read_text(encoding='utf-8'))


def run(joined: str) -> bool:
    """Run the numeric tests under settings, print one line or why it failed, and say if it did.

    Nothing else of `SETTINGS` that the caller has set counts.

    Args:
        joined: Settings, with commas between them.
    """
    chosen = dict(setting.split('=') for setting in joined.split(','))
    others = {other.partition('=')[0] for other in SETTINGS}
    environment = {key: value for key, value in os.environ.items() if key not in others}
    finished = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-m', 'numeric', '-n', 'auto',
         '--maxprocesses', '4', '--dist', 'worksteal', *map(str, numeric_files())],
        cwd=REPOSITORY,
        env=environment | chosen,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )  # fmt: skip
    passed = finished.returncode == 0
    print(f'{joined:28}', finished.stdout.rstrip().rpartition('\n')[2], flush=True)
    if not passed:
        print(finished.stdout)
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is 1 when the tests fail under any of the settings."""
    parser = argparse.ArgumentParser(prog='python -m test.processors', description=__doc__)
    known = settings_of(torch.backends.cpu.get_cpu_capability())
    parser.add_argument(
        'setting',
        nargs='*',
        help=f'some of {" ".join(known)}, joined by commas '
        'for one run; all, one after the other, when absent',
    )
    chosen: list[str] = parser.parse_args(arguments).setting
    unknown = [item for joined in chosen for item in joined.split(',') if item not in known]
    if unknown:
        parser.error(f'{unknown[0]} is none of {" ".join(known)}')
    return int(False in [run(setting) for setting in chosen or known])


if __name__ == '__main__':
    sys.exit(main())
