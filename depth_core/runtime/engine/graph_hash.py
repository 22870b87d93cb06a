# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of graphs with their external data, remembered for files that take long to read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from depth_core.errors import DepthError, ModelError
from depth_core.files import sha256_of, write_text_atomically
from depth_core.runtime.engine.folder import FILE_MODE, read_private
from depth_core.runtime.onnx_reader import read_graph
from depth_core.runtime.weights_beside import weights_file

_WORTH_REMEMBERING: Final = 64 << 20
"""Hashing less takes under a tenth of a second on the slowest machines meant, so that it is done
each time."""
_QUIET_NS: Final = 2_000_000_000
"""A file that was changed less than this ago could change again within one step of its times."""
_REMEMBERED: Final = 64

_logger = logging.getLogger(__name__)


class _Content(NamedTuple):
    """What was read of a file while it was in some state."""

    state: tuple[int, ...]
    """Device, inode, size and both times."""
    sha256: str
    external: tuple[str, ...]
    """Files beside a graph that hold its weights."""


class GraphHashes:
    """SHA-256 of graphs; those of large files are remembered in a private folder.

    A file counts as unchanged while its device, inode, size and both times to the nanosecond are
    the same. The time of change cannot be set by programs, and nothing is remembered of a file
    that had been changed in the seconds before it was read, in which one step of the clock could
    hide a second change.

    Args:
        folder: None remembers nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / 'hashes.json'

    def of(self, path: Path) -> str:
        """SHA-256 of an ONNX file, with those of its external data where it has any.

        Raises:
            ModelError: A file is missing, cannot be read, or is no ONNX file.
        """
        graph = self._content(path, is_graph=True)
        if not graph.external:
            return graph.sha256
        files = [weights_file(path, name) for name in graph.external]
        others = [self._content(file, is_graph=False).sha256 for file in files]
        return hashlib.sha256('\n'.join([graph.sha256, *others]).encode()).hexdigest()

    def _content(self, path: Path, *, is_graph: bool) -> _Content:
        if not path.is_file():
            read_graph(path)  # says what is wrong with it
        try:
            state, name, remembered = _state(path), os.path.realpath(path), self._read()
            if name in remembered and remembered[name].state == state:
                return remembered[name]
            external = tuple(read_graph(path).external_files) if is_graph else ()
            content = _Content(state, sha256_of(path), external)
            _, _, size, *times = state
            is_quiet = time.time_ns() - max(times) > _QUIET_NS and _state(path) == state
            if size >= _WORTH_REMEMBERING and is_quiet:
                self._write({**remembered, name: content})
        except OSError as error:
            message = f'{path} cannot be read: {error.strerror or error}; check its permissions.'
            raise ModelError(message) from error
        return content

    def _read(self) -> dict[str, _Content]:
        if self._path is None:
            return {}
        try:
            content = json.loads(read_private(self._path))
            return {
                str(name): _Content(tuple(map(int, state)), str(digest), tuple(map(str, external)))
                for name, (state, digest, external) in content.items()
            }
        except (FileNotFoundError, DepthError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self, remembered: dict[str, _Content]) -> None:
        if self._path is None:
            return
        newest = dict(list(remembered.items())[-_REMEMBERED:])
        try:
            write_text_atomically(self._path, json.dumps(newest, indent=1), mode=FILE_MODE)
        except DepthError as error:
            _logger.debug('hashes of graphs are not remembered: %s', error)


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
