# SPDX-License-Identifier: Apache-2.0
"""Waiting for a lock between processes and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from depth_core.files import give_back, try_lock
from depth_core.runtime.engine.options import BuildCancelledError

_ASK_AGAIN_S: Final = 0.1
_REPORT_S: Final = 2.0


@contextmanager
def locked(
    path: Path,
    *,
    cancelled: threading.Event | None = None,
    waiting: Callable[[float], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file `path` alone, after waiting for whoever holds it.

    Where the file system knows no locks, go on without: two processes then may build the same
    engine, and the later one is kept.

    Args:
        path: Made if it is missing.
        cancelled: Set to give up waiting.
        waiting: Called with the seconds waited so far, at once and every few seconds.

    Raises:
        BuildCancelledError: `cancelled` was set before the lock was free.
        OSError: The file cannot be made.
    """
    since = time.monotonic()
    report_at_s = 0.0
    held = try_lock(path)
    while held is None:
        waited_s = time.monotonic() - since
        if waiting is not None and waited_s >= report_at_s:
            report_at_s = waited_s + _REPORT_S
            waiting(waited_s)
        if (cancelled or threading.Event()).wait(_ASK_AGAIN_S):
            message = f'cancelled after waiting {waited_s:.0f} s for another process that builds.'
            raise BuildCancelledError(message)
        held = try_lock(path)
    try:
        yield
    finally:
        give_back(held)
