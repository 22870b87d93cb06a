# SPDX-License-Identifier: Apache-2.0
"""A small process that ends the one it belongs to when Python stands still there.

Native code that hangs and holds the lock of the interpreter stops every thread of Python, the
watchdog and the handlers of signals too; only another process can notice. `guardian.guarded`
starts this file by its path, so that it loads nothing but a few modules of Python.

    python -I -S guardian_process.py PID FD

FD is the end of a pipe that the other process writes single bytes to: what `decided` says.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

BEAT = 0x80
"""Python runs; this plus the longest time to the next beat, seconds, 0 for any."""
NOTICED = 0xFF
"""A signal was noticed, the process ends in order: nothing is left to do."""
LONGEST_S = NOTICED - BEAT - 1
SIGNAL_S = 1.5
"""How long the process may take to notice a signal."""
LOOK_S = 0.25
"""Time between two looks at the process."""
SLEPT_S = 2.0
"""A pause between two looks that says that this process did not run either."""


class Watch:
    """When what has to be done, by the bytes that came."""

    def __init__(self, now_s: float) -> None:
        """Begin to watch; nothing is expected yet."""
        self.over = False
        self._limit_s = 0
        self._beat_s = self._looked_s = now_s
        self._signal_s: float | None = None

    def took(self, codes: bytes, now_s: float) -> None:
        """Learn what the process wrote: beats, and from C the numbers of signals as they come."""
        for code in codes:
            if code == NOTICED:
                self.over = True
            elif code >= BEAT:
                self._limit_s, self._beat_s = code - BEAT, now_s
            elif code in {signal.SIGINT, signal.SIGTERM} and self._signal_s is None:
                self._signal_s = now_s

    def looked(
        self, now_s: float, *, stopped: bool, queued_s: float = 0.0
    ) -> tuple[signal.Signals, str] | None:
        """What the process is to be ended with, and why; None while all is well.

        Args:
            now_s: Monotonic time.
            stopped: Whether somebody has stopped the process, a debugger for example.
            queued_s: How long a thread of it was ready to run since the last look, and had no
                CPU: on a busy machine that is no hang.
        """
        self._beat_s += queued_s
        if self._signal_s is not None:
            self._signal_s += queued_s
        if stopped or now_s - self._looked_s > SLEPT_S:
            self._beat_s = now_s
            if self._signal_s is not None:
                self._signal_s = now_s
        self._looked_s = now_s
        if self._signal_s is not None and now_s - self._signal_s >= SIGNAL_S:
            return signal.SIGKILL, f'did not notice a signal for {SIGNAL_S:g} s'
        if self._limit_s and now_s - self._beat_s >= self._limit_s:
            return signal.SIGABRT, f'stands still for {self._limit_s} s'
        return None


class Queues:
    """How long the threads of a process wait for a CPU, by what Linux counts."""

    def __init__(self, process: int) -> None:
        """Begin to count for a process."""
        self._tasks = Path(f'/proc/{process}/task')
        self._waited_ns: dict[str, int] = {}
        self.queued_s()

    def queued_s(self) -> float:
        """The longest wait of a thread since the last call, s; 0 where nothing is counted."""
        former, self._waited_ns = self._waited_ns, self._read()
        growth = (now - former.get(task, now) for task, now in self._waited_ns.items())
        return max(growth, default=0) / 1e9

    def _read(self) -> dict[str, int]:
        waited_ns = {}
        try:
            for task in self._tasks.iterdir():
                text = (task / 'schedstat').read_text(encoding='ascii')
                waited_ns[task.name] = int(text.split()[1])
        except (OSError, ValueError, IndexError):
            pass  # no Linux, none counted, or a thread that has just ended
        return waited_ns


def main() -> None:
    """Watch until the process ends."""
    process, pipe = int(sys.argv[1]), int(sys.argv[2])
    watch, queues = Watch(time.monotonic()), Queues(process)
    while not watch.over:
        if select.select([pipe], [], [], LOOK_S)[0]:
            codes = os.read(pipe, 4096)
            if not codes:
                return
            watch.took(codes, time.monotonic())
            if watch.over:
                break
        end = watch.looked(
            time.monotonic(), stopped=_is_stopped(process), queued_s=queues.queued_s()
        )
        if end is not None:
            number, why = end
            sys.stderr.write(
                f'Python {why} in process {process}: native code hangs and holds the lock of the '
                f'interpreter. The process is ended by {number.name}.\n'
            )
            sys.stderr.flush()
            os.kill(process, number)
            return
    while os.read(pipe, 4096):  # a second Ctrl-C is written too: Python complains of no reader
        pass


def _is_stopped(process: int) -> bool:
    try:
        text = Path(f'/proc/{process}/stat').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return False  # no Linux, or it has ended
    return text.rpartition(')')[2].split()[0] in 'Tt'


if __name__ == '__main__':
    main()
