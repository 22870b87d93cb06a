# SPDX-License-Identifier: Apache-2.0
"""The processes that are measured, which never outlive the command."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from depth_core.bench.request import BenchRequest
from depth_core.bench.worker import Ready, Turn
from depth_core.errors import BackendError, DepthError
from depth_core.processes import uninterrupted

_PROGRAM: Final = (
    'import json, sys; sys.path[:] = json.loads(sys.argv[3]); '
    'from depth_core.bench.worker import serve; serve(int(sys.argv[1]), int(sys.argv[2]))'
)
"""A Python that finds its modules where this one does."""
_LOOK_S: Final = 0.1
"""How often something else is done while a child computes."""
_LINES: Final = 5


class Child:
    """A process with one model open in it."""

    def __init__(self, request: BenchRequest, caches: Path | None = None) -> None:
        """Start the process.

        Args:
            request: What it opens.
            caches: Where it keeps engines and compiled models; None for the user's own folders.
        """
        self.request = request
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  as long-lived as the process
        ours, theirs = multiprocessing.Pipe()
        self._connection = ours
        self._began = time.monotonic()
        command = [sys.executable, '-c', _PROGRAM, str(theirs.fileno()), str(os.getpid())]
        # A session of its own: Ctrl-C reaches this process alone, which then ends its children.
        self._process = subprocess.Popen(
            [*command, json.dumps(sys.path)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | ({} if caches is None else _in_folder(caches)),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def open(self) -> tuple[Ready, float]:
        """Wait for the first answer.

        Returns:
            What the process says of it, and the seconds since the process was started.

        Raises:
            DepthError: The model cannot be run so, or the process died.
        """
        self._send(self.request)
        ready: Ready = self._receive(lambda: None)
        return ready, ready.at_s - self._began

    def turn(self, frames: int, meanwhile: Callable[[], None]) -> Turn:
        """Let it answer `frames` times and call `meanwhile` every tenth of a second.

        Raises:
            DepthError: The backend failed, or the process died.
        """
        self._send(frames)
        turn: Turn = self._receive(meanwhile)
        return turn

    def end(self) -> None:
        """End the process, whatever it is doing, and wait until it is gone."""
        self._connection.close()
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)  # and whoever builds an engine for it
        self._process.wait()
        self._log.close()

    def _send(self, message: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # the answer, or its absence, says more
            self._connection.send(message)

    def _receive(self, meanwhile: Callable[[], None]) -> Any:  # noqa: ANN401  what was sent
        while not self._connection.poll(_LOOK_S):
            meanwhile()
        try:
            message = self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise BackendError(self._how_it_died()) from None
        if isinstance(message, DepthError):
            raise message
        return message

    def _how_it_died(self) -> str:
        status = self._process.wait()
        how = f'with status {status}' if status >= 0 else f'by {signal.Signals(-status).name}'
        self._log.seek(0)
        lines = self._log.read().decode(errors='replace').splitlines()[-_LINES:]
        said = ''.join(f'\n    | {line}' for line in lines)
        return (
            f'the process that ran {self.request.model} on {self.request.label} ended {how}, for '
            f'instance for want of memory; try another backend.{said}'
        )


@contextlib.contextmanager
def children_ended() -> Iterator[list[Child]]:
    """Give a list to put children in; whatever happens, all of them are gone afterwards."""
    children: list[Child] = []
    try:
        yield children
    finally:
        with uninterrupted():
            for child in children:
                child.end()


def _in_folder(caches: Path) -> Mapping[str, str]:
    """Environment variables that move every cache of ours and of the runtimes to a folder."""
    return {
        'XDG_CACHE_HOME': str(caches),
        'TORCHINDUCTOR_CACHE_DIR': str(caches / 'torchinductor'),
        'CUDA_CACHE_PATH': str(caches / 'cuda'),
    }
