# SPDX-License-Identifier: Apache-2.0
"""What a plan depends on, and the key made of it: another of any of these needs another plan."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

from depth_core.errors import DepthError, ModelError
from depth_core.files import write_text_atomically
from depth_core.runtime.engine.folder import FILE_MODE, read_private
from depth_core.runtime.engine.options import Flavour
from depth_core.runtime.onnx_reader import read_graph

SCHEMA: Final = 1
"""Raised when the meaning of a field changes, or the way in which graphs become plans."""

_logger = logging.getLogger(__name__)

_CHUNK: Final = 1 << 22
_WORTH_REMEMBERING: Final = 64 << 20
"""Hashing less takes under a tenth of a second on the slowest machines meant, so that it is done
each time."""
_QUIET_NS: Final = 2_000_000_000
"""A file that was changed less than this ago could change again within one step of its times."""
_REMEMBERED: Final = 64


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything that a plan depends on."""

    graph_sha256: str
    """Of the ONNX file and its external data: `graph_sha256`."""
    input_shape: tuple[int, ...]
    """Of one image, as the manifest states it."""
    max_batch: int
    precision: str
    tensorrt: str
    """Full version."""
    flavour: Flavour
    gpu: str
    """Name of the GPU."""
    compute_capability: str
    """As `8.7`."""
    multiprocessors: int
    memory_gib: int
    """Of the GPU, whole GiB: variants of one name differ by more, reservations by less."""
    platform: str
    """System and processor, as `Linux-aarch64`."""
    workspace_bytes: int | None
    tf32: bool = False
    flags: tuple[str, ...] = ()
    """Of the builder and the parser, whatever else is set, sorted."""
    schema: int = SCHEMA

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all of it, 64 hexadecimal digits."""
        return key_of(self.fields())

    def fields(self) -> dict[str, Any]:
        """All of it in the types that reading its JSON gives back."""
        fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return fields


def key_of(fields: dict[str, Any]) -> str:
    """SHA-256 over canonical JSON: sorted keys, no spaces, ASCII."""
    text = json.dumps(fields, sort_keys=True, separators=(',', ':'), allow_nan=False)
    return hashlib.sha256(text.encode('ascii')).hexdigest()


class GraphHashes:
    """SHA-256 of graphs; those of large files are remembered in a private folder.

    A file counts as unchanged while its device, inode, size and both times to the nanosecond are
    the same. The time of change cannot be set by programs, and nothing is remembered of a file
    that had been changed in the seconds before it was read, in which one step of the clock could
    hide a second change.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / 'hashes.json'

    def of(self, path: Path) -> str:
        """SHA-256 of an ONNX file, with those of its external data where it has any.

        Raises:
            ModelError: A file is missing, cannot be read, or is no ONNX file.
        """
        files = [path, *_external_files(path)]
        digests = [self._of_file(file) for file in files]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256('\n'.join(digests).encode()).hexdigest()

    def _of_file(self, path: Path) -> str:
        try:
            state = _state(path)
            if self._path is None or state[2] < _WORTH_REMEMBERING:
                return _sha256_of(path)
            name = os.path.realpath(path)
            remembered = self._read()
            if name in remembered and remembered[name][:-1] == state:
                return str(remembered[name][-1])
            digest = _sha256_of(path)
            quiet_ns = time.time_ns() - max(state[3:])
            if _state(path) == state and quiet_ns > _QUIET_NS:
                self._write({**remembered, name: [*state, digest]})
        except OSError as error:
            message = f'{path} cannot be read: {error.strerror or error}; check its permissions.'
            raise ModelError(message) from error
        return digest

    def _read(self) -> dict[str, list[Any]]:
        if self._path is None:
            return {}
        try:
            content = json.loads(read_private(self._path))
        except (FileNotFoundError, DepthError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {
            name: value
            for name, value in content.items()
            if isinstance(value, list) and len(value) == _ENTRY_LENGTH
        }

    def _write(self, remembered: dict[str, list[Any]]) -> None:
        if self._path is None:
            return
        newest = dict(list(remembered.items())[-_REMEMBERED:])
        try:
            write_text_atomically(self._path, json.dumps(newest, indent=1), mode=FILE_MODE)
        except DepthError as error:
            _logger.debug('hashes of graphs are not remembered: %s', error)


_ENTRY_LENGTH: Final = 6


def _external_files(path: Path) -> list[Path]:
    """The files beside a graph that hold its weights."""
    names = read_graph(path).external_files
    for name in names:
        parts = PurePosixPath(name).parts
        if (
            PurePosixPath(name).is_absolute()
            or '..' in parts
            or not (path.parent / name).is_file()
        ):
            message = (
                f'{path} keeps weights in {name!r}, which is no file in the folder of the graph; '
                'copy both together, or export the graph again.'
            )
            raise ModelError(message)
    return [path.parent / name for name in names]


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb', buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
