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


class Moment:
    """A point in time, and how long each thread of the process had waited for a CPU until then."""

    def __init__(self, at_s: float, waited_s: dict[str, float] | None = None) -> None:
        """Note both.

        Args:
            at_s: Monotonic time.
            waited_s: By thread, seconds since it began; empty where nothing is counted.
        """
        self.at_s = at_s
        self._waited_s = waited_s or {}

    def since(self, former: Moment) -> float:
        """Seconds from `former` to now, less the longest wait of one thread.

        On a busy machine a thread that waits for a CPU is no hang. Several wait at the same time:
        added up, their waits would be longer than the time that passes, and a process that hangs
        would never be ended. What one thread waits for stays below it.
        """
        waits = (
            until_now - former._waited_s.get(thread, until_now)
            for thread, until_now in self._waited_s.items()
        )
        return self.at_s - former.at_s - max(waits, default=0.0)


class Watch:
    """When what has to be done, by the bytes that came."""

    def __init__(self, now: Moment) -> None:
        """Begin to watch; nothing is expected yet."""
        self.over = False
        self._limit_s = 0
        self._beat = self._look = now
        self._signal: Moment | None = None

    def took(self, codes: bytes, now: Moment) -> None:
        """Learn what the process wrote: beats, and from C the numbers of signals as they come."""
        for code in codes:
            if code == NOTICED:
                self.over = True
            elif code >= BEAT:
                self._limit_s, self._beat = code - BEAT, now
            elif code in {signal.SIGINT, signal.SIGTERM} and self._signal is None:
                self._signal = now

    def looked(self, now: Moment, *, stopped: bool) -> tuple[signal.Signals, str] | None:
        """What the process is to be ended with, and why; None while all is well.

        Args:
            now: When this is asked.
            stopped: Whether somebody has stopped the process, a debugger for example.
        """
        if stopped or now.at_s - self._look.at_s > SLEPT_S:
            self._beat = now
            if self._signal is not None:
                self._signal = now
        self._look = now
        if self._signal is not None and now.since(self._signal) >= SIGNAL_S:
            return signal.SIGKILL, f'did not notice a signal for {SIGNAL_S:g} s'
        if self._limit_s and now.since(self._beat) >= self._limit_s:
            return signal.SIGABRT, f'stands still for {self._limit_s} s'
        return None


def moment_of(process: int) -> Moment:
    """Now, with the waits that Linux counts for the threads of a process."""
    waited_s = {}
    try:
        for task in Path(f'/proc/{process}/task').iterdir():
            waited_s[task.name] = _waited_s(task)
    except OSError:
        pass  # no Linux, or it has ended
    return Moment(time.monotonic(), waited_s)


def _waited_s(task: Path) -> float:
    try:
        text = (task / 'schedstat').read_text(encoding='ascii')
        return int(text.split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0  # none counted, or the thread has just ended


def main() -> None:
    """Watch until the process ends."""
    process, pipe = int(sys.argv[1]), int(sys.argv[2])
    watch = Watch(moment_of(process))
    while not watch.over:
        codes = None
        if select.select([pipe], [], [], LOOK_S)[0]:
            codes = os.read(pipe, 4096)
            if not codes:
                return
        now = moment_of(process)
        if codes:
            watch.took(codes, now)
            if watch.over:
                break
        end = watch.looked(now, stopped=_is_stopped(process))
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
