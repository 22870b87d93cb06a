# SPDX-License-Identifier: Apache-2.0
"""What compressed parts of a bag may become: `rosbags` unpacks without a bound.

Its tables of decompressors are given bounded ones, once, when bags are first opened here. A chunk
that states its size is unpacked to that size and no further.
"""

from __future__ import annotations

import bz2
import importlib
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Final, Protocol

from rosbags.rosbag1 import reader as rosbag1
from rosbags.rosbag2 import reader as rosbag2
from rosbags.rosbag2 import storage_mcap

_ROSBAG1: Final[Any] = rosbag1
_ROSBAG2: Final[Any] = rosbag2
_MCAP: Final[Any] = storage_mcap
_ZSTD: Final[Any] = _MCAP.zstd
"""Of the standard library, or what stands in for it."""

MOST_BYTES: Final = 256 << 20
"""Of a chunk or a message: the largest image takes 183 MB."""
MOST_RATIO: Final = 2000
"""Of a whole storage file and what it unpacks to; images without anything in them reach 1000."""
_STEP_BYTES: Final = 16 << 20
"""What is unpacked at a time: a bound is noticed before more than it was taken."""
_SPARE_BYTES: Final = 64 << 20
"""A small file may unpack to this, whatever its ratio."""


class UnpackingError(Exception):
    """A part of a bag becomes larger than is read."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def unused_data(self) -> bytes:
        """What stood behind it."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes of what it was given."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpack up to `max_length` bytes."""


def bound_rosbags() -> None:
    """Let `rosbags` unpack within bounds from now on, in this process."""
    lz4 = importlib.import_module('lz4.frame').LZ4FrameDecompressor  # comes with rosbags
    _MCAP.DECOMPRESSORS['zstd'] = _of_chunk(_ZSTD.ZstdDecompressor)
    _MCAP.DECOMPRESSORS['lz4'] = _of_chunk(lz4)
    _ROSBAG1.decompressors['bz2'] = _of_any_size(bz2.BZ2Decompressor)
    _ROSBAG1.decompressors['lz4'] = _of_any_size(lz4)
    # Messages that are compressed one by one, and whole files.
    one = _of_any_size(_ZSTD.ZstdDecompressor)
    _ROSBAG2.zstd = SimpleNamespace(decompress=one, open=_opened)
    _ROSBAG2.shutil = SimpleNamespace(**{**vars(shutil), 'copyfileobj': _copied})


def unpacked_chunk(data: bytes, compression: str, size: int, crc: int) -> bytes:
    """What a chunk of an MCAP file holds.

    Args:
        data: As it is in the file.
        compression: How it was packed, by the name in the file.
        size: Of what it holds, bytes.
        crc: Of what it holds; 0 = none was computed.

    Raises:
        UnpackingError: It is damaged, or packed in an unknown way.
    """
    bound_rosbags()
    try:
        content: bytes = _MCAP.DECOMPRESSORS[compression](data, size)
    except Exception as error:  # as each library comes with
        message = f'a chunk packed by {compression!r} cannot be unpacked ({error})'
        raise UnpackingError(message) from error
    if len(content) != size or crc not in {0, zlib.crc32(content)}:
        message = f'a chunk does not hold the {size} bytes that it states'
        raise UnpackingError(message)
    return content


def _of_chunk(make: Callable[[], _Decompressor]) -> Callable[[bytes, int], bytes]:
    def unpacked(data: bytes, size: int) -> bytes:
        if size > MOST_BYTES:
            message = f'a chunk of it states {size} bytes, and {MOST_BYTES} are read'
            raise UnpackingError(message)
        return _unpacked(make, data, size)

    return unpacked


def _of_any_size(make: Callable[[], _Decompressor]) -> Callable[[bytes], bytes]:
    return lambda data: _unpacked(make, data, MOST_BYTES)


def _unpacked(make: Callable[[], _Decompressor], data: bytes, most_bytes: int) -> bytes:
    """Unpack one frame after the other.

    Raises:
        UnpackingError: They become more than `most_bytes`.
    """
    parts: list[bytes] = []
    left = most_bytes
    while data:
        unpacker = make()
        given = data
        while not unpacker.eof:
            part = unpacker.decompress(given, max_length=min(left + 1, _STEP_BYTES))
            given = b''
            left -= len(part)
            parts.append(part)
            if left < 0:
                message = f'a part of it unpacks to more than the {most_bytes} bytes it may hold'
                raise UnpackingError(message)
            if not part and not unpacker.eof and unpacker.needs_input:
                message = 'a compressed part of it is cut off'
                raise UnpackingError(message)
        data = unpacker.unused_data or b''
    return b''.join(parts)


def _opened(file: BinaryIO, mode: str) -> Any:  # noqa: ANN401  a file of one of two libraries
    opened = _ZSTD.open(file, mode)
    stored_bytes = Path(file.name).stat().st_size
    opened.most_bytes = stored_bytes * MOST_RATIO + _SPARE_BYTES
    return opened


def _copied(source: Any, target: BinaryIO) -> None:  # noqa: ANN401  as above
    """Unpack a storage file into a temporary one, which the disk must have room for.

    Raises:
        UnpackingError: It becomes too large.
    """
    most_bytes = min(source.most_bytes, shutil.disk_usage(tempfile.gettempdir()).free)
    left = most_bytes
    while part := source.read(1 << 20):
        left -= len(part)
        if left < 0:
            message = f'it unpacks to more than {most_bytes} bytes, which is not done'
            raise UnpackingError(message)
        target.write(part)
