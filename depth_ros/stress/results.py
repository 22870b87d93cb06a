# SPDX-License-Identifier: Apache-2.0
"""What a check found: rows of a table, and the same for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.table import Table

PROCESSES: Final = Path('/proc')


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was tried."""

    part: str
    """fuzz, soak or chaos."""
    name: str
    """What was done to the node."""
    found: str
    """What it did, for people."""
    passed: bool
    values: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs; times in seconds, memory in MiB."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a process holds at one moment."""

    resident_mib: float
    peak_mib: float
    """Largest resident memory since it started."""
    threads: int
    files: int


def resources(pid: int) -> Resources:
    """Look at a process of this machine."""
    text = (PROCESSES / str(pid) / 'status').read_text(encoding='utf-8')
    status = dict(line.split(':', 1) for line in text.splitlines())
    return Resources(
        resident_mib=int(status['VmRSS'].split()[0]) / 1024.0,
        peak_mib=int(status['VmHWM'].split()[0]) / 1024.0,
        threads=int(status['Threads']),
        files=len(list((PROCESSES / str(pid) / 'fd').iterdir())),
    )


def machine() -> dict[str, Any]:
    """What was measured on, and how busy it is."""
    return {
        'system': platform.platform(),
        'python': platform.python_version(),
        'processors': os.cpu_count(),
        'load': [round(load, 2) for load in os.getloadavg()],
    }


def table(checks: Sequence[Check]) -> Table:
    """Return the checks as a table."""
    rows = Table(title='mono_depth under stress', title_style='bold')
    for title in ('part', 'what is done', 'what is found', ''):
        rows.add_column(title)
    for check in checks:
        rows.add_row(check.part, check.name, check.found, 'held' if check.passed else 'FAILED')
    return rows


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks for a JSON file."""
    return [asdict(check) for check in checks]
