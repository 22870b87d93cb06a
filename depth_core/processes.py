# SPDX-License-Identifier: Apache-2.0
"""Processes: the signals that end them, their children, and the streams they write to."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import BinaryIO, Final, TextIO, cast

from depth_core.names import printable_output

INTERRUPTED: Final = 128 + signal.SIGINT
"""Exit status of a process that was asked to end by Ctrl-C."""
UNREAD: Final = 128 + signal.SIGPIPE
"""Exit status of a process whose output nobody reads any more."""
TERMINATED: Final = 128 + signal.SIGTERM
"""Exit status of a process that was asked to end by SIGTERM."""

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to end."""

_PR_SET_PDEATHSIG: Final = 1
_CLOCK_MONOTONIC: Final = 1
_SIGEV_THREAD: Final = 2
_LIBC: Final = ctypes.CDLL(None)

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MMAP_THRESHOLD_BYTES: Final = 32 << 20
"""The largest that glibc takes."""
_TRIM_THRESHOLD_BYTES: Final = 1 << 30


class OutputError(OSError):
    """Standard output or standard error does not take what is written to it."""

    def drop(self) -> int:
        """Let what is still to be written there go nowhere; return the number of the stream."""
        descriptor = int(self.filename)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
        return descriptor


@contextlib.contextmanager
def terminated_cleanly() -> Iterator[None]:
    """Let SIGTERM end the block like an exception instead of killing the process."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        # Whoever ends a group of processes ends the children too: that is no error any more.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.exit(TERMINATED)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C, nor a SIGTERM, break into the block."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of a block, and not reach the processes it starts.

    A process inherits what is blocked, from its first moment: nothing breaks into its start, which
    would end in a traceback. It calls `begin_child` as soon as it can. For the parent the signals
    take effect after the block.
    """
    came: list[int] = []

    def keep(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    handlers = {}
    if threading.current_thread() is threading.main_thread():  # signals break into no other
        # A library's thread, which blocks nothing, may be the one that a signal is given to.
        handlers = {number: signal.signal(number, keep) for number in _ENDING}
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def begin_child(parent: int) -> None:
    """Begin a process that was started where `signals_blocked` holds.

    It ends with its parent, and when SIGTERM asks for it. Ctrl-C, which a terminal sends to both,
    is for the parent to answer.

    Args:
        parent: Process id of the parent.
    """
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def end_with_parent(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end this process when the one that started it ends, however that ends.

    Only Linux does that; elsewhere a child has to notice by itself.

    Args:
        parent: Process id of the parent; a child that comes too late ends at once.
        by: How this process is ended.
    """
    if sys.platform == 'linux':
        _LIBC.prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(1)


class _Event(ctypes.Structure):
    """`struct sigevent` of Linux, for what a thread is to do."""

    _fields_ = (
        ('value', ctypes.c_void_p),
        ('signal', ctypes.c_int),
        ('notify', ctypes.c_int),
        ('function', ctypes.c_void_p),
        ('attributes', ctypes.c_void_p),
        ('rest', ctypes.c_char * 32),
    )


def end_at_the_latest(after_s: float, status: int) -> None:
    """Have the C library end this process later, if it is still there: no Python has to run then.

    Only Linux does that.

    Args:
        after_s: From now, seconds.
        status: Its exit status then.
    """
    if sys.platform == 'linux':
        leave = ctypes.cast(_LIBC._exit, ctypes.c_void_p)  # noqa: SLF001 the name in C
        event = _Event(value=status, notify=_SIGEV_THREAD, function=leave)
        timer = ctypes.c_void_p()
        if _LIBC.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) == 0:
            once = (ctypes.c_long * 4)(0, 0, int(after_s), int(after_s % 1.0 * 1e9))
            _LIBC.timer_settime(timer, 0, once, None)


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Make glibc reuse what a freed image leaves instead of returning it to the kernel.

    Stock glibc maps each image afresh and unmaps it after use, and every page of every message
    then costs a page fault: 15 to 21 ms for a cloud of 15 MB that is otherwise read in 3 ms, a
    fifth of the time of scoring an image.
    Both thresholds are needed. Call it before the first large allocation of the process.

    Returns:
        True when both settings were taken; False where the C library is not glibc.
    """
    mallopt = getattr(_LIBC, 'mallopt', None)
    if mallopt is None:
        return False
    mapping = int(mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES))
    trimming = int(mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES))
    return mapping == trimming == 1


class _Stream(io.FileIO):
    """Standard output or standard error, whose failures can be told from those of files."""

    lost: OutputError | None = None
    """What could not be written; whoever wrote it may have passed over the error."""

    def write(self, data: object, /) -> int:
        """Write bytes; errors are an `OutputError`."""
        try:
            return super().write(data)  # type: ignore[arg-type]  # what BufferedWriter passes
        except OSError as error:
            self.lost = OutputError(error.errno, error.strerror, self.fileno())
            raise self.lost from error


class _Escaping(io.TextIOWrapper):
    """Text for a terminal, in which nothing is obeyed but line breaks and tabs."""

    def write(self, text: str, /) -> int:
        """Write `text` with everything else escaped."""
        super().write(printable_output(text))
        return len(text)

    def write_as_it_is(self, text: str) -> int:
        """Write the text of a table with its colours, whose names are escaped already."""
        return super().write(text)


class _Unescaped(io.TextIOBase):
    """The same stream for what may move the cursor and set colours."""

    def __init__(self, stream: _Escaping) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed lets it be set
        """Of the stream: it decides which frames a table gets."""
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        return self._stream.write_as_it_is(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def unescaped(stream: TextIO) -> TextIO:
    """The stream as it is without `checked_stream`'s escaping, for what escapes names itself."""
    return cast('TextIO', _Unescaped(stream)) if isinstance(stream, _Escaping) else stream


def checked_stream(stream: object, descriptor: int) -> io.TextIOWrapper:
    """A stream for `sys`: control characters, and what it cannot encode, are escaped.

    Its failures can be told from those of files.

    Args:
        stream: What `sys` has; a test may have put something else there.
        descriptor: Where it writes to. One that is closed is opened to nowhere, so that no file
            of this process gets its number.
    """
    if stream is None:
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)
        return open(os.devnull, 'w', encoding='utf-8')  # noqa: PTH123  as long as sys is
    if type(stream) is not io.TextIOWrapper or not _writes_to(stream, descriptor):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
        return stream  # type: ignore[return-value]  # what sys held
    stream.flush()
    raw = _Stream(descriptor, 'w', closefd=False)
    unbuffered = isinstance(stream.buffer, io.RawIOBase)  # as PYTHONUNBUFFERED asks for
    return _Escaping(
        cast('BinaryIO', raw) if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors='backslashreplace',
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def flush_checked(stream: TextIO) -> None:
    """Write what is still to be written.

    Raises:
        OutputError: That fails, or something failed before and nobody answered it: argparse passes
            over errors of the help it prints.
    """
    stream.flush()
    raw = getattr(getattr(stream, 'buffer', None), 'raw', None) or getattr(stream, 'buffer', None)
    if isinstance(raw, _Stream) and raw.lost is not None:
        raise raw.lost


def _writes_to(stream: io.TextIOWrapper, descriptor: int) -> bool:
    if isinstance(getattr(stream.buffer, 'raw', stream.buffer), _Stream):
        return False  # it is checked already
    try:
        return stream.fileno() == descriptor
    except OSError:
        return False
