# SPDX-License-Identifier: Apache-2.0
"""Locks that go with the process that holds them, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_logger = logging.getLogger(__name__)

_OF_FILES: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_FOLDERS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def try_lock(
    path: Path,
    *,
    shared: bool = False,
    folder: bool = False,
    needed: bool = False,
    mode: int = 0o600,
) -> int | None:
    """Take the lock `path` if it is free.

    Args:
        path: A file, made if it is missing, or a folder.
        shared: Others may hold it too, if they share it.
        folder: `path` is a folder, which has to be there.
        needed: Nothing may be done without the lock, where the file system knows none either.
        mode: Permissions of the file when it is made.

    Returns:
        A descriptor that holds the lock until it is closed, or no lock where the file system
        knows none; None when another holds it, or may hold it and it is needed.

    Raises:
        OSError: The file cannot be made, or the folder is gone.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        descriptor = os.open(path, _OF_FOLDERS if folder else _OF_FILES, mode)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            _logger.debug('no lock on %s: %s', path, error)
            if needed:
                os.close(descriptor)
                return None
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
