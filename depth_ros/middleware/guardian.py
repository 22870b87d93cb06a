# SPDX-License-Identifier: Apache-2.0
"""Ends this process when native code hangs and holds the lock of the Python interpreter.

No thread of Python runs then: neither the watchdog nor the handlers of signals. A small process
beside this one waits for a sign of life, and is told of signals by C. The stacks of all threads
are written to stderr, and whoever started the process, launch with `respawn` for example, can
start it again. Ctrl-C ends it within two seconds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from depth_ros.middleware import guardian_process
from depth_ros.middleware.guardian_process import BEAT, LONGEST_S, NOTICED

_BEAT_S: Final = 0.25
"""Time between two signs of life."""


class Guardian:
    """What is written to the process that watches this one."""

    def __init__(self, pipe: int) -> None:
        """Write to a pipe."""
        self._pipe = pipe
        self._next_s = 0.0
        self._said = BEAT

    def beat(self, limit_s: float) -> None:
        """Say that Python runs: now and then, and at once where the limit is another one.

        Args:
            limit_s: The next time is sooner than in so many seconds, or the process is ended; 0
                takes any time, and so does more than `LONGEST_S`.
        """
        code = BEAT + (0 if limit_s > LONGEST_S else int(-(-limit_s // 1)))
        now_s = time.monotonic()
        if now_s >= self._next_s or code != self._said:
            self._next_s = now_s + _BEAT_S
            self._said = code
            self._write(code)

    def noticed(self) -> None:
        """Say that a signal was noticed, so that this process ends by itself."""
        self._write(NOTICED)

    def _write(self, code: int) -> None:
        with contextlib.suppress(OSError):  # nobody watches any more
            os.write(self._pipe, bytes([code]))


@contextlib.contextmanager
def guarded() -> Iterator[Guardian]:
    """Have this process watched in the block, which belongs into the main thread.

    Raises:
        OSError: No process can be started.
    """
    watched, pipe = os.pipe()
    os.set_blocking(pipe, False)
    command = [guardian_process.__file__, str(os.getpid()), str(watched)]
    try:
        watcher = subprocess.Popen(
            [sys.executable, '-I', '-S', *command],
            stdin=subprocess.DEVNULL,
            pass_fds=[watched],
            start_new_session=True,  # Ctrl-C is not for it
        )
    finally:
        os.close(watched)
    faulthandler.enable()
    former = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    try:
        yield Guardian(pipe)
    finally:
        signal.set_wakeup_fd(former)
        os.close(pipe)  # which ends it
        watcher.wait()
