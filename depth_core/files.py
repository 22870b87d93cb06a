# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from depth_core.errors import DepthError


@contextlib.contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; sync and rename it to `path` on a clean exit.

    Whatever goes wrong inside the block, `path` keeps its former content (or stays absent) and
    the temporary file is removed.

    Args:
        path: The final name. Missing parent folders are made.

    Yields:
        The temporary path to write to, on the same file system, with the suffix of `path`.

    Raises:
        DepthError: The folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.stem}.', suffix=path.suffix
        )
        os.close(descriptor)
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open('rb+') as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` through `replaced_atomically`."""
    with replaced_atomically(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f'cannot write {path}: {error.strerror or error}. '
        'The former file, if any, is untouched; free space or choose another folder.'
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
