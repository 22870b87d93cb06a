# SPDX-License-Identifier: Apache-2.0
"""The images and videos that a command is given, and the names of what it makes of each."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from depth_core.errors import ConfigError, DataError
from depth_core.files import is_hidden
from depth_core.images import IMAGE_SUFFIXES
from depth_core.runtime.video_file import VIDEO_SUFFIXES

_SUFFIXES: Final = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
_LONGEST_STEM: Final = 200
"""Bytes; file systems take names of 255, and results have endings of their own."""


def find_sources(inputs: Iterable[Path], output: Path) -> dict[Path, str]:
    """List the files to predict, each with the name its results begin with.

    Args:
        inputs: Images, videos, and folders of them.
        output: Where results go.

    Raises:
        ConfigError: The output is an input folder.
        DataError: An input is missing, neither image nor video, or an empty folder.
    """
    sources: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            found = _files_of(given, output)
        elif not given.is_file():
            found_as = 'is no file or folder' if given.exists() else 'does not exist'
            message = f'input {given} {found_as}; give images, videos or folders of them.'
            raise DataError(message)
        elif given.suffix.lower() not in _SUFFIXES:
            message = (
                f'input {given} is no image or video by its ending; known are '
                f'{" ".join(_SUFFIXES)}.'
            )
            raise DataError(message)
        else:
            found = [given]
        for path in found:
            sources.setdefault(_absolute(path), path)  # once, however often it was given
    paths = list(sources.values())
    return dict(zip(paths, result_names(paths), strict=True))


def result_names(sources: Sequence[Path]) -> list[str]:
    """Name the results of each file so that no two are the same on any file system.

    The stem of the file; where several share it `stem_ending` (IMG_1_jpg and IMG_1_mov), where
    that is taken too `folder_stem_ending`, and else numbers after it. Long stems are cut, so that
    the endings of results have room.

    Args:
        sources: The files.

    Returns:
        A name for each.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    ways: tuple[Callable[[Path], str], ...] = (
        lambda path: _shortened(path.stem),
        lambda path: f'{_shortened(path.stem)}_{path.suffix[1:]}',
        lambda path: (
            _shortened(f'{_absolute(path).parent.name}_{path.stem}') + f'_{path.suffix[1:]}'
        ),
    )
    for candidates in ways:
        left = {path: candidates(path) for path in sources if path not in names}
        uses = Counter(map(_folded, left.values()))
        names |= {
            path: name
            for path, name in left.items()
            if uses[_folded(name)] == 1 and _folded(name) not in taken
        }
        taken = {_folded(name) for name in names.values()}
    for path in sources:
        if path not in names:
            start = f'{_shortened(path.stem)}_{path.suffix[1:]}'
            numbered = (f'{start}_{number}' for number in itertools.count(1))
            names[path] = next(name for name in numbered if _folded(name) not in taken)
            taken.add(_folded(names[path]))
    return [names[path] for path in sources]


def _absolute(path: Path) -> Path:
    """The path without detours; links stay, for what they are called is what is predicted."""
    return Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow links


def _shortened(stem: str) -> str:
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    return stem


def _folded(name: str) -> str:
    """What two names must differ in where a file system ignores case or composition."""
    return unicodedata.normalize('NFC', name).casefold()


def _files_of(folder: Path, output: Path) -> list[Path]:
    if output.resolve() == folder.resolve():
        message = f'output {output} is the input folder; give another, so that none is read again.'
        raise ConfigError(message)
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        message = f'folder {folder} cannot be read: {error.strerror}; check its permissions.'
        raise DataError(message) from error
    found = [
        path
        for path in inside
        if path.suffix.lower() in _SUFFIXES and not is_hidden(path) and path.is_file()
    ]
    if not found:
        message = f'folder {folder} holds no image or video; its subfolders are not looked into.'
        raise DataError(message)
    return found
