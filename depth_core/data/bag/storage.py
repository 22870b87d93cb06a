# SPDX-License-Identifier: Apache-2.0
"""The files of bags: which one to read, and what helps when one cannot be read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from depth_core.data.bag.mcap_index import MAGIC
from depth_core.documents import DocumentError
from depth_core.errors import DataError
from depth_core.files import read_text, visible_paths
from depth_core.yaml_text import check_yaml

STORAGES: Final = ('.mcap', '.db3')
"""Endings of the storage files of ROS 2."""

ROS1: Final = '.bag'
"""Ending of the bags of ROS 1."""

METADATA: Final = 'metadata.yaml'
"""The file of a bag folder that says which storage files belong to it."""

_COMPRESSED: Final = '.zstd'
_UNFINISHED: Final = '.active'
_OF_BAGS: Final = (*STORAGES, ROS1, _COMPRESSED, _UNFINISHED, '.yaml')
_NUMBERED: Final = re.compile(r'(.+)_(\d+)\.(mcap|db3)')
"""The files of a split recording."""


def storage_of(path: Path) -> Path:
    """The folder or file to read when `path` is asked for.

    Raises:
        DataError: There is none, or it has to be treated first.
    """
    if not path.is_file() and not path.is_dir():  # a pipe would be waited for
        message = (
            f'there is no bag {path}; give a rosbag2 folder, one of its .mcap or .db3 files, or a '
            '.bag file of ROS 1.'
        )
        raise DataError(message)
    if path.is_dir():
        if not (path / METADATA).is_file() and not split_files(path):
            return _only_storage(path)
        for part in files_of(path):
            _check_journal(part)
        return path
    _check_file(path)
    return path


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of a bag: the file itself, or those of its folder."""
    if not path.is_dir():
        return (path,)
    return tuple(
        item for item in visible_paths(path) if item.suffix.lower() in _OF_BAGS and item.is_file()
    )


def not_listed(path: Path) -> tuple[Path, ...]:
    """The storage files of a bag folder that its metadata does not name; as after a power cut."""
    metadata = path / METADATA
    if not metadata.is_file():
        return ()
    text = metadata.read_text(encoding='utf-8', errors='replace')
    return tuple(
        item for item in files_of(path) if item.suffix in STORAGES and item.name not in text
    )


def split_files(path: Path) -> tuple[Path, ...]:
    """The files of a folder without metadata that are numbered as one recording; else none."""
    if not path.is_dir() or (path / METADATA).is_file():
        return ()
    files = [item for item in files_of(path) if item.suffix in STORAGES]
    found = [_NUMBERED.fullmatch(item.name) for item in files]
    numbers = [-1 if item is None else int(item[2]) for item in found]
    names = {item and (item[1], item[3]) for item in found}
    if len(files) == 1 or len(names) != 1 or sorted(numbers) != list(range(len(files))):
        return ()
    return tuple(file for _, file in sorted(zip(numbers, files, strict=True)))


def check_metadata(path: Path) -> None:
    """Refuse the metadata of a bag folder that another parser would not come to the end of.

    Raises:
        DataError: It nests too deeply, or its aliases stand for too many values.
    """
    metadata = path / METADATA
    if not metadata.is_file():
        return
    try:
        check_yaml(read_text(metadata))
    except (DocumentError, OSError, UnicodeError) as error:
        raise DataError(unreadable(path, error)) from error


def _only_storage(folder: Path) -> Path:
    """The storage file of a folder without metadata, as a power cut leaves it."""
    files = files_of(folder)
    storages = [path for path in files if path.suffix in STORAGES]
    bags = [path for path in files if path.suffix.lower() == ROS1]
    if len(storages or bags) > 1:
        names = ', '.join(path.name for path in storages or bags)
        remedy = f', or run: ros2 bag reindex {folder}' if storages else '.'
        message = (
            f'{folder} has no {METADATA} to say what belongs together of {names}; give one of '
            f'these files{remedy}'
        )
        raise DataError(message)
    if not storages and not bags:
        for path in files:
            if path.suffix in {_COMPRESSED, _UNFINISHED}:
                _check_file(path)
        message = (
            f'{folder} is not a bag: it has neither {METADATA} nor a .mcap or .db3 file; give the '
            'folder that ros2 bag record made, or a .bag file of ROS 1.'
        )
        raise DataError(message)
    (only,) = storages or bags
    _check_file(only)
    return only


def _check_file(path: Path) -> None:
    """Refuse a file that has to be treated before it can be read.

    Raises:
        DataError: It is compressed, unfinished, or no storage by its ending.
    """
    ending = path.suffix.lower()
    _check_journal(path)
    if ending == _COMPRESSED:
        inside = path.with_suffix('')
        remedy = f'decompress it (zstd -d {path}) and give {inside}'
        if (path.parent / METADATA).is_file():
            remedy = f'give its folder {path.parent}, whose {METADATA} says so, or {remedy}'
        message = f'the storage file {path} is compressed; {remedy}.'
    elif ending == _UNFINISHED:
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
    else:
        return
    raise DataError(message)


def _check_journal(path: Path) -> None:
    """Refuse a .db3 of which SQLite has written something beside it and not yet into it.

    Raises:
        DataError: As said; a reader of the file alone would miss it.
    """
    for kind in ('wal', 'journal'):
        journal = path.with_name(f'{path.name}-{kind}')
        if path.suffix == '.db3' and journal.is_file() and journal.stat().st_size:
            message = (
                f'messages of {path} are still in {journal.name}, as a power cut leaves them; '
                f'move them into the bag: sqlite3 {path} "PRAGMA wal_checkpoint(TRUNCATE)"'
            )
            raise DataError(message)


def unreadable(storage: Path, error: Exception) -> str:
    """Say why a bag cannot be read, and what helps a bag of its kind."""
    if not storage.is_dir():
        return f'the bag {storage} {_problem_of_file(storage, error)}'
    parts = [path for path in files_of(storage) if path.suffix in STORAGES]
    broken = next((path for path in parts if path.name in str(error) or _is_broken(path)), None)
    if broken is not None:
        return f'the part {broken.name} of bag {storage} {_problem_of_file(broken, error)}'
    give = f', or give its storage file: {parts[0]}' if parts else ''
    return (
        f'the bag {storage} cannot be read: {brief(error)}. If its {METADATA} is wrong, run: '
        f'ros2 bag reindex {storage}{give}'
    )


def _problem_of_file(path: Path, error: Exception) -> str:
    """Say why a storage file cannot be read, as the end of a sentence about it."""
    ending = path.suffix.lower()
    if not os.access(path, os.R_OK):
        return 'cannot be read: permission denied; give yourself the right to read it.'
    if path.stat().st_size == 0:
        return 'is empty (0 bytes): nothing was written; record it again.'
    if ending == ROS1:
        remedy = f'If the recording was cut off, run: rosbag reindex {path}'
    elif ending == '.db3':
        remedy = f'Recover what is there: sqlite3 {path} .recover | sqlite3 recovered.db3'
    elif isinstance(error, KeyError):
        return (
            f'has a topic of encoding {error}, and ROS 2 has ros2msg and ros2idl; leave it out: '
            f'mcap filter {path} -o filtered.mcap'
        )
    elif not _begins_as_mcap(path):
        return 'is no MCAP file by its content; give the file that ros2 bag record wrote.'
    else:
        remedy = f'Recover what is there: mcap recover {path} -o recovered.mcap'
    return f'cannot be read: {brief(error)}. {remedy}'


def _is_broken(path: Path) -> bool:
    """Whether a file that is named as MCAP does not begin as such."""
    if path.suffix != '.mcap' or not os.access(path, os.R_OK):
        return False
    return not _begins_as_mcap(path)


def _begins_as_mcap(path: Path) -> bool:
    with path.open('rb') as file:
        return file.read(len(MAGIC)) == MAGIC


def brief(error: Exception) -> str:
    """What an error says, on one line; its type when it says nothing."""
    return (' '.join(str(error).split()) or type(error).__name__).rstrip('.')
