# SPDX-License-Identifier: Apache-2.0
"""Open a rosbag2 and read its raw messages; whatever is wrong with it is one `DataError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from depth_core.errors import DataError, unknown_name

STORAGES = '.mcap, .db3'


class RawMessage(NamedTuple):
    """One recorded message, as its bytes."""

    connection: Connection
    stamp_ns: int
    """When it was recorded."""
    data: bytes
    """Serialised message, CDR with its encapsulation header."""


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a bag folder, or one of its storage files, and check that it holds messages.

    Raises:
        DataError: There is no such bag, it is a ROS 1 bag, its storage is unknown, it is
            damaged or it is empty.
    """
    _check_kind(path)
    with contextlib.ExitStack() as stack:
        try:
            reader = stack.enter_context(Reader(path))
        except Exception as error:
            # The reader lets the errors of YAML, SQLite, MCAP and zstd through as they come.
            raise DataError(_unreadable(path, error)) from error
        if reader.message_count == 0:
            message = f'the bag {path} is empty: 0 messages recorded; record it again.'
            raise DataError(message)
        yield reader


def read_messages(
    reader: Reader, connections: Sequence[Connection], *, start_ns: int | None = None
) -> Iterator[RawMessage]:
    """Give the messages of `connections` recorded at or after `start_ns`, in recorded order.

    Raises:
        DataError: The storage is damaged; everything before the damage has been given.
    """
    messages = reader.messages(connections, start=start_ns)
    while True:
        try:
            connection, stamp_ns, data = next(messages)
        except StopIteration:
            return
        except Exception as error:
            raise DataError(_unreadable(Path(str(reader.path)), error)) from error
        yield RawMessage(connection, stamp_ns, bytes(data))


def select_connections(reader: Reader, topics: Sequence[str]) -> list[Connection]:
    """Give the connections of `topics`, all of them when none is named.

    Raises:
        DataError: A topic is not in the bag.
    """
    recorded = sorted({connection.topic for connection in reader.connections})
    for topic in topics:
        if topic not in recorded:
            raise DataError(unknown_name('topic', topic, recorded))
    return [
        connection for connection in reader.connections if not topics or connection.topic in topics
    ]


def _check_kind(path: Path) -> None:
    if not path.exists():
        message = f'there is no bag {path}; give a rosbag2 folder or one of {STORAGES} files.'
    elif path.suffix == '.bag' and path.is_file():
        message = (
            f'{path} is a ROS 1 bag and only rosbag2 is played; convert it: '
            f'rosbags-convert --src {path} --dst {path.with_suffix("")}'
        )
    elif path.is_dir() and not (path / 'metadata.yaml').exists():
        message = (
            f'{path} is not a rosbag2: it has no metadata.yaml; give the folder that holds it, '
            'run ros2 bag reindex on it, or give its storage file.'
        )
    elif path.is_file() and path.suffix not in ('.mcap', '.db3'):
        message = (
            f'{path} is not a rosbag2: {path.suffix or "no suffix"} is not one of {STORAGES}; '
            'give the folder of the bag.'
        )
    else:
        return
    raise DataError(message)


def _unreadable(path: Path, error: Exception) -> str:
    reason = ' '.join(str(error).split()) or type(error).__name__
    return (
        f'the bag {path} cannot be read: {reason.rstrip(".")}. The recording may be cut off or '
        'damaged; try ros2 bag reindex, or copy it again.'
    )
