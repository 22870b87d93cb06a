# SPDX-License-Identifier: Apache-2.0
"""Structures of numbers in the files that MATLAB 5 to 7 writes.

Format: "MAT-File Format" of MathWorks, level 5. A file is a header of 128 bytes and elements, each
a tag (type, bytes) and its data, filled up to 8 bytes; small ones have both in 8 bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import DataError

_HEADER: Final = 128
_TAG: Final = 8
_SMALL: Final = 4
"""Most bytes of an element that has its data within the tag."""
_MAX_BYTES: Final = 256 << 20
_MATRIX: Final = 14
_COMPRESSED: Final = 15
_TYPES: Final = {
    1: 'i1',
    2: 'u1',
    3: 'i2',
    4: 'u2',
    5: 'i4',
    6: 'u4',
    7: 'f4',
    9: 'f8',
    12: 'i8',
    13: 'u8',
}
_STRUCT_CLASS: Final = 2
_NUMBER_CLASSES: Final = range(6, 16)


def read_struct(path: Path, name: str) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of numbers of a structure.

    Args:
        path: The file.
        name: Of the structure.

    Raises:
        DataError: The file is missing, damaged, of another version, or has no such structure.
    """
    try:
        content, order = _checked(path.read_bytes())
        return _fields(_struct(content, name, order), order)
    except (OSError, ValueError, LookupError, TypeError, struct.error, zlib.error) as error:
        message = (
            f'{path} cannot be read as a MATLAB file with a structure {name!r} ({error}); unpack '
            'or download it again.'
        )
        raise DataError(message) from error


def _checked(content: bytes) -> tuple[bytes, str]:
    """The elements of a file, and the order of its bytes."""
    if len(content) > _MAX_BYTES:
        message = f'it has {len(content)} bytes, more than {_MAX_BYTES}'
        raise ValueError(message)
    order = {b'IM': '<', b'MI': '>'}.get(content[126:_HEADER])
    if order is None or content[:6] != b'MATLAB':
        message = 'it does not begin as a file of MATLAB 5 to 7'
        raise ValueError(message)
    return content[_HEADER:], order


def _struct(content: bytes, name: str, order: str) -> bytes:
    """The matrix of a variable."""
    for item in _elements(content, order):
        kind, element = _unpacked(item[1], order) if item[0] == _COMPRESSED else item
        if kind == _MATRIX:
            parts = list(_elements(element, order))
            if parts[2][1] == name.encode() and _class(parts[0][1], order) == _STRUCT_CLASS:
                return element
    message = 'it holds no such structure'
    raise ValueError(message)


def _unpacked(packed: bytes, order: str) -> tuple[int, bytes]:
    """The element that a compressed one holds."""
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, _MAX_BYTES)
    if unpacker.unconsumed_tail:
        message = f'it unpacks to more than {_MAX_BYTES} bytes'
        raise ValueError(message)
    return next(_elements(content, order), (0, b''))


def _fields(matrix: bytes, order: str) -> dict[str, NDArray[np.generic]]:
    """The numbers of a structure by the names of its fields; other fields are left out."""
    _, shape, _, length, names, *values = _elements(matrix, order)
    if np.prod(np.frombuffer(shape[1], f'{order}i4')) != 1:
        message = 'it holds an array of structures'
        raise ValueError(message)
    (step,) = struct.unpack(f'{order}i', length[1])
    if step < 1:
        message = 'the names of its fields have no length'
        raise ValueError(message)
    texts = [names[1][start : start + step] for start in range(0, len(names[1]), step)]
    found = {}
    for text, (_, content) in zip(texts, values, strict=True):
        array = _numbers(content, order)
        if array is not None:
            found[text.split(b'\0')[0].decode('ascii')] = array
    return found


def _numbers(matrix: bytes, order: str) -> NDArray[np.generic] | None:
    """An array of numbers; None for texts, cells and structures."""
    parts = list(_elements(matrix, order))
    if not parts or _class(parts[0][1], order) not in _NUMBER_CLASSES:
        return None
    kind, content = parts[3]
    shape = np.frombuffer(parts[1][1], f'{order}i4')
    return np.frombuffer(content, f'{order}{_TYPES[kind]}').reshape(shape, order='F')


def _class(flags: bytes, order: str) -> int:
    (first, _) = struct.unpack(f'{order}2I', flags)
    return int(first) & 0xFF


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and data of each element."""
    place = 0
    while place + _TAG <= len(content):
        first, size = struct.unpack_from(f'{order}2I', content, place)
        if first >> 16:  # the upper half is the size of a small one
            kind, size = first & 0xFFFF, first >> 16
            if size > _SMALL:
                message = f'a small element has {size} bytes'
                raise ValueError(message)
            start, following = place + _SMALL, place + _TAG
        else:
            kind, start = first, place + _TAG
            padding = 0 if kind == _COMPRESSED else -size % _TAG
            following = start + size + padding
        if start + size > len(content):
            message = 'it is truncated'
            raise ValueError(message)
        yield kind, content[start : start + size]
        place = following
