# SPDX-License-Identifier: Apache-2.0
"""Files: text as any system writes it, hidden ones, and writing so that none is seen half."""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from depth_core.errors import DepthError

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
"""The mark a text may begin with, and its encoding; UTF-32 first, for UTF-16 begins like it."""

_SHOWN_OF_NAME: Final = 32
"""Characters of a name in that of its temporary file, which may not be longer than 255 bytes."""

_SYSTEM_FILES: Final = {'thumbs.db', 'desktop.ini', '__macosx'}
"""Files and folders that systems put beside a user's, lower case; all others begin with a dot."""


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in the encoding that its byte order mark states.

    Raises:
        OSError: The file cannot be read.
        UnicodeError: It is not text in that encoding.
    """
    return decode_text(path.read_bytes())


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


@contextlib.contextmanager
def replaced_atomically(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary name beside `path`; sync and rename it to `path` on a clean exit.

    Whatever goes wrong inside the block, `path` keeps its former content (or stays absent) and
    the temporary file is removed.

    Args:
        path: The final name. Missing parent folders are made.
        mode: Permissions of the file; None takes what the process gives new files.

    Yields:
        The temporary path to write to, on the same file system, with the suffix of `path`.

    Raises:
        DepthError: The folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.stem[:_SHOWN_OF_NAME]}.', suffix=path.suffix
        )
        os.close(descriptor)
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open('rb+') as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask() if mode is None else mode)
        temporary.replace(path)
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_together(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; move what is in it there on a clean exit.

    For a file that others belong to and that names them: they are in their place before it is.

    Args:
        path: Where the file of this name in the folder goes to, as the last one. Missing parent
            folders are made.

    Yields:
        The folder, on the same file system; files in it have their final names.

    Raises:
        DepthError: The folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.{path.stem[:_SHOWN_OF_NAME]}.'))
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    try:
        yield folder
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            with file.open('rb+') as opened:
                os.fsync(opened.fileno())
            file.replace(path.with_name(file.name))
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text_atomically(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write UTF-8 `text` to `path` through `replaced_atomically`.

    Bytes of file names that are no text are written escaped, as JSON and YAML take them.
    """
    with replaced_atomically(path, mode=mode) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f'cannot write {path}: {error.strerror or error}. '
        'The former file, if any, is untouched; free space or choose another folder.'
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
