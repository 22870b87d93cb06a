# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive their parent, in a ROS domain of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from depth_core.errors import DepthError
from depth_core.processes import end_with_parent, uninterrupted
from depth_ros.middleware.fastdds import SHARED_MEMORY

DOMAINS: Final = range(1, 102)
"""Domains whose ports lie below the ephemeral ones on every Linux."""

_PORT: Final = 'fastdds_port'
_PORT_BASE: Final = 7400
"""Ports below it are those of all domains."""
_PORTS_PER_DOMAIN: Final = 250
_PARTICIPANTS_PROBED: Final = 10
_GRACE_S: Final = 10.0


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
                preexec_fn=partial(_die_with_parent, os.getpid()),  # noqa: PLW1509 it takes no lock
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, minus the signal where one ended it; None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.status is None:
            self._process.send_signal(number)

    def check(self) -> None:
        """Raise a DepthError when the process has ended by itself."""
        status = self.status
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
        self.signal(signal.SIGINT)

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

    What Fast DDS leaves of them in shared memory is removed too.
    """
    before = shared_memory_names()
    children: list[Child] = []
    try:
        yield children
    finally:
        with uninterrupted():
            for child in children:
                child.ask_to_end()
            for child in children:
                child.end()
            remove_orphans(before, domain_id=int(os.environ.get('ROS_DOMAIN_ID') or 0))


def shared_memory_names() -> set[str]:
    """What Fast DDS has in shared memory, of all processes."""
    return {path.name for path in SHARED_MEMORY.glob('fastdds_*')}


def remove_orphans(known: set[str], *, domain_id: int) -> None:
    """Remove what dead processes have left in shared memory.

    A killed process leaves its segments, and a process that ends after its peers may leave their
    ports. The owner of either holds a lock on the file of the same name with `_el` as long as it
    lives, so what belongs to a living program is never touched. A port is opened before it is
    locked: those of other domains are left alone, and those that all domains share as long as a
    process has them.

    Args:
        known: Names that were there before these processes were started; they stay.
        domain_id: The domain of these processes, which nobody else uses.
    """
    for name in shared_memory_names() - known:
        if name.endswith(('_el', '_sl')):
            continue
        port = int(name.removeprefix(_PORT)) if name.startswith(_PORT) else None
        if port is not None and port >= _PORT_BASE and port not in _ports(domain_id):
            continue
        lock_file = SHARED_MEMORY / f'{name}_el'
        with contextlib.suppress(OSError), lock_file.open('ab') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if port is not None and port < _PORT_BASE and _is_mapped(name):
                continue
            for left in (name, f'sem.{name}_mutex', lock_file.name):
                (SHARED_MEMORY / left).unlink(missing_ok=True)


def _is_mapped(name: str) -> bool:
    """Whether a process of this user has a file of the shared memory."""
    path = str(SHARED_MEMORY / name).encode()
    for maps in Path('/proc').glob('[0-9]*/maps'):
        with contextlib.suppress(OSError):  # it has just ended, or is somebody else's
            if path in maps.read_bytes().split():
                return True
    return False


def free_domain_id(domains: Sequence[int] = DOMAINS) -> int:
    """Find a ROS domain that nobody on this machine uses.

    Args:
        domains: Those to choose from.

    Raises:
        DepthError: All of them are in use.
    """
    # Two demos started together begin their search at different places.
    first = os.getpid() % len(domains)
    for offset in range(len(domains)):
        domain = domains[(first + offset) % len(domains)]
        if not _in_use(domain):
            return domain
    message = (
        f'all ROS domains {domains[0]}..{domains[-1]} of this machine are in use; end some ROS '
        'processes, or choose a domain yourself with --domain_id.'
    )
    raise DepthError(message)


def _in_use(domain_id: int) -> bool:
    # A participant binds the ports of its number on the loopback: two for each one, from 10 on.
    for port in _ports(domain_id)[10 : 10 + 2 * _PARTICIPANTS_PROBED]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                return True
    return False


def _ports(domain_id: int) -> range:
    base = _PORT_BASE + _PORTS_PER_DOMAIN * domain_id
    return range(base, base + _PORTS_PER_DOMAIN)


def _die_with_parent(parent: int) -> None:
    """Have the kernel end this process when the parent dies, and let Ctrl-C work in it.

    A process started in the background by a script ignores SIGINT, and its children inherit that.
    """
    end_with_parent(parent, by=signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
