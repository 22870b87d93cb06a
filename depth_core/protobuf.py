# SPDX-License-Identifier: Apache-2.0
"""The wire format of protobuf, walked field by field without reading what is not wanted.

A message is a row of fields, each a key and a value; a value may be a message again. Large values
are stepped over, so that a file of a gigabyte costs no more than a small one. A file that was
cut short shows itself at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

_VARINT: Final = 0
_LENGTH: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Wire types, and how many bytes the fixed ones take."""

_VARINT_BYTES: Final = 10
_SIGN: Final = 1 << 63
_VALUES: Final = 1 << 64


class NotProtobufError(Exception):
    """The bytes do not follow the wire format, or end too early."""


class Field(NamedTuple):
    """One field of a message: a number, or bytes that have not been read."""

    number: int
    """Of the field, as its .proto file states it."""
    value: int
    """The number of an integer field, signed as int64 is; 0 for others."""
    start: int
    """Where the bytes begin in the file."""
    length: int
    """How many there are; 0 for integers."""

    @property
    def end(self) -> int:
        """Where the bytes end in the file."""
        return self.start + self.length


def fields(file: BinaryIO, start: int, end: int) -> Iterator[Field]:
    """Walk the fields of the message that lies from `start` to `end`.

    The position of `file` may be moved meanwhile, by reading a field or walking into it.

    Raises:
        NotProtobufError: These bytes are no message.
    """
    while start < end:
        file.seek(start)
        key = _varint(file)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value = _varint(file)
            start = file.tell()
            yield Field(number, value - _VALUES if value >= _SIGN else value, start, 0)
            continue
        length = _varint(file) if wire == _LENGTH else _FIXED.get(wire)
        if length is None or number == 0:
            message = f'unknown field at byte {start}'
            raise NotProtobufError(message)
        begin = file.tell()
        if begin + length > end:
            message = f'the field at byte {start} lacks {begin + length - end} bytes'
            raise NotProtobufError(message)
        yield Field(number, 0, begin, length)
        start = begin + length


def content(file: BinaryIO, field: Field) -> bytes:
    """Read the bytes of `field`."""
    file.seek(field.start)
    return file.read(field.length)


def packed_integers(data: bytes) -> list[int]:
    """The integers of a packed field, signed as int64 is."""
    file, found = io.BytesIO(data), []
    while file.tell() < len(data):
        value = _varint(file)
        found.append(value - _VALUES if value >= _SIGN else value)
    return found


def head(number: int, length: int) -> bytes:
    """What stands before the `length` bytes of field `number`."""
    return varint(number << 3 | _LENGTH) + varint(length)


def varint(number: int) -> bytes:
    """Write a number that is not negative."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def _varint(file: BinaryIO) -> int:
    value = 0
    for position in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            message = 'it ends inside a number'
            raise NotProtobufError(message)
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:  # noqa: PLR2004  the high bit says that another byte follows
            return value
    message = 'a number has more than ten bytes'
    raise NotProtobufError(message)
