# SPDX-License-Identifier: Apache-2.0
"""End commands that have children by a signal: the status says by which, and no child lives on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from test.security.commands import COMMANDS, TRAIN
from test.security.kills import GONE_S, Command, Kill, environment_in, half_files, prepared

STATUS: Final = {signal.SIGINT: 130, signal.SIGTERM: 143}
_STARTED_S: Final = 900.0
"""For the children to be there, on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A command, and how many processes it has under it at its work."""

    command: Command
    children: int
    says_status: bool = True
    """Whether its status is ours; torchrun has its own."""


_BY_NAME: Final[Mapping[str, Command]] = {one.name: one for one in COMMANDS}
_LONG: Final = ('--trainer.max_steps', '100000', '--data.workers', '2')


def _torchrun(_: Path) -> Sequence[str]:
    return (
        *('torch.distributed.run', '--standalone', '--nproc_per_node', '2', '--module'),
        *(*TRAIN, *_LONG),
    )


TRAINING: Final = Parent(
    command=Command(name='train', arguments=lambda _: (*TRAIN, *_LONG)), children=2
)
RECORDINGS: Final = Parent(command=_BY_NAME['evaluate_bag'], children=3)
PARENTS: Final = (
    TRAINING,
    RECORDINGS,
    Parent(command=_BY_NAME['bench'], children=1),
    Parent(command=Command(name='torchrun', arguments=_torchrun), children=4, says_status=False),
)


def ended(parent: Parent, folder: Path, number: signal.Signals, *, group: bool = False) -> Kill:
    """Start a command in `folder`, and end it by a signal when its children are there.

    Args:
        parent: The command.
        folder: Made, with what it reads.
        number: The signal.
        group: Whether its children get the signal too, as from a terminal.
    """
    command = parent.command
    prepared(command, folder)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell has what runs in its background ignore Ctrl-C, and what that starts would too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    begun = time.monotonic()
    said = folder / '.said'
    with (
        said.open('wb') as stderr,
        subprocess.Popen(
            [sys.executable, '-m', *command.arguments(folder)],
            cwd=folder,
            env=environment_in(folder),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        under = _wait_for(process, parent.children)
        watched = [os.pidfd_open(pid) for pid in under]
        at_s = time.monotonic() - begun
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        status = process.wait(GONE_S)
    text = said.read_text(errors='replace')
    faults = []
    if len(under) < parent.children:
        faults.append(f'it had {len(under)} children, status {status}: {text[-500:]}')
    if parent.says_status and status != STATUS[number]:
        faults.append(f'status {status} after {number.name}: {text[-500:]}')
    if parent.says_status and 'Traceback' in text:
        faults.append(text[-1000:])
    faults += [
        f'process {pid} lives on' for pid, file in zip(under, watched, strict=True) if _lives(file)
    ]
    faults += half_files(folder)
    called = f'{command.name} {number.name}{" to its group" if group else ""}'
    return Kill(command=called, at_s=at_s, finished=False, faults=faults)


def _wait_for(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """The processes under one, once there are so many."""
    until = time.monotonic() + _STARTED_S
    while len(under := _under(process.pid)) < count:
        if process.poll() is not None or time.monotonic() > until:
            break
        time.sleep(0.05)
    return under


def _under(pid: int) -> list[int]:
    """Processes that one has started, and those that they have started."""
    parents: dict[int, int] = {}
    for entry in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, parent = entry.read_text().rpartition(')')[2].split()[:2]
        except OSError:
            continue
        if state != 'Z':
            parents[int(entry.parent.name)] = int(parent)
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _lives(file: int) -> bool:
    """Whether a process does not go, by a descriptor of it, which is closed."""
    readable, _, _ = select.select([file], [], [], GONE_S)
    if not readable:
        signal.pidfd_send_signal(file, signal.SIGKILL)
    os.close(file)
    return not readable
