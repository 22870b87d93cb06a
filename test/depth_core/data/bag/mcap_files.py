# SPDX-License-Identifier: Apache-2.0
"""MCAP files of several small chunks, or of none, written by the format's own description."""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rosbags.rosbag2 import storage_mcap

_LIBRARY: Final[Any] = storage_mcap

MAGIC: Final = b'\x89MCAP0\r\n'
PACKED: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    '': bytes,
    'lz4': importlib.import_module('lz4.frame').compress,
    'zstd': _LIBRARY.zstd.compress,
}


class Message(NamedTuple):
    """What is written."""

    topic: str
    kind: str
    stamp_ns: int
    data: bytes


class Layout(NamedTuple):
    """How it is written."""

    compression: str | None
    """Of the chunks; None = messages stand outside chunks."""
    per_chunk: int = 2
    """Messages of a chunk."""
    has_index: bool = True
    """Whether a chunk is followed by the places of its messages."""


def write(path: Path, messages: Sequence[Message], layout: Layout) -> list[tuple[int, int]]:
    """Write a file.

    Returns:
        Where the header, each chunk or message outside chunks, and the data end, and how many
        messages are whole there.
    """
    writer = _Writer(layout)
    if layout.compression is None:
        for message in messages:
            writer.data += writer.described(message) + _message(writer.channels, message)
            writer.note(1)
    else:
        for some in _batched(messages, layout.per_chunk):
            writer.chunk(some)
    path.write_bytes(writer.closed(messages))
    return writer.ends


class _Writer:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.data = MAGIC + _record(0x01, _text(b'ros2') + _text(b'test'))
        self.ends = [(len(self.data), 0)]
        self.channels: dict[str, int] = {}
        self.described_as: list[bytes] = []
        self.indexes: list[bytes] = []

    def described(self, message: Message) -> bytes:
        """What stands before the first message of a topic."""
        if message.topic in self.channels:
            return b''
        number = self.channels[message.topic] = len(self.channels) + 1
        schema = struct.pack('<H', number) + _text(message.kind.encode()) + _text(b'') * 2
        channel = struct.pack('<HH', number, number) + _text(message.topic.encode())
        records = _record(0x03, schema)
        records += _record(0x04, channel + _text(b'cdr') + _text(b''))
        self.described_as.append(records)
        return records

    def chunk(self, messages: Sequence[Message]) -> None:
        compression = self.layout.compression or ''
        content = b''
        places: dict[int, bytes] = {}
        for message in messages:
            content += self.described(message)
            entry = struct.pack('<QQ', message.stamp_ns, len(content))
            number = self.channels[message.topic]
            places[number] = places.get(number, b'') + entry
            content += _message(self.channels, message)
        packed = PACKED[compression](content)
        times = [message.stamp_ns for message in messages]
        span = struct.pack('<QQ', min(times), max(times))
        sizes = _text(compression.encode()) + struct.pack('<Q', len(packed))
        crc = struct.pack('<QI', len(content), zlib.crc32(content))
        start = len(self.data)
        self.data += _record(0x06, span + crc + sizes + packed)
        end = len(self.data)
        self.note(len(messages))
        offsets = b''
        for number, entries in places.items() if self.layout.has_index else ():
            offsets += struct.pack('<HQ', number, len(self.data))
            self.data += _record(0x07, struct.pack('<H', number) + _text(entries))
        place = struct.pack('<QQ', start, end - start) + _text(offsets)
        place += struct.pack('<Q', len(self.data) - end)
        self.indexes.append(span + place + sizes + struct.pack('<Q', len(content)))

    def note(self, count: int) -> None:
        self.ends.append((len(self.data), count + self.ends[-1][1]))

    def closed(self, messages: Sequence[Message]) -> bytes:
        self.ends.append((len(self.data), len(messages)))
        data = self.data + _record(0x0F, bytes(4))
        summary = b''.join(self.described_as)
        summary += b''.join(_record(0x08, item) for item in self.indexes)
        times = [message.stamp_ns for message in messages]
        counts = b''.join(
            struct.pack('<HQ', number, sum(message.topic == topic for message in messages))
            for topic, number in self.channels.items()
        )
        topics = len(self.channels)
        numbers = (len(messages), topics, topics, 0, 0, len(self.indexes), min(times), max(times))
        summary += _record(0x0B, struct.pack('<QHIIIIQQ', *numbers) + _text(counts))
        return data + summary + _record(0x02, struct.pack('<QQI', len(data), 0, 0)) + MAGIC


def _batched(messages: Sequence[Message], count: int) -> list[tuple[Message, ...]]:
    return [tuple(messages[first : first + count]) for first in range(0, len(messages), count)]


def _message(channels: Mapping[str, int], message: Message) -> bytes:
    times = (message.stamp_ns, message.stamp_ns)
    head = struct.pack('<HIQQ', channels[message.topic], 0, *times)
    return _record(0x05, head + message.data)


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack('<BQ', kind, len(content)) + content


def _text(content: bytes) -> bytes:
    return struct.pack('<I', len(content)) + content
