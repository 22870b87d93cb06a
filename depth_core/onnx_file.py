# SPDX-License-Identifier: Apache-2.0
"""The metadata of an ONNX file, read without an ONNX library and without reading its weights.

An ONNX file is one protobuf message, ModelProto; only the fields of the outermost message are
walked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from depth_core.errors import ModelError
from depth_core.protobuf import NotProtobufError, content, fields

# Field numbers of ModelProto and StringStringEntryProto in onnx.proto.
_IR_VERSION: Final = 1
_GRAPH: Final = 7
_METADATA_PROPS: Final = 14
_ENTRY_KEY: Final = 1
_ENTRY_VALUE: Final = 2

_LARGEST_ENTRY: Final = 64 << 20

Found = TypeVar('Found')


def read_metadata(path: Path | str) -> dict[str, str]:
    """Read the metadata entries of the ONNX file at `path`.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX.
    """
    return read_model(Path(path), _walk_model)


def is_onnx(path: Path) -> bool:
    """Whether the file at `path` is an ONNX graph, whatever its name."""
    try:
        read_metadata(path)
    except ModelError:
        return False
    return True


def read_model(path: Path, walk: Callable[[BinaryIO, int], Found]) -> Found:
    """Have `walk` read the ONNX file at `path`, and say in words why it cannot.

    Args:
        path: The file.
        walk: Takes the file and its size, bytes.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX.
    """
    if not path.is_file():
        kind = 'is a folder' if path.is_dir() else 'does not exist'
        message = f'model {path} {kind}; give the path of an ONNX file.'
        raise ModelError(message)
    size = path.stat().st_size
    try:
        with path.open('rb') as file:
            return walk(file, size)
    except (NotProtobufError, UnicodeDecodeError) as error:
        message = (
            f'{path} ({size} bytes) is not a whole ONNX file: {error}. '
            'It is truncated, corrupt or something else; copy or export it again.'
        )
        raise ModelError(message) from error
    except OSError as error:
        message = f'{path} cannot be read: {error.strerror}; check its permissions.'
        raise ModelError(message) from error


def read_entry(file: BinaryIO, start: int, end: int) -> tuple[str, str]:
    """Read a StringStringEntryProto: a key and its value."""
    entry = {
        field.number: content(file, field)
        for field in fields(file, start, end)
        if field.length <= _LARGEST_ENTRY
    }
    return entry.get(_ENTRY_KEY, b'').decode(), entry.get(_ENTRY_VALUE, b'').decode()


def _walk_model(file: BinaryIO, size: int) -> dict[str, str]:
    metadata: dict[str, str] = {}
    seen = set()
    for field in fields(file, 0, size):
        seen.add(field.number)
        if field.number == _METADATA_PROPS:
            key, value = read_entry(file, field.start, field.end)
            metadata[key] = value
    if not {_IR_VERSION, _GRAPH} <= seen:
        message = 'it has no IR version or no graph'
        raise NotProtobufError(message)
    return metadata
