# SPDX-License-Identifier: Apache-2.0
"""What is there: text as any system writes it, states of files, which are the user's own."""

from __future__ import annotations

import codecs
import contextlib
import errno
import gzip
import hashlib
import io
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from depth_core.errors import DataError

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
"""The mark a text may begin with, and its encoding; UTF-32 first, for UTF-16 begins like it."""

_MOST_TEXT: Final = 64 << 20
"""Bytes of a text file: lists, calibrations, tracks and settings."""

_DESCRIPTORS: Final = (Path('/dev/fd'), Path('/proc/self/fd'))

_CHUNK: Final = 1 << 22
"""Bytes that are hashed at once."""

_SYSTEM_FILES: Final = {'thumbs.db', 'desktop.ini', '__macosx'}
"""Files and folders that systems put beside a user's, lower case; all others begin with a dot."""


class _RefusedError(OSError):
    """A file could be read and is not; says why in words, without the number of an error."""

    def __str__(self) -> str:
        return str(self.strerror)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in the encoding that its byte order mark states.

    Raises:
        OSError: As `read_whole`.
        UnicodeError: It is not text in that encoding.
    """
    return decode_text(read_whole(path))


def read_whole(path: Path, most_bytes: int = _MOST_TEXT) -> bytes:
    """Read a file at once, up to a size; one that has no end is not waited for.

    Raises:
        OSError: It cannot be read, is a device or a named pipe, or is larger than `most_bytes`.
    """
    mode = path.stat().st_mode
    of_shell = path.parent in _DESCRIPTORS  # as <(command) gives it
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or (stat.S_ISFIFO(mode) and not of_shell):
        raise _RefusedError(errno.EINVAL, 'it is a device or a named pipe, and not a file')
    with path.open('rb') as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        found = f'it has more than {most_bytes} bytes'
        raise _too_large(found)
    return content


def gunzipped(content: bytes, most_bytes: int) -> bytes:
    """Unpack gzip, of one part or several, up to a size.

    Raises:
        OSError: It is no gzip, or becomes larger than `most_bytes`.
        EOFError: Its end is missing.
        zlib.error: It is damaged.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(most_bytes + 1)
    if len(unpacked) > most_bytes:
        found = f'it unpacks to more than {most_bytes} bytes'
        raise _too_large(found)
    return unpacked


def _too_large(found: str) -> OSError:
    return _RefusedError(errno.EFBIG, f'{found}, more than any such file has')


def decode_text(content: bytes) -> str:
    """Decode a text in UTF-8, or in the encoding that its byte order mark states; drop the mark.

    Raises:
        UnicodeError: It is not text in that encoding.
    """
    marked = (name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark))
    encoding = next(marked, 'utf-8')
    if encoding == 'utf-8' and b'\0' in content:
        message = 'it has zero bytes, as UTF-16 without a byte order mark and binary files have'
        raise UnicodeError(message)
    return content.decode(encoding)


class FileState(NamedTuple):
    """What changes when the content of a file does."""

    size: int
    modified_ns: int
    changed_ns: int


def state_of(path: Path) -> FileState | None:
    """The state of a file; None when it does not exist."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def is_hidden(path: Path) -> bool:
    """Whether a file is the system's and not the user's: `._a.jpg`, `.DS_Store`, `Thumbs.db`."""
    return path.name.startswith('.') or path.name.lower() in _SYSTEM_FILES


def visible_paths(folder: Path, pattern: str = '*') -> list[Path]:
    """What matches a pattern in a folder, sorted, without hidden files and folders."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(is_hidden(Path(part)) for part in path.relative_to(folder).parts)
    )


def is_utf8(path: Path) -> bool:
    """Whether a path is UTF-8, as libraries written in C++ need it; other bytes are escaped."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def sha256_of(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open('rb', buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def read_unchanged(path: Path, since: FileState | None = None) -> Iterator[None]:
    """Refuse a file that is written or replaced while the block reads it, once or several times.

    Args:
        path: The file.
        since: Its state when it was first read, where that was before the block.

    Raises:
        DataError: Its state after the block is not that of before.
    """
    before = since or state_of(path)
    yield
    if state_of(path) != before:
        message = f'{path} was changed while it was read; run the command again.'
        raise DataError(message)
