# SPDX-License-Identifier: Apache-2.0
"""Locks between processes and threads, which go with whoever holds them, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from depth_core.runtime.engine.folder import FILE_MODE
from depth_core.runtime.engine.options import BuildCancelledError

_logger = logging.getLogger(__name__)

_ASK_AGAIN_S: Final = 0.1
_REPORT_S: Final = 2.0
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


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


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock file `path` if it is free.

    Returns:
        A descriptor that holds the lock until it is closed; None when another holds it.

    Raises:
        OSError: The file cannot be made.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        descriptor = os.open(path, _FLAGS, FILE_MODE)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            _logger.debug('no lock on %s: %s', path, error)
            return descriptor
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # whoever held it has deleted it


def give_back(descriptor: int) -> None:
    """Release a lock, in processes too that were forked meanwhile and hold it open."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
