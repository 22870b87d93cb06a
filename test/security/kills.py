# SPDX-License-Identifier: Apache-2.0
"""Kill commands that write files, at times drawn from the whole of their run.

A kill is survived when every file that is seen is whole, no process of the command is left, the
command succeeds when it is run again, and then nothing is left that is not its output.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from depth_core.data.bag.opener import open_bag
from depth_core.manifest import read_manifest

REPOSITORY: Final = Path(__file__).resolve().parents[2]

GONE_S: Final = 240.0
"""For the children of a killed command to go, on a busy machine; the kernel takes milliseconds."""
_EARLIEST: Final = 0.1
"""Of the time of a run: before that Python still starts."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that writes files into a folder."""

    name: str
    arguments: Callable[[Path], Sequence[str]]
    """What follows `python -m` in that folder; asked again for each run."""
    prepare: Callable[[Path], object] = lambda _folder: None
    """Puts what it reads into the folder."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What came of one kill."""

    command: str
    at_s: float
    finished: bool
    """Whether the command was quicker than the kill."""
    faults: Sequence[str]


def trials(command: Command, folder: Path, *, count: int, seed: int) -> list[Kill]:
    """Kill `command` so many times, each time in a new folder."""
    whole = folder / command.name / 'whole'
    begun = time.monotonic()
    prepared(command, whole)
    status, said = _run(command, whole)
    if status:
        return [Kill(command=command.name, at_s=0.0, finished=True, faults=[said])]
    took_s = time.monotonic() - begun
    draw = random.Random(f'{seed} {command.name}')  # noqa: S311  no secret
    times_s = [draw.uniform(_EARLIEST, 1.0) * took_s for _ in range(count)]
    return [
        _killed(command, folder / command.name / str(number), at_s)
        for number, at_s in enumerate(times_s)
    ]


def _killed(command: Command, folder: Path, at_s: float) -> Kill:
    prepared(command, folder)
    with subprocess.Popen(
        [sys.executable, '-m', *command.arguments(folder)],
        cwd=folder,
        env=environment_in(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.wait(timeout=at_s)
            finished = True
        except subprocess.TimeoutExpired:
            finished = False
            process.send_signal(signal.SIGKILL)
    faults = half_files(folder)
    faults += [f'process {pid} lives on' for pid in _left(process.pid)]
    status, said = _run(command, folder)
    if status:
        faults.append(f'run again: status {status}: {said}')
    faults += [f'{path.name} is left' for path in folder.rglob('*.unfinished')]
    faults += [f'{why} after it was run again' for why in half_files(folder)]
    return Kill(command=command.name, at_s=at_s, finished=finished, faults=faults)


def half_files(folder: Path) -> list[str]:
    """The files of a folder that a user sees and that are not whole, and why."""
    return [f'{path}: {why}' for path in _files(folder) if (why := half(path))]


def half(path: Path) -> str:
    """Why a file is not whole; nothing where it is, or its kind is not known."""
    look = _WHOLE.get(path.suffix)
    try:
        if look is not None:
            look(path)
    except Exception as error:  # noqa: BLE001  whatever the reader of that kind says
        return f'{type(error).__name__}: {error}'
    return ''


def _checkpoint(path: Path) -> object:
    from depth_core.weights.checkpoint import read_checkpoint  # noqa: PLC0415  needs torch

    return read_checkpoint(path)


def _recording(path: Path) -> None:
    with open_bag(path) as bag:
        for message in bag.messages(bag.connections):
            bag.decode(message)


def _picture(path: Path) -> None:
    if cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is None:
        message = 'no picture'
        raise ValueError(message)


_WHOLE: Final[Mapping[str, Callable[[Path], object]]] = {
    '.ckpt': _checkpoint,
    '.html': lambda path: path.read_text(encoding='utf-8').rindex('</html>'),
    '.jpg': _picture,
    '.mcap': _recording,
    '.json': lambda path: json.loads(path.read_text(encoding='utf-8')),
    '.npy': np.load,
    '.npz': np.load,
    '.onnx': read_manifest,
    '.png': _picture,
}
"""Reads a file of each kind that commands write, whole."""


def _files(folder: Path) -> list[Path]:
    """Files that a user sees."""
    return [
        path
        for path in sorted(folder.rglob('*'))
        if path.is_file()
        and not any(part.startswith('.') for part in path.relative_to(folder).parts)
    ]


def _left(session: int) -> list[int]:
    """Processes of a session that do not go by themselves."""
    until = time.monotonic() + GONE_S
    while (left := _of_session(session)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


def _of_session(session: int) -> list[int]:
    found = []
    for entry in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, _, of_session = entry.read_text().rpartition(')')[2].split()[:4]
        except OSError:
            continue
        if int(of_session) == session and state != 'Z':
            found.append(int(entry.parent.name))
    return found


def prepared(command: Command, folder: Path) -> None:
    """Make a folder with what the command reads."""
    folder.mkdir(parents=True)
    command.prepare(folder)


def _run(command: Command, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, '-m', *command.arguments(folder)],
        cwd=folder,
        env=environment_in(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr[-500:]


def environment_in(folder: Path) -> dict[str, Any]:
    """The environment of a command, whose temporary files are in that folder too."""
    scratch = folder / '.scratch'
    scratch.mkdir(exist_ok=True)
    return {**os.environ, 'PYTHONPATH': str(REPOSITORY), 'TMPDIR': str(scratch)}
