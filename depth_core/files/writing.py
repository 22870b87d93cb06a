# SPDX-License-Identifier: Apache-2.0
"""Writing files and folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from depth_core.errors import ConfigError, DepthError
from depth_core.files.unfinished import FORMER, unfinished_folder

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CANNOT_EXCHANGE: Final = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}

_KINDS: Final = {
    stat.S_IFREG: 'a file',
    stat.S_IFDIR: 'a folder',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
    stat.S_IFIFO: 'a pipe',
    stat.S_IFSOCK: 'a socket',
}


@contextlib.contextmanager
def replaced_atomically(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary name on the file system of `path`; rename it to `path` on a clean exit.

    Whatever goes wrong inside the block, `path` keeps its former content (or stays absent) and
    the temporary file is removed. File and name are on the disk before the block is left.

    Args:
        path: The final name. Missing parent folders are made; of a symbolic link, the file that
            it names is written.
        mode: Permissions of the file; None takes what the process gives new files.

    Yields:
        The path of an empty file to write to, with the name of `path`.

    Raises:
        DepthError: The folder cannot be made or written, the disk is full, or `path` is a folder
            or a device.
    """
    target = _target(path, stat.S_IFREG)
    with _written(path), unfinished_folder(target.parent, target.name) as folder:
        temporary = folder / target.name
        temporary.touch(0o600)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask() if mode is None else mode)
        temporary.replace(target)
        sync_folder(target.parent)


@contextlib.contextmanager
def replaced_together(path: Path, *, after: Collection[str] = ()) -> Iterator[Path]:
    """Give a temporary folder beside `path`; move what is in it there on a clean exit.

    For a file that others belong to and that names them: they are in their place before it is.
    A process that is killed between two of these moves leaves the former file of that name.

    Args:
        path: Where the file of this name in the folder goes to. Missing parent folders are made;
            a file whose name is a symbolic link there goes to what it names.
        after: Names of copies of what is in that file, which are moved after it: one of them
            beside the former file would be taken for its own.

    Yields:
        The folder, on the same file system; files in it have their final names.

    Raises:
        DepthError: The folder cannot be made or written, the disk is full, or the name of a file
            is that of a folder or a device.
    """
    _target(path, stat.S_IFREG)
    with _written(path), unfinished_folder(path.parent, path.name) as folder:
        yield folder
        files = sorted(
            folder.iterdir(),
            key=lambda file: (file.name in after, file.name == path.name, file.name),
        )
        targets = [_target(path.with_name(file.name), stat.S_IFREG) for file in files]
        for file in files:
            _sync(file)
        for file, target in zip(files, targets, strict=True):
            if target.parent == path.parent:
                file.replace(target)
            else:
                with replaced_atomically(target) as temporary:
                    shutil.copyfile(file, temporary)
        sync_folder(path.parent)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder; on a clean exit it and the former `path` change places.

    There is a folder of that name at every moment if there was one before, except on file systems
    that cannot exchange names: a process killed between two renames leaves the former one hidden
    there, and the next that writes beside it puts it back.

    Args:
        path: The final name; a symbolic link is followed. What is there is removed.

    Yields:
        An empty folder.

    Raises:
        DepthError: It cannot be made or written, the disk is full, or `path` is no folder; what
            was there is untouched.
    """
    target = _target(path, stat.S_IFDIR)
    with _written(path), unfinished_folder(target.parent, target.name) as unfinished:
        fresh = unfinished / target.name
        fresh.mkdir()
        yield fresh
        for file in fresh.rglob('*'):
            (sync_folder if file.is_dir() else _sync)(file)
        sync_folder(fresh)
        if not target.exists():
            fresh.rename(target)
        elif not _exchanged(fresh, target):
            former = unfinished / FORMER
            former.mkdir()
            target.rename(former / target.name)
            try:
                fresh.rename(target)
            except OSError:
                (former / target.name).rename(target)
                raise
        sync_folder(target.parent)


def check_writable(path: Path) -> None:
    """See, before any work, that a folder can be made at `path`; sweep what killed ones left.

    Raises:
        DepthError: Its parent cannot be made or written, or `path` is no folder.
    """
    target = _target(path, stat.S_IFDIR)
    with _written(path), unfinished_folder(target.parent, target.name):
        pass


def check_file_writable(path: Path) -> None:
    """See, before any work, that a file can be written at `path`.

    Raises:
        DepthError: Its folder cannot be made or written, or `path` is a folder or a device.
    """
    target = _target(path, stat.S_IFREG)
    with _written(path), unfinished_folder(target.parent, target.name):
        pass


def check_absent(path: Path) -> None:
    """Refuse, before any work, an `--output` that is to become a folder and cannot.

    Raises:
        ConfigError: It exists, or cannot be made where it is.
    """
    parent = path.absolute().parent
    if path.exists():
        problem = 'exists'
    elif not parent.is_dir():
        problem = 'is in a folder that does not exist'
    elif not os.access(parent, os.W_OK):
        problem = 'is in a folder that cannot be written to'
    else:
        return
    message = f'--output {path} {problem}; name a new folder in one that exists.'
    raise ConfigError(message)


def write_text_atomically(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write UTF-8 `text` to `path` through `replaced_atomically`.

    Bytes of file names that are no text are written escaped, as JSON and YAML take them.
    """
    with replaced_atomically(path, mode=mode) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where its file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _target(path: Path, kind: int) -> Path:
    """What `path` names once links are followed, which is of a kind or not there.

    Raises:
        DepthError: It is something else, or links lead in a circle.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        found = stat.S_IFMT(target.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return target
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error
    if found != kind:
        message = (
            f'cannot write {path}: it is {_KINDS[found]}; what is written takes the place of '
            f'what has its name: give the name of {_KINDS[kind]}, or a new one.'
        )
        raise DepthError(message)
    return target


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DepthError(_cannot_write(path, error)) from error


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f'cannot write {path}: {error.strerror or error}. '
        'What was there before, if anything, is untouched; free space or choose another folder.'
    )


def _exchanged(one: Path, other: Path) -> bool:
    """Let two names change places at once; False where the file system cannot.

    Raises:
        OSError: It can, and does not.
    """
    if sys.platform != 'linux' or not hasattr(_LIBC, 'renameat2'):
        return False
    names = os.fsencode(one), os.fsencode(other)
    if _LIBC.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _sync(file: Path) -> None:
    with file.open('rb+') as opened:
        os.fsync(opened.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
