# SPDX-License-Identifier: Apache-2.0
"""The metadata of an ONNX file, read without an ONNX library and without reading its weights.

An ONNX file is one protobuf message, ModelProto: a row of fields, each a key and a value. Only
the fields of the outermost message are walked, and the large ones are stepped over, so that a
file of a gigabyte costs no more than a small one. A file that was cut short shows itself at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from depth_core.errors import ModelError

# Field numbers of ModelProto and StringStringEntryProto in onnx.proto.
_IR_VERSION: Final = 1
_GRAPH: Final = 7
_METADATA_PROPS: Final = 14
_ENTRY_KEY: Final = 1
_ENTRY_VALUE: Final = 2

# Wire types of protobuf, and how many bytes the fixed ones take.
_VARINT: Final = 0
_LENGTH: Final = 2
_FIXED: Final = {1: 8, 5: 4}

_VARINT_BYTES: Final = 10
_LARGEST_ENTRY: Final = 64 << 20


class _NotProtobufError(Exception):
    """The bytes do not follow the wire format, or end too early."""


def read_metadata(path: Path | str) -> dict[str, str]:
    """Read the metadata entries of the ONNX file at `path`.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX.
    """
    path = Path(path)
    if not path.is_file():
        kind = 'is a folder' if path.is_dir() else 'does not exist'
        message = f'model {path} {kind}; give the path of an ONNX file.'
        raise ModelError(message)
    size = path.stat().st_size
    try:
        with path.open('rb') as file:
            return _walk_model(file, size)
    except (_NotProtobufError, UnicodeDecodeError) as error:
        message = (
            f'{path} ({size} bytes) is not a whole ONNX file: {error}. '
            'It is truncated, corrupt or something else; copy or export it again.'
        )
        raise ModelError(message) from error
    except OSError as error:
        message = f'{path} cannot be read: {error.strerror}; check its permissions.'
        raise ModelError(message) from error


def _walk_model(file: BinaryIO, size: int) -> dict[str, str]:
    metadata: dict[str, str] = {}
    seen = set()
    for field, content in _fields(file, size, wanted={_METADATA_PROPS}):
        seen.add(field)
        if field == _METADATA_PROPS:
            entry = dict(
                _fields(io.BytesIO(content), len(content), wanted={_ENTRY_KEY, _ENTRY_VALUE})
            )
            metadata[entry.get(_ENTRY_KEY, b'').decode()] = entry.get(_ENTRY_VALUE, b'').decode()
    if not {_IR_VERSION, _GRAPH} <= seen:
        message = 'it has no IR version or no graph'
        raise _NotProtobufError(message)
    return metadata


def _fields(file: BinaryIO, size: int, *, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Every field with its bytes, which are empty for fields that are not wanted."""
    while file.tell() < size:
        start = file.tell()
        key = _varint(file)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _varint(file)
            yield number, b''
            continue
        length = _varint(file) if wire == _LENGTH else _FIXED.get(wire)
        if length is None or number == 0:
            message = f'unknown field at byte {start}'
            raise _NotProtobufError(message)
        if file.tell() + length > size:
            missing = file.tell() + length - size
            message = f'the field at byte {start} lacks {missing} bytes'
            raise _NotProtobufError(message)
        if number in wanted and length <= _LARGEST_ENTRY:
            yield number, file.read(length)
        else:
            file.seek(length, io.SEEK_CUR)
            yield number, b''


def _varint(file: BinaryIO) -> int:
    value = 0
    for position in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            message = 'it ends inside a number'
            raise _NotProtobufError(message)
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:  # noqa: PLR2004  the high bit says that another byte follows
            return value
    message = 'a number has more than ten bytes'
    raise _NotProtobufError(message)
