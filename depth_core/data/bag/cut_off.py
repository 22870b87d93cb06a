# SPDX-License-Identifier: Apache-2.0
"""Recordings that were cut off, as by a power cut or a copy that stopped: what is there is read.

The readers of `rosbags` want the index that stands at the end of a file. Where it is missing, they
are given the file as it would be had the recorder closed it at the last complete record.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader

from depth_core.data.bag.mcap_index import MAGIC, FoundIndex, find_index

_KEPT: Final = 16
"""Indexes that a process keeps: a recording is opened for each of its parts."""


@dataclass(frozen=True, kw_only=True)
class CutOff:
    """A storage file that was cut off."""

    file: Path
    index: FoundIndex


class McapFile(McapReader):
    """Reads an MCAP file, of one that was cut off what is complete."""

    def __init__(self, path: Any) -> None:  # noqa: ANN401  `rosbags` names no type of its own
        super().__init__(path)
        self._file = Path(str(path))
        self.cut_off: CutOff | None = None

    def open(self) -> None:
        """Open it; the index is looked for where it is missing."""
        index = _index_of(self._file)
        if index is not None:
            self.cut_off = CutOff(file=self._file, index=index)
            self.path = cast('Any', _ClosedFile(self._file, index))
        super().open()


class BagFolder(DirectoryReader):
    """Reads a folder with a metadata.yaml, whose files may be cut off."""

    STORAGE_PLUGINS = {**DirectoryReader.STORAGE_PLUGINS, 'mcap': McapFile}  # noqa: RUF012  as there


class BagReader(Reader):
    """Reads a folder or a storage file, which may be cut off."""

    STORAGE_PLUGINS = {**Reader.STORAGE_PLUGINS, 'dir': BagFolder, '.mcap': McapFile}  # noqa: RUF012


def cut_off_parts(reader: Reader) -> Sequence[CutOff]:
    """The files of a bag that were cut off, in their order."""
    storage = reader.storage
    parts = storage.storages if isinstance(storage, DirectoryReader) else [storage]
    found = (item.cut_off for item in parts if isinstance(item, McapFile))
    return [item for item in found if item is not None]


def lost_of(path: Path, parts: Sequence[CutOff], stated: int | None) -> str:
    """Say what is missing of a bag and what is read; without the last full stop.

    Args:
        path: The bag.
        parts: Its files that were cut off, at least one.
        stated: How many messages its metadata states; None = it has none.
    """
    texts = [f'{_name(path, part)} {_said(part.index)}' for part in parts]
    if stated is not None:
        texts.append(f'metadata.yaml states {stated} messages in the whole bag')
    elif not all(part.index.has_all for part in parts):
        texts.append('how many were recorded after them is not known')
    whole = ', '.join(f'mcap recover {part.file} -o recovered.mcap' for part in parts)
    return f'{"; ".join(texts)}. What is read is written to a whole file by: {whole}'


def nothing_left(path: Path, parts: Sequence[CutOff]) -> str:
    """Say that nothing can be read of a bag whose files `parts` were cut off."""
    part = parts[-1]
    if not part.index.size:
        what = 'is empty (0 bytes): nothing was written'
    else:
        what = (
            f'is cut off: of its {part.index.size} bytes the first {part.index.complete} are '
            'complete records, with no message among them, so that nothing of it can be read'
        )
    return f'{_name(path, part)} {what}; record it again.'


def _name(path: Path, part: CutOff) -> str:
    if path.is_dir():
        return f'the part {part.file.name} of bag {path}'
    return f'the bag {part.file}'


def _said(found: FoundIndex) -> str:
    read = f'{found.messages} messages of {(found.end_ns - found.start_ns) * 1e-9:.3f} s'
    what = 'only its index is missing: all its' if found.has_all else 'its end is missing: the'
    return (
        f'is cut off, as by a power cut or a copy that stopped. Of its {found.size} bytes the '
        f'first {found.complete} are complete records; {what} {read} in them are read'
    )


def count_again(folder: DirectoryReader) -> None:
    """Let a bag folder state what its files hold, where its metadata states what they held."""
    parts = [item for part in folder.storages for item in part.connections]
    folder.connections = [
        stated._replace(
            msgcount=sum(
                item.msgcount
                for item in parts
                if (item.topic, item.msgtype, item.ext)
                == (stated.topic, stated.msgtype, stated.ext)
            )
        )
        for stated in folder.connections
    ]
    held = [part.metadata for part in folder.storages if part.metadata.message_count]
    start_ns = min((item.start_time for item in held), default=0)
    end_ns = max((item.end_time for item in held), default=0)
    folder.metadata = folder.metadata._replace(
        duration=end_ns - start_ns,
        start_time=start_ns,
        end_time=end_ns,
        message_count=sum(item.message_count for item in held),
    )


def _index_of(path: Path) -> FoundIndex | None:
    """The index of a file whose end is missing; None of one that is whole, or no MCAP file."""
    state = path.stat()
    return _found(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=_KEPT)
def _found(path: Path, size: int, _changed_ns: int) -> FoundIndex | None:
    with path.open('rb') as file:
        begin = file.read(len(MAGIC))
        if begin != MAGIC[:size]:
            return None
        file.seek(max(size - len(MAGIC), len(begin)))
        if file.read(len(MAGIC)) == MAGIC:
            return None
        return find_index(file, size)


class _ClosedFile:
    """A path to a file as it would be had it been closed at its last complete record."""

    def __init__(self, path: Path, index: FoundIndex) -> None:
        self._path = path
        self._index = index

    def __str__(self) -> str:
        return str(self._path)

    def open(self, mode: str) -> BinaryIO:
        """Open it to read; nothing is copied."""
        assert mode == 'rb'  # noqa: S101  all that its reader asks for
        return io.BufferedReader(_Joined(self._path, self._index))


class _Joined(io.RawIOBase):
    """The complete bytes of a file, and what ends them."""

    def __init__(self, path: Path, index: FoundIndex) -> None:
        super().__init__()
        self._file = path.open('rb', buffering=0)
        self._complete = index.complete
        self._ending = memoryview(index.ending)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}
        self._place = offset + begin.get(whence, self._complete + len(self._ending))
        return self._place

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  anything that can be written to
        target = memoryview(buffer).cast('B')
        if self._place < self._complete:
            self._file.seek(self._place)
            count = self._file.readinto(target[: self._complete - self._place]) or 0
        else:
            data = self._ending[self._place - self._complete :][: len(target)]
            count = len(data)
            target[:count] = data
        self._place += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
