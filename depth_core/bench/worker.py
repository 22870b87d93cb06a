# SPDX-License-Identifier: Apache-2.0
"""The process that answers for one row, whenever it is that row's turn."""

from __future__ import annotations

import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from depth_core.bench.request import BenchRequest
from depth_core.bench.subject import Subject, open_subject
from depth_core.contracts import Float32Array
from depth_core.errors import DepthError
from depth_core.processes import end_with_parent
from depth_core.runtime import Precision, StageTimes

_WARM_UP: Final = 10
"""Calls before the first that is measured."""
_WARM_UP_TURN: Final = 2
"""Calls before those of each turn: another process had the caches and the clock meanwhile."""
_STATUS: Final = Path('/proc/self/status')


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The model has answered for the first time."""

    at_s: float
    """When, by `time.monotonic`, which all processes of a machine share."""
    open_s: float
    backend: str
    precision: Precision
    depth_m: Float32Array | None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Calls one after the other."""

    latencies_s: tuple[float, ...]
    stages: tuple[StageTimes, ...]
    calls: int
    """How many there were, warm-up included."""
    elapsed_s: float
    """Of the measured calls, what lies between them included."""
    cpu_s: float
    """CPU time that this process used meanwhile, warm-up included."""
    took_s: float
    """Of the whole turn, warm-up included."""
    peak_memory_mb: float
    """Of the process until now."""


def serve(descriptor: int, parent: int) -> None:
    """Answer the requests of the process `parent` until it closes the connection.

    Args:
        descriptor: Of the connection, inherited.
        parent: Its process id; this process ends with it, whatever it is doing.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent(parent)
    connection: Connection[Any, Any] = Connection(descriptor)
    request: BenchRequest = connection.recv()
    try:
        subject = open_subject(request)
    except DepthError as error:
        connection.send(error)
        return
    connection.send(
        Ready(
            at_s=time.monotonic(),
            open_s=subject.open_s,
            backend=subject.backend,
            precision=subject.precision,
            depth_m=subject.depth_m,
        )
    )
    warm_up = _WARM_UP
    while True:
        try:
            frames: int = connection.recv()
        except EOFError:
            return
        try:
            turn = take_turn(subject, frames, warm_up=warm_up)
        except DepthError as error:
            connection.send(error)
            return
        connection.send(turn)
        warm_up = _WARM_UP_TURN


def take_turn(subject: Subject, frames: int, *, warm_up: int = _WARM_UP) -> Turn:
    """Let the model answer `frames` times.

    Raises:
        DepthError: The backend failed.
    """
    entered, cpu_before = time.perf_counter(), time.process_time()
    for _ in range(warm_up):
        subject.answer()
    latencies_s, stages = [], []
    began = time.perf_counter()
    for _ in range(frames):
        before = time.perf_counter()
        subject.answer()
        latencies_s.append(time.perf_counter() - before)
        stages.append(subject.stages())
    ended = time.perf_counter()
    return Turn(
        latencies_s=tuple(latencies_s),
        stages=tuple(stages),
        calls=warm_up + frames,
        elapsed_s=ended - began,
        cpu_s=time.process_time() - cpu_before,
        took_s=ended - entered,
        peak_memory_mb=peak_memory_mb(),
    )


def peak_memory_mb() -> float:
    """Most resident memory of this process.

    Linux counts in `ru_maxrss` what the parent held when it started the process, `VmHWM` does not.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding='utf-8').splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) / (1 << 10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == 'darwin' else peak / (1 << 10)
