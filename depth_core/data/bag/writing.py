# SPDX-License-Identifier: Apache-2.0
"""Write a rosbag2 in parts, so that an interrupted writer goes on where the last part ended.

Parts are complete bags in the folder `<bag>.partial`, each readable by itself. In the end they
become the storage files of one bag, under one metadata.yaml, as `ros2 bag record` splits one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from depth_core.data.bag.storage import METADATA
from depth_core.errors import ConfigError, DataError
from depth_core.files import (
    check_absent,
    sync_folder,
    unfinished_folder,
    write_text_atomically,
)

STORAGES: Final[Mapping[str, StoragePlugin]] = {
    'mcap': StoragePlugin.MCAP,
    'sqlite3': StoragePlugin.SQLITE3,
}
"""How a bag can be stored."""

_LOADER: Final = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_VERSION: Final = 9
_INFORMATION: Final = 'rosbag2_bagfile_information'
_IDENTITY: Final = 'written_from'
_NEXT: Final = 'next'
_FOREVER: Final = QosTime(sec=0x7FFFFFFF, nsec=0xFFFFFFFF)


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """The messages that are written: the same in every distribution of ROS 2."""
    return get_typestore(Stores.ROS2_HUMBLE)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic of a bag."""

    name: str
    msgtype: str
    latched: bool = False
    """Whether a late subscriber gets the last message, as of /tf_static."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A message to write."""

    topic: str
    stamp_ns: int
    data: bytes | memoryview
    """As CDR."""


class PartWriter:
    """Writes the parts of one bag.

    Args:
        path: Folder of the bag, which must not exist; it appears when the bag is finished.
        topics: All its topics.
        storage: A key of `STORAGES`.
        identity: What the bag is made from and how: only the same goes on.

    Raises:
        ConfigError: The bag exists, cannot be made, or parts of another bag are in the way.
    """

    def __init__(
        self, path: Path, topics: Sequence[Topic], *, storage: str, identity: str
    ) -> None:
        self.path = path
        self.partial = path.with_name(f'{path.name}.partial')
        self._topics = topics
        self._storage = STORAGES[storage]
        self._identity = identity
        check_absent(path)
        self._merged = (self.partial / METADATA).is_file()
        self._parts = self._complete_parts()
        self.next = int(self._parts[-1][1]['custom_data'][_NEXT]) if self._parts else 0
        """The first event that is not written yet."""

    @contextmanager
    def part(self) -> Iterator[Part]:
        """Write the next part; it appears once the block has ended without an error.

        Yields:
            The part, whose `next` the block sets to the first event that is not in it.

        Raises:
            DataError: The disk is full or the folder cannot be written.
        """
        folder = self.partial / f'{self.path.name}_{len(self._parts)}'
        try:
            with unfinished_folder(self.partial, folder.name) as unfinished:
                fresh = unfinished / folder.name
                writer = Writer(fresh, version=_VERSION, storage_plugin=self._storage)
                writer.set_custom_data(_IDENTITY, self._identity)
                with writer:
                    part = Part(writer, self._topics, start=self.next)
                    yield part
                    writer.set_custom_data(_NEXT, str(part.next))
                for file in fresh.iterdir():
                    _sync(file)
                sync_folder(fresh)
                shutil.rmtree(folder, ignore_errors=True)
                fresh.rename(folder)
                sync_folder(self.partial)
        except OSError as error:
            message = (
                f'cannot write {folder}: {error.strerror or error}; what is complete stays in '
                f'{self.partial}: free space and run the command again to go on.'
            )
            raise DataError(message) from error
        self._parts.append((folder, _information(folder)))
        self.next = part.next

    def finish(self) -> None:
        """Make one bag of the parts.

        Raises:
            DataError: The folder cannot be written.
        """
        try:
            if not self._merged:
                for folder, part in self._parts:
                    (name,) = part['relative_file_paths']
                    if (folder / name).exists():  # it was moved before an interruption
                        (folder / name).replace(self.partial / name)
                text = yaml.safe_dump({_INFORMATION: _merged([part for _, part in self._parts])})
                write_text_atomically(self.partial / METADATA, text)
            for folder in self.partial.iterdir():
                if folder.is_dir():
                    shutil.rmtree(folder)
            self.partial.rename(self.path)
        except OSError as error:
            message = (
                f'cannot finish {self.path}: {error.strerror or error}; its parts are in '
                f'{self.partial}.'
            )
            raise DataError(message) from error

    def _complete_parts(self) -> list[tuple[Path, dict[str, Any]]]:
        """The parts that are complete; of a bag that lacks its name only, the bag itself."""
        parts: list[tuple[Path, dict[str, Any]]] = []
        while not parts or not self._merged:
            folder = self.partial / f'{self.path.name}_{len(parts)}'
            if self._merged:
                folder = self.partial
            if not (folder / METADATA).is_file():
                break
            part = _information(folder)
            if (part.get('custom_data') or {}).get(_IDENTITY) != self._identity:
                message = (
                    f'{self.partial} holds the beginning of a bag of another source or with other '
                    'options; repeat the command as it was to go on, or remove that folder to '
                    'begin anew.'
                )
                raise ConfigError(message)
            parts.append((folder, part))
        return parts


class Part:
    """A part that is being written.

    Args:
        writer: Of the library, open.
        topics: All topics of the bag.
        start: The first event of this part.
    """

    def __init__(self, writer: Writer, topics: Sequence[Topic], *, start: int) -> None:
        self._writer = writer
        self.next = start
        """The first event that is not in it."""
        self.size_bytes = 0
        """Of the messages written to it."""
        self._connections = {
            topic.name: writer.add_connection(
                topic.name,
                topic.msgtype,
                typestore=message_types(),
                offered_qos_profiles=[_qos(topic)],
            )
            for topic in topics
        }

    def write(self, record: Record) -> None:
        """Write one message; its time of recording is its stamp."""
        self._writer.write(self._connections[record.topic], record.stamp_ns, record.data)
        self.size_bytes += len(record.data)


def _qos(topic: Topic) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if topic.latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if topic.latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


def _information(folder: Path) -> dict[str, Any]:
    """What the metadata of a part says.

    Raises:
        DataError: It cannot be read.
    """
    path = folder / METADATA
    try:
        information: dict[str, Any] = yaml.load(path.read_text('utf-8'), _LOADER)[_INFORMATION]  # noqa: S506  it is a safe one
    except (OSError, UnicodeError, yaml.YAMLError, TypeError, KeyError) as error:
        message = f'{path} cannot be read ({error}); remove {folder} to write that part again.'
        raise DataError(message) from error
    return information


def _merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metadata of a bag that has the storage files of all parts."""
    starts = [part['starting_time']['nanoseconds_since_epoch'] for part in parts]
    ends = [
        start + part['duration']['nanoseconds'] for start, part in zip(starts, parts, strict=True)
    ]
    counts: dict[str, int] = {}
    for part in parts:
        for topic in part['topics_with_message_count']:
            name = topic['topic_metadata']['name']
            counts[name] = counts.get(name, 0) + topic['message_count']
    return {
        **parts[0],
        'relative_file_paths': [name for part in parts for name in part['relative_file_paths']],
        'starting_time': {'nanoseconds_since_epoch': min(starts)},
        'duration': {'nanoseconds': max(ends) - min(starts)},
        'message_count': sum(part['message_count'] for part in parts),
        'topics_with_message_count': [
            {**topic, 'message_count': counts[topic['topic_metadata']['name']]}
            for topic in parts[0]['topics_with_message_count']
        ],
        'files': [file for part in parts for file in part['files']],
        'custom_data': parts[-1]['custom_data'],
    }


def _sync(path: Path) -> None:
    with path.open('rb') as file:
        os.fsync(file.fileno())
