# SPDX-License-Identifier: Apache-2.0
"""A folder that nobody else may write to, and files read from it.

A plan is a program: TensorRT executes what it holds. So plans are read only from a folder that no
other user can change, by the rules of ssh for its keys: the folder, everything above it, and each
file belong to the user (or to root, above it), and nobody else may write there.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from depth_core.errors import BackendError

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_ROOT: Final = 0


class UnsafeError(BackendError):
    """A folder or a file may have been written by another user; nothing in it is trusted."""


class UnavailableError(BackendError):
    """A folder cannot be made, read or written, for instance on a full or read-only disk."""


def default_folder() -> Path:
    """Where plans are kept unless told otherwise: `depth_ros/engines` in the user's cache.

    The cache is `$XDG_CACHE_HOME`, else `$ROS_HOME` where that is set, else `~/.cache`.

    Raises:
        UnavailableError: None of these is an absolute path.
    """
    for name in ('XDG_CACHE_HOME', 'ROS_HOME'):
        value = os.environ.get(name, '')
        if os.path.isabs(value):  # noqa: PTH117  the rule for these variables: others are ignored
            return Path(value) / 'depth_ros' / 'engines'
    home = Path(os.path.expanduser('~'))  # noqa: PTH111  it raises nothing without a home
    if not home.is_absolute():
        message = (
            'this user has no home folder to keep engines in; set XDG_CACHE_HOME, or name a '
            'folder for the engine cache.'
        )
        raise UnavailableError(message)
    return home / '.cache' / 'depth_ros' / 'engines'


def private_folder(path: Path) -> Path:
    """Make the folder `path` if it is missing, and check that it is private.

    Returns:
        Its real path, without links.

    Raises:
        UnsafeError: Another user may write to it, or to a folder above it.
        UnavailableError: It cannot be made.
    """
    # Unlike those of Path, these raise nothing.
    real = Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111
    try:
        for folder in reversed(real.parents):
            _make(folder)
            _check_above(real, folder)
        _make(real)
        status = real.lstat()
    except OSError as error:
        message = (
            f'the engine cache {real} cannot be used: {error.strerror or error}; free space, or '
            'name another folder for the engine cache.'
        )
        raise UnavailableError(message) from error
    if not stat.S_ISDIR(status.st_mode):
        message = f'the engine cache {real} is not a folder; name another.'
        raise UnavailableError(message)
    complaint = whose_else(status)
    if complaint is not None:
        message = (
            f'the engine cache {real} {complaint}, but a plan is a program that TensorRT '
            f'executes, so nobody else may write it: chown {os.geteuid()} {real} && chmod 700 '
            f'{real} if you trust what is in it, or name another folder.'
        )
        raise UnsafeError(message)
    return real


def read_private(path: Path) -> bytes:
    """Read a file of a private folder, links not followed.

    Raises:
        FileNotFoundError: There is none.
        UnsafeError: It is a link or no plain file, another user may write to it or owns it.
        UnavailableError: It cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with open(os.open(path, flags), 'rb') as file:  # noqa: PTH123  of a descriptor
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                message = f'{path} is no plain file; delete it.'
                raise UnsafeError(message)
            complaint = whose_else(status)
            if complaint is not None:
                message = (
                    f'{path} {complaint}; only its owner may write a file of the engine cache: '
                    f'delete it, or chown {os.geteuid()} and chmod 600 it if you trust it.'
                )
                raise UnsafeError(message)
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            message = f'{path} is a link; files of the engine cache are not: delete it.'
            raise UnsafeError(message) from error
        message = f'{path} cannot be read: {error.strerror or error}; check it, or delete it.'
        raise UnavailableError(message) from error


def whose_else(status: os.stat_result) -> str | None:
    """Say why a file or folder is not this user's alone; None when it is."""
    if status.st_uid != os.geteuid():
        return f'belongs to user {status.st_uid}, not to user {os.geteuid()} who runs this'
    if status.st_mode & _BY_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        return f'has mode {mode:04o}, with which other users may write to it'
    return None


def _make(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def _check_above(cache: Path, folder: Path) -> None:
    """Refuse a folder above the cache in which another user could put another in its place."""
    status = folder.stat()
    mode = status.st_mode
    if status.st_uid not in (_ROOT, os.geteuid()):
        complaint = f'belongs to user {status.st_uid}'
        remedy = 'name a folder of your own'
    elif mode & stat.S_ISVTX:  # as in /tmp: entries can be replaced by their owner only
        return
    elif mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_group_of_one(status)):
        complaint = f'has mode {stat.S_IMODE(mode):04o}, with which other users may write to it'
        remedy = f'chmod go-w {folder}, or name another folder'
    else:
        return
    message = (
        f'the engine cache {cache} is in {folder}, which {complaint}: they could put another '
        f'folder in its place, and plans are programs; {remedy} for the engine cache.'
    )
    raise UnsafeError(message)


def _is_group_of_one(status: os.stat_result) -> bool:
    """Whether the group is the owner's own, which has the same number where systems make one."""
    return status.st_gid == status.st_uid
