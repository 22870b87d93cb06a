# SPDX-License-Identifier: Apache-2.0
"""The files of bags: which one to read, and what helps when one cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depth_core.errors import DataError
from depth_core.files import is_hidden

STORAGES: Final = ('.mcap', '.db3')
"""Endings of the storage files of ROS 2."""

ROS1: Final = '.bag'
"""Ending of the bags of ROS 1."""

METADATA: Final = 'metadata.yaml'
"""The file of a bag folder that says which storage files belong to it."""

_COMPRESSED: Final = '.zstd'
_OF_BAGS: Final = (*STORAGES, ROS1, _COMPRESSED, '.yaml')
_MCAP_MAGIC: Final = b'\x89MCAP0\r\n'
"""What an MCAP file begins and ends with."""


def storage_of(path: Path) -> Path:
    """The folder or file to read when `path` is asked for.

    Raises:
        DataError: There is none, or it has to be treated first.
    """
    if not path.exists():
        message = (
            f'there is no bag {path}; give a rosbag2 folder, one of its .mcap or .db3 files, or a '
            '.bag file of ROS 1.'
        )
        raise DataError(message)
    if path.is_dir():
        return path if (path / METADATA).is_file() else _only_storage(path)
    _check_file(path)
    return path


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of a bag: the file itself, or those of its folder."""
    if not path.is_dir():
        return (path,)
    found = (item for item in path.iterdir() if item.is_file() and not is_hidden(item))
    return tuple(sorted(item for item in found if item.suffix.lower() in _OF_BAGS))


def _only_storage(folder: Path) -> Path:
    """The storage file of a folder without metadata, as a power cut leaves it."""
    files = files_of(folder)
    storages = [path for path in files if path.suffix in STORAGES]
    bags = [path for path in files if path.suffix.lower() == ROS1]
    if len(storages) > 1 or (bags and not storages):
        names = ', '.join(path.name for path in storages or bags)
        message = (
            f'{folder} has no {METADATA} to say what belongs together of {names}; give one of '
            f'these files, or run: ros2 bag reindex {folder}'
        )
        raise DataError(message)
    if not storages:
        compressed = next((path for path in files if path.suffix == _COMPRESSED), None)
        if compressed is not None:
            _check_file(compressed)
        message = (
            f'{folder} is not a bag: it has neither {METADATA} nor a .mcap or .db3 file; give the '
            'folder that ros2 bag record made, or a .bag file of ROS 1.'
        )
        raise DataError(message)
    _check_file(storages[0])
    return storages[0]


def _check_file(path: Path) -> None:
    """Refuse a file that has to be treated before it can be read.

    Raises:
        DataError: It is compressed, unfinished, or no storage by its ending.
    """
    ending = path.suffix.lower()
    journal = _journal_of(path)
    if ending == _COMPRESSED:
        inside = path.with_suffix('')
        remedy = f'decompress it (zstd -d {path}) and give {inside}'
        if (path.parent / METADATA).is_file():
            remedy = f'give its folder {path.parent}, whose {METADATA} says so, or {remedy}'
        message = f'the storage file {path} is compressed; {remedy}.'
    elif ending == '.active':
        message = (
            f'{path} is an unfinished recording of ROS 1; run rosbag reindex {path}, then rename '
            f'it to {path.with_suffix("")}.'
        )
    elif ending not in (*STORAGES, ROS1):
        message = (
            f'{path} is not a bag: {path.suffix or "no suffix"} is not one of '
            f'{", ".join((*STORAGES, ROS1))}; give the folder of the bag.'
        )
    elif path.suffix not in STORAGES and ending in STORAGES:
        message = f'{path} ends in {path.suffix}; rename it to {path.with_suffix(ending)}.'
    elif ending == '.db3' and journal is not None:
        message = (
            f'messages of {path} are still in {journal.name}, as a power cut leaves them; move '
            f'them into the bag: sqlite3 {path} "PRAGMA wal_checkpoint(TRUNCATE)"'
        )
    else:
        return
    raise DataError(message)


def _journal_of(path: Path) -> Path | None:
    """What SQLite has written beside a storage file and not yet into it."""
    beside = (path.with_name(f'{path.name}-{kind}') for kind in ('wal', 'journal'))
    return next((item for item in beside if item.is_file() and item.stat().st_size), None)


def unreadable(storage: Path, error: Exception) -> str:
    """Say why a bag cannot be read, and what helps a bag of its kind."""
    ending = storage.suffix.lower()
    if storage.is_dir():
        parts = sorted(path for path in storage.glob('*.*') if path.suffix in STORAGES)
        give = f', or give its storage file: {parts[0]}' if parts else ''
        remedy = f'If its {METADATA} is wrong, run: ros2 bag reindex {storage}{give}'
    elif ending == '.mcap':
        if _is_cut_off(storage):
            return (
                f'the bag {storage} is not finished: its end, with the index, is missing, as '
                'after a power cut or a copy that stopped. Recover what is there: '
                f'mcap recover {storage} -o recovered.mcap'
            )
        remedy = f'Recover what is there: mcap recover {storage} -o recovered.mcap'
    elif ending == '.db3':
        remedy = f'Recover what is there: sqlite3 {storage} .recover | sqlite3 recovered.db3'
    else:
        remedy = f'If the recording was cut off, run: rosbag reindex {storage}'
    return f'the bag {storage} cannot be read: {brief(error)}. {remedy}'


def _is_cut_off(mcap: Path) -> bool:
    """Whether a file begins as MCAP and does not end as such."""
    try:
        with mcap.open('rb') as file:
            begins = file.read(len(_MCAP_MAGIC)) == _MCAP_MAGIC
            file.seek(-min(len(_MCAP_MAGIC), mcap.stat().st_size), 2)
            return begins and file.read() != _MCAP_MAGIC
    except OSError:
        return False


def brief(error: Exception) -> str:
    """What an error says, on one line; its type when it says nothing."""
    return (' '.join(str(error).split()) or type(error).__name__).rstrip('.')
