# SPDX-License-Identifier: Apache-2.0
"""Open a recorded bag, of ROS 2 (mcap, sqlite3) or ROS 1; any problem is a `DataError`.

A folder is read as its metadata.yaml says; without one, its only file is read, or its numbered
files together. A storage file given by name is read itself, also beside a metadata.yaml: one part
of a split bag is that part. No ROS is needed, and no torch is loaded.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from depth_core.data.bag.chunks import ChunkError, check_chunks
from depth_core.data.bag.cut_off import (
    BagReader,
    count_again,
    cut_off_parts,
    lost_of,
    nothing_left,
)
from depth_core.data.bag.definitions import refuse_large, refuse_long
from depth_core.data.bag.parsed_once import parse_once
from depth_core.data.bag.storage import (
    METADATA,
    ROS1,
    STORAGES,
    brief,
    check_metadata,
    files_of,
    not_listed,
    split_files,
    storage_of,
    unreadable,
)
from depth_core.data.bag.unlisted import UnlistedFolder, describe_as_files
from depth_core.data.bag.unpacking import bound_rosbags
from depth_core.errors import DataError, unknown_name

_IDL_SEPARATOR: Final = '=' * 80 + '\n'
_ZSTD_MAGIC: Final = b'\x28\xb5\x2f\xfd'
"""What compressed data begins with; a message of ROS 2 begins with a zero."""
_ANY_DIGEST: Final = ('', '*')
_OTHER_FORMAT: Final = 'Serialization format'
"""What the reader of folders says when any topic is not serialised as ROS 2 does."""

_LOG = logging.getLogger(__name__)


class RawMessage(NamedTuple):
    """One recorded message, as its bytes."""

    connection: Connection
    stamp_ns: int
    """When it was recorded."""
    data: bytes
    """As recorded: in ROS 2 CDR with its encapsulation header."""


class Bag:
    """A bag that is open, until `close`.

    Only the definitions of messages that are decoded are looked at: what is wrong with another
    topic, or how large its definition is, does not matter.

    Args:
        path: Bag folder, storage file (.mcap, .db3) or .bag file of ROS 1.

    Raises:
        DataError: There is no such bag, it is damaged, compressed or empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        storage = storage_of(path)
        self.ros1 = storage.suffix.lower() == ROS1
        """Whether its messages are serialised as ROS 1 does."""
        self._typestores: dict[int, Typestore] = {}
        self._reader = _opened(storage)
        together = split_files(path)
        if together:
            _LOG.warning(
                '%s has no %s; its %d files are read as one recording, by their numbers',
                *(path, METADATA, len(together)),
            )
        for left_out in not_listed(path):
            _LOG.warning(
                '%s does not list %s, which is not read; give that file by its name to read it',
                path / METADATA,
                left_out.name,
            )
        self.lost = self._lost(storage)
        """What was cut off its files, in words without the last full stop; None = nothing."""
        if self._reader.message_count == 0:
            self.close()
            message = f'the bag {path} is empty: 0 messages recorded; record it again.'
            raise DataError(message)

    def _lost(self, storage: Path) -> str | None:
        """What was cut off; the reader then states what its files still hold.

        Raises:
            DataError: Nothing is left.
        """
        if isinstance(self._reader, Reader1):
            return None
        parts = cut_off_parts(self._reader)
        if not parts:
            return None
        stated = None
        folder = self._reader.storage
        if isinstance(folder, DirectoryReader):
            if (storage / METADATA).is_file():
                stated = folder.metadata.message_count
            count_again(folder)
        if self._reader.message_count == 0:
            self.close()
            raise DataError(nothing_left(storage, parts))
        return lost_of(storage, parts, stated)

    def close(self) -> None:
        """Close it."""
        self._reader.close()

    @property
    def connections(self) -> Sequence[Connection]:
        """What was recorded: topics with their message types."""
        return self._reader.connections

    @property
    def start_ns(self) -> int:
        """When the first message was recorded."""
        return self._reader.start_time

    @property
    def duration_ns(self) -> int:
        """Time from the first message to just after the last."""
        return self._reader.duration

    def messages(
        self,
        connections: Sequence[Connection],
        *,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[RawMessage]:
        """Give the messages of `connections` in recorded order.

        Args:
            connections: Which to give; none gives nothing.
            start_ns: Only those recorded at this time or later.
            stop_ns: Only those recorded before this time.

        Raises:
            DataError: The storage is damaged; everything before the damage has been given.
        """
        if not connections:
            return
        messages = self._reader.messages(connections, start=start_ns, stop=stop_ns)
        while True:
            try:
                connection, stamp_ns, data = next(messages)
            except StopIteration:
                return
            except Exception as error:
                raise DataError(unreadable(Path(str(self._reader.path)), error)) from error
            if bytes(data[: len(_ZSTD_MAGIC)]) == _ZSTD_MAGIC and not self.ros1:
                message = (
                    f'the messages of {self.path} are compressed one by one, which only its '
                    f'{METADATA} says; give the folder that holds both.'
                )
                raise DataError(message)
            yield RawMessage(connection, stamp_ns, bytes(data))

    def decode(self, message: RawMessage) -> Any:  # noqa: ANN401  made at run time by rosbags
        """Decode the bytes of a message.

        Raises:
            DataError: Its type is unknown, or the bytes are not what its definition says.
        """
        key, msgtype = message.connection.id, message.connection.msgtype
        if key not in self._typestores:
            self._typestores[key] = self._typestore(message.connection)
        store = self._typestores[key]
        try:
            if self.ros1:
                return store.deserialize_ros1(message.data, msgtype)
            return store.deserialize_cdr(message.data, msgtype)
        except Exception as error:
            text = (
                f'the message on {message.connection.topic} of bag {self.path}, recorded at '
                f'{message.stamp_ns} ns, is no {msgtype} ({brief(error)}): it is damaged, or '
                'its definition was changed; record it with the standard messages.'
            )
            raise DataError(text) from error

    def _typestore(self, connection: Connection) -> Typestore:
        """The types to decode a topic with: the standard ones, or those that were recorded."""
        standard = _standard_types(self.ros1)
        known = connection.msgtype in standard.fielddefs
        if known and connection.digest == _digest(connection.msgtype, ros1=self.ros1):
            return standard
        try:
            recorded = _recorded_types(connection)
        except Exception as error:
            if known and connection.digest in _ANY_DIGEST:
                return standard
            message = (
                f'the definition of {connection.msgtype}, which bag {self.path} records on topic '
                f'{connection.topic}, cannot be used ({brief(error)}); record the topic with '
                'the standard messages.'
            )
            raise DataError(message) from error
        return recorded or standard


def _opened(storage: Path) -> Reader1 | BagReader:
    """Open a bag by the reader of its kind.

    Raises:
        DataError: It cannot be read.
    """
    check_metadata(storage)
    bound_rosbags()
    parse_once()
    try:
        reader = _reader(storage)
        reader.open()
        _check_parts(reader)
    except Exception as error:
        # The readers let errors of YAML, SQLite, MCAP and zstd through as they come.
        parts = [path for path in files_of(storage) if path.suffix in STORAGES]
        if storage.is_dir() and _OTHER_FORMAT in str(error) and len(parts) == 1:
            return _opened(parts[0])  # its reader lets topics of other formats be
        raise DataError(unreadable(storage, error)) from error
    if isinstance(reader, BagReader) and isinstance(reader.storage, DirectoryReader):
        if isinstance(reader.path, UnlistedFolder):
            describe_as_files(reader.storage)
        _describe_parts(reader.storage)
    return reader


def _reader(storage: Path) -> Reader1 | BagReader:
    if storage.suffix.lower() == ROS1:
        return Reader1(storage)
    files = split_files(storage)
    path: Any = UnlistedFolder(storage, files) if files else storage
    return BagReader(path)


def _check_parts(reader: Reader1 | BagReader) -> None:
    """Refuse an index that makes much of a small file, and close the reader.

    Raises:
        ChunkError: As said.
    """
    if isinstance(reader, Reader1):
        return
    folder = reader.storage
    parts = folder.storages if isinstance(folder, DirectoryReader) else [folder]
    try:
        for part in parts:
            if isinstance(part, McapReader):
                check_chunks(part.chunks)
    except ChunkError:
        reader.close()
        raise


def _describe_parts(folder: DirectoryReader) -> None:
    """Let the files of a bag folder describe their topics as its metadata does.

    `rosbags` gives no message of a topic whose quality of service or type hash the two state
    differently, as edited and converted metadata have it; name and type are enough here.
    """
    for part in folder.storages:
        for place, stored in enumerate(part.connections):
            same = [
                stated
                for stated in folder.connections
                if (stated.topic, stated.msgtype) == (stored.topic, stored.msgtype)
            ]
            if same and all(stated.ext != stored.ext for stated in same):
                stored = stored._replace(ext=same[0].ext)  # noqa: PLW2901  put back below
            part.connections[place] = stored._replace(digest='')


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a bag, and close it in the end.

    Args:
        path: As `Bag` takes it.

    Raises:
        DataError: There is no such bag, it is damaged, compressed or empty.
    """
    with contextlib.closing(Bag(path)) as bag:
        yield bag


def select_connections(bag: Bag, topics: Sequence[str]) -> list[Connection]:
    """Give the connections of `topics`, all of them when none is named.

    Raises:
        DataError: A topic is not in the bag.
    """
    recorded = sorted({connection.topic for connection in bag.connections})
    for topic in topics:
        if topic not in recorded:
            raise DataError(unknown_name('topic', topic, recorded))
    return [item for item in bag.connections if not topics or item.topic in topics]


@lru_cache(maxsize=2)
def _standard_types(ros1: bool) -> Typestore:
    # The messages of cameras, lidars and odometry are the same in every distribution.
    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)


@lru_cache(maxsize=64)
def _digest(msgtype: str, *, ros1: bool) -> str:
    store = _standard_types(ros1)
    return str(store.generate_msgdef(msgtype)[1] if ros1 else store.hash_rihs01(msgtype))


def _recorded_types(connection: Connection) -> Typestore | None:
    """The types that are recorded with a topic; None when there are none."""
    form, text = connection.msgdef
    if form is MessageDefinitionFormat.NONE or not text.strip():
        return None
    refuse_long(text)
    if form is MessageDefinitionFormat.MSG:
        types = get_types_from_msg(text, connection.msgtype)
    else:
        parts = [part.split('\n', 1)[-1] for part in text.split(_IDL_SEPARATOR)[1:]] or [text]
        types = {name: item for part in parts for name, item in get_types_from_idl(part).items()}
    refuse_large(types)
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    store.get_msgdef(connection.msgtype)
    return store
