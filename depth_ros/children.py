# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive their parent, in a ROS domain of their own."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from depth_core.errors import DepthError
from depth_ros.fastdds import SHARED_MEMORY

DOMAINS: Final = range(1, 102)
"""Domains whose ports lie below the ephemeral ones on every Linux."""

_PORT_BASE: Final = 7400
_PORTS_PER_DOMAIN: Final = 250
_PR_SET_PDEATHSIG: Final = 1
_GRACE_S: Final = 5.0


class Child:
    """One process of this Python, running a module, with its output in a log file."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        with log.open('wb') as file:
            # A session of its own: Ctrl-C reaches the parent alone, which then ends its children
            # in order.
            self._process = subprocess.Popen(
                [sys.executable, '-m', *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 it calls the kernel and no Python
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise a DepthError when the process has ended by itself."""
        status = self._process.poll()
        if status is not None:
            how = f'with status {status}' if status >= 0 else f'by {signal.Signals(-status).name}'
            message = f'{self.name} ended {how}. {self.last_lines()}'
            raise DepthError(message)

    def log_size(self) -> int:
        """How much it has logged so far, bytes."""
        return self.log.stat().st_size

    def last_line(self) -> str:
        """What it logged last, without time and name."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines() or ['loading']
        return lines[-1].rpartition(']: ')[2]

    def last_lines(self, lines: int = 15) -> str:
        """The end of the log, for an error message."""
        text = self.log.read_text(encoding='utf-8', errors='replace').splitlines()
        shown = '\n'.join(f'  | {line}' for line in text[-lines:]) or '  | (nothing)'
        return f'The end of {self.log}:\n{shown}'

    def ask_to_end(self) -> None:
        """Send the signal of Ctrl-C."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Wait for the process to end; kill it when it does not."""
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def children_ended() -> Iterator[list[Child]]:
    """Give a list to put children in; whatever happens, all of them are gone afterwards.

    What a killed process leaves in shared memory is removed too.
    """
    before = {path.name for path in SHARED_MEMORY.glob('fastdds_*')}
    children: list[Child] = []
    try:
        yield children
    finally:
        with uninterrupted():
            for child in children:
                child.ask_to_end()
            for child in children:
                child.end()
            remove_orphaned_segments(before)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C, nor a SIGTERM, break into the block."""
    former = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def remove_orphaned_segments(known: set[str]) -> None:
    """Remove Fast DDS segments that are not in `known` and that no living process has locked.

    The owner of a segment holds a lock on the file of the same name with `_el` as long as it
    lives, so a segment of another program is never touched.
    """
    for lock_file in SHARED_MEMORY.glob('fastdds_*_el'):
        segment = lock_file.with_name(lock_file.name.removesuffix('_el'))
        if segment.name in known or segment.name.startswith('fastdds_port'):
            continue
        with contextlib.suppress(OSError), lock_file.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment.unlink(missing_ok=True)
            lock_file.unlink(missing_ok=True)


def free_domain_id() -> int:
    """Find a ROS domain that nobody on this machine uses.

    Raises:
        DepthError: All of them are in use.
    """
    # Two demos started together begin their search at different places.
    first = os.getpid() % len(DOMAINS)
    for offset in range(len(DOMAINS)):
        domain = DOMAINS[(first + offset) % len(DOMAINS)]
        if not _in_use(domain):
            return domain
    message = (
        f'all ROS domains {DOMAINS[0]}..{DOMAINS[-1]} of this machine are in use; end some ROS '
        'processes, or choose a domain yourself with --domain_id.'
    )
    raise DepthError(message)


def _in_use(domain: int) -> bool:
    base = _PORT_BASE + _PORTS_PER_DOMAIN * domain
    own_ports = (f'fastdds_port{port}' for port in range(base, base + _PORTS_PER_DOMAIN))
    if any((SHARED_MEMORY / name).exists() for name in own_ports):
        return True
    # 10 and 11 past the base are the discovery and user ports of a domain's first participant.
    for port in (base + 10, base + 11):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                return True
    return False


_LIBC: Final = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Have the kernel end this process when the parent dies, and let Ctrl-C work in it.

    A process started in the background by a script ignores SIGINT, and its children inherit that.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
