# SPDX-License-Identifier: Apache-2.0
"""The index of an MCAP file, found again from its records: of a file whose end is missing.

Recorders write the index last, so that a power cut, or a copy that stopped, leaves none. Chunks
and messages before the cut are whole; the names of their topics stand among them. Only what the
index needs is read: of a chunk that is followed by its own index no more than its head.
Format: https://mcap.dev/spec
"""

from __future__ import annotations

import enum
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from depth_core.data.bag.unpacking import UnpackingError, unpacked_chunk

MAGIC: Final = b'\x89MCAP0\r\n'
"""What an MCAP file begins and ends with."""

_HEAD: Final = struct.Struct('<BQ')
"""Of a record: its kind and the length of its content, bytes."""
_CHUNK_HEAD: Final = struct.Struct('<QQQII')
"""First and last time of recording, size unpacked, CRC, length of the name of the compression."""
_MESSAGE_HEAD: Final = struct.Struct('<HIQQ')
"""Channel, sequence, time of recording, time of publication."""
_INDEX_HEAD: Final = struct.Struct('<HI')
"""Channel, length of its entries of 16 bytes each."""
_ID: Final = struct.Struct('<H')
_SIZE: Final = struct.Struct('<Q')
_MOST_DESCRIBED: Final = 16 << 20
"""Bytes of a schema or a channel."""
_LATEST_NS: Final = 2**63 - 1


class _Kind(enum.IntEnum):
    """Of a record."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    STATISTICS = 0x0B
    METADATA = 0x0C
    DATA_END = 0x0F


@dataclass(frozen=True, kw_only=True)
class FoundIndex:
    """What a file holds before its cut."""

    size: int
    """Of the file, bytes."""
    complete: int
    """So many bytes, from the first, are complete records."""
    has_all: bool
    """Whether everything that was recorded is there, and only the index is not."""
    messages: int
    start_ns: int
    """When the first message was recorded; 0 without any."""
    end_ns: int
    """When the last message was recorded; 0 without any."""
    ending: bytes
    """What makes a file of the complete bytes: the end of its data, the index and the footer."""


@dataclass(kw_only=True)
class _Chunk:
    """A chunk, where its parts are, and what its own index says of it."""

    start: int
    data: int
    end: int
    start_ns: int
    end_ns: int
    size: int
    """Unpacked, bytes."""
    crc: int
    compression: bytes
    counts: Counter[int] = field(default_factory=Counter)
    """Messages by channel."""
    offsets: dict[int, int] = field(default_factory=dict)
    """Where in the file the index of a channel is."""
    index_bytes: int = 0

    def add_index(self, channel: int, count: int, offset: int, end: int) -> None:
        self.counts[channel] += count
        self.offsets[channel] = offset
        self.index_bytes = end - self.end

    def replace_index(self, counts: Counter[int]) -> None:
        """Give it an index as if it stood behind the chunk: readers count by the distances."""
        self.counts, self.offsets, self.index_bytes = counts, {}, 0
        for channel, count in sorted(counts.items()):
            self.offsets[channel] = self.end + self.index_bytes
            self.index_bytes += _HEAD.size + _INDEX_HEAD.size + 16 * count


@dataclass(kw_only=True)
class _Message:
    """A message outside chunks."""

    start: int
    channel: int
    time_ns: int


class _DamagedError(Exception):
    """The chunk that begins at `start` is not what it says of itself."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


def find_index(file: BinaryIO, size: int) -> FoundIndex:
    """Find the index of a file again.

    Args:
        file: It begins with `MAGIC`, or ends within.
        size: Its length, bytes.
    """
    found = _Found(file)
    complete, has_all = _read(file, size, found)
    ending = b'' if complete else MAGIC + _record(_Kind.HEADER, _text(b'ros2') + _text(b''))
    ending += _record(_Kind.DATA_END, bytes(4))
    summary = found.summary()
    footer = struct.pack('<QQI', complete + len(ending), 0, 0)
    return FoundIndex(
        size=size,
        complete=complete,
        has_all=has_all,
        messages=found.counts.total(),
        start_ns=found.start_ns if found.counts.total() else 0,
        end_ns=found.end_ns,
        ending=ending + summary + _record(_Kind.FOOTER, footer) + MAGIC,
    )


def _read(file: BinaryIO, size: int, found: _Found) -> tuple[int, bool]:
    """Read records to the first that is not complete.

    Returns:
        So many bytes are complete, and whether the data ended before the cut.
    """
    complete = 0
    last: _Chunk | _Message | None = None
    try:
        for kind, start, end in _records(file, size):
            if kind == _Kind.MESSAGE_INDEX and isinstance(last, _Chunk):
                channel, length = _INDEX_HEAD.unpack(_at(file, start + _HEAD.size, 6))
                last.add_index(channel, length // 16, start, end)
            else:
                found.add(last)
                last = None
                if kind in {_Kind.DATA_END, _Kind.FOOTER}:
                    return start, True
                last = found.look(kind, start, end)
            complete = end
        following = _at(file, complete, min(_HEAD.size, size - complete))
        if isinstance(last, _Chunk):
            found.unpack(last)  # its content may be missing, and some of its index
        elif last is not None and following and not any(following):
            return last.start, False  # its own end may be zeros too, as a power cut leaves them
        found.add(last)
    except _DamagedError as error:
        return error.start, False
    return complete, False


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """The kind of each complete record, and where it starts and ends."""
    start = len(MAGIC)
    while start + _HEAD.size <= size:
        kind, length = _HEAD.unpack(_at(file, start, _HEAD.size))
        end = start + _HEAD.size + length
        is_too_long = kind in {_Kind.SCHEMA, _Kind.CHANNEL} and length > _MOST_DESCRIBED
        if kind == 0 or end > size or length < _LEAST.get(kind, 0) or is_too_long:
            return
        if (kind == _Kind.HEADER) != (start == len(MAGIC)):
            return
        yield kind, start, end
        start = end


_LEAST: Final[Mapping[int, int]] = {
    _Kind.SCHEMA: _ID.size,
    _Kind.CHANNEL: _ID.size,
    _Kind.MESSAGE: _MESSAGE_HEAD.size,
    _Kind.CHUNK: _CHUNK_HEAD.size + _SIZE.size,
    _Kind.MESSAGE_INDEX: _INDEX_HEAD.size,
}
"""The content that each kind has at least, bytes."""


class _Found:
    """What the index states."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.schemas: dict[int, bytes] = {}
        self.channels: dict[int, bytes] = {}
        self.chunks: list[_Chunk] = []
        self.counts: Counter[int] = Counter()
        self.others: Counter[int] = Counter()
        self.start_ns, self.end_ns = _LATEST_NS, 0

    def look(self, kind: int, start: int, end: int) -> _Chunk | _Message | None:
        """Keep what describes messages; give what counts once it is known to be complete.

        Raises:
            _DamagedError: A chunk that contradicts itself.
        """
        content = start + _HEAD.size
        if kind in {_Kind.SCHEMA, _Kind.CHANNEL}:
            self._describe(kind, _at(self._file, content, end - content))
        elif kind == _Kind.MESSAGE:
            head = _at(self._file, content, _MESSAGE_HEAD.size)
            channel, _, time_ns, _ = _MESSAGE_HEAD.unpack(head)
            return _Message(start=start, channel=channel, time_ns=time_ns)
        elif kind == _Kind.CHUNK:
            return self._chunk(start, end)
        else:
            self.others[kind] += 1
        return None

    def add(self, item: _Chunk | _Message | None) -> None:
        """Count a chunk or a message.

        Raises:
            _DamagedError: A chunk that had to be unpacked cannot be.
        """
        if isinstance(item, _Message):
            self._count(Counter([item.channel]), item.time_ns, item.time_ns)
        elif item is not None:
            described = all(item.counts[key] == 0 or key in self.channels for key in item.counts)
            if not item.counts or not described:
                self.unpack(item)
            self.chunks.append(item)
            self._count(item.counts, item.start_ns, item.end_ns)

    def unpack(self, chunk: _Chunk) -> None:
        """Take what a chunk holds from its content.

        Raises:
            _DamagedError: It cannot be unpacked, or holds something else than records.
        """
        data = _at(self._file, chunk.data, chunk.end - chunk.data)
        try:
            name = chunk.compression.decode(errors='replace')
            content = unpacked_chunk(data, name, chunk.size, chunk.crc)
        except UnpackingError as error:
            raise _DamagedError(chunk.start) from error
        counts: Counter[int] = Counter()
        place = 0
        while place < len(content):
            if place + _HEAD.size > len(content):
                raise _DamagedError(chunk.start)
            kind, length = _HEAD.unpack_from(content, place)
            start, place = place + _HEAD.size, place + _HEAD.size + length
            if kind == 0 or place > len(content) or length < _LEAST.get(kind, 0):
                raise _DamagedError(chunk.start)
            if kind == _Kind.MESSAGE:
                counts.update(_ID.unpack_from(content, start))
            elif kind in {_Kind.SCHEMA, _Kind.CHANNEL}:
                self._describe(kind, content[start:place])
        if counts != chunk.counts:
            chunk.replace_index(counts)

    def _chunk(self, start: int, end: int) -> _Chunk:
        content = start + _HEAD.size
        head = _CHUNK_HEAD.unpack(_at(self._file, content, _CHUNK_HEAD.size))
        start_ns, end_ns, size, crc, length = head
        name = content + _CHUNK_HEAD.size
        data = name + length + _SIZE.size
        sizes = _at(self._file, data - _SIZE.size, _SIZE.size) if data <= end else b''
        if sizes != _SIZE.pack(end - data):
            raise _DamagedError(start)
        return _Chunk(
            start=start, data=data, end=end, start_ns=start_ns, end_ns=end_ns, size=size, crc=crc,
            compression=_at(self._file, name, length),
        )  # fmt: skip

    def _describe(self, kind: int, content: bytes) -> None:
        known = self.schemas if kind == _Kind.SCHEMA else self.channels
        known.setdefault(_ID.unpack_from(content)[0], content)

    def _count(self, counts: Counter[int], start_ns: int, end_ns: int) -> None:
        if counts.total():
            self.counts += counts
            self.start_ns = min(self.start_ns, start_ns)
            self.end_ns = max(self.end_ns, end_ns)

    def summary(self) -> bytes:
        """The index as it stands in a file."""
        records = [_record(_Kind.SCHEMA, item) for item in self.schemas.values()]
        records += [_record(_Kind.CHANNEL, item) for item in self.channels.values()]
        records += [_record(_Kind.CHUNK_INDEX, _index_of(item)) for item in self.chunks]
        numbers = struct.pack(
            '<QHIIIIQQ',
            self.counts.total(),
            len(self.schemas),
            len(self.channels),
            self.others[_Kind.ATTACHMENT],
            self.others[_Kind.METADATA],
            len(self.chunks),
            self.start_ns if self.counts.total() else 0,
            self.end_ns,
        )
        counts = {channel: self.counts[channel] for channel in {*self.channels, *self.counts}}
        records.append(_record(_Kind.STATISTICS, numbers + _map(counts)))
        return b''.join(records)


def _index_of(chunk: _Chunk) -> bytes:
    times_and_place = (chunk.start_ns, chunk.end_ns, chunk.start, chunk.end - chunk.start)
    return b''.join(
        (
            struct.pack('<QQQQ', *times_and_place),
            _map(chunk.offsets),
            _SIZE.pack(chunk.index_bytes),
            _text(chunk.compression),
            struct.pack('<QQ', chunk.end - chunk.data, chunk.size),
        )
    )


def _record(kind: _Kind, content: bytes) -> bytes:
    return _HEAD.pack(kind, len(content)) + content


def _text(content: bytes) -> bytes:
    return struct.pack('<I', len(content)) + content


def _map(values: Mapping[int, int]) -> bytes:
    return _text(b''.join(struct.pack('<HQ', *item) for item in sorted(values.items())))


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Bytes of the file, all of which are there; the file may have been cut meanwhile.

    Raises:
        OSError: They are not.
    """
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        message = f'bytes {offset} to {offset + length} are gone'
        raise OSError(message)
    return data
