# SPDX-License-Identifier: Apache-2.0
"""Hidden folders in which files are made, and how those of killed processes are found."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from depth_core.files.locks import give_back, try_lock

_logger = logging.getLogger(__name__)

FORMER: Final = 'former'
"""In such a folder: what has made room for a moment, under its own name."""

_ENDING: Final = '.unfinished'
_NAME: Final = re.compile(r'\..*\.[a-z0-9_]{8}' + re.escape(_ENDING), re.DOTALL)
_SHOWN: Final = 32
"""Characters of what is being made in the name of the folder; names end at 255 bytes."""

_swept: set[Path] = set()
"""Folders that this process has looked through; what is left there later is its own."""


@contextlib.contextmanager
def unfinished_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder in `parent`, removed when the block ends, and locked until then.

    The first time that a process asks for one, what killed processes left in `parent` goes.

    Args:
        parent: Made, with its parents, where it is missing.
        name: What is made there, for who sees the folder.

    Yields:
        The folder; nobody else can read it.

    Raises:
        OSError: It cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    place = parent.resolve()
    if place not in _swept:
        _swept.add(place)
        sweep(parent)
    folder, lock = _made(parent, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        give_back(lock)


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Give such a folder among the temporary files of the system.

    Raises:
        OSError: It cannot be made.
    """
    with unfinished_folder(Path(tempfile.gettempdir()), f'depth_{name}') as folder:
        yield folder


def sweep(parent: Path) -> None:
    """Remove what killed processes left in `parent`, after giving back what had made room.

    What a living process fills stays, and where the file system knows no locks nothing is known
    and all stays. A folder that cannot be looked at is none of ours.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_left(Path(entry.path))


def _remove_left(folder: Path) -> None:
    lock = try_lock(folder, folder=True, needed=True)
    if lock is None:
        return
    try:
        for former in (folder / FORMER).glob('*'):
            if not os.path.lexists(folder.parent / former.name):
                former.rename(folder.parent / former.name)
        shutil.rmtree(folder, ignore_errors=True)
        _logger.debug('%s was left by a process that was killed; it is removed', folder)
    finally:
        give_back(lock)


def _made(parent: Path, name: str) -> tuple[Path, int]:
    """Make a folder and lock it; another process may take it for a left one in between."""
    while True:
        shown = name.lstrip('.')[:_SHOWN]
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=f'.{shown}.', suffix=_ENDING))
        with contextlib.suppress(FileNotFoundError):
            lock = try_lock(folder, folder=True)
            if lock is not None:
                return folder, lock
