# SPDX-License-Identifier: Apache-2.0
"""The process of `builder`, seen from the one that waits for it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, Final

from depth_core.errors import BackendError
from depth_core.runtime.engine.builder import BuildRequest
from depth_core.runtime.engine.device import visible_gpu

_logger = logging.getLogger(__name__)

_MODULE: Final = 'depth_core.runtime.engine.builder'
_SHOWN_OUTPUT: Final = 2000


class BuilderProcess:
    """A builder at work, until `close` ends it, whatever it does.

    Raises:
        BackendError: It cannot be started.
    """

    def __init__(self, request: BuildRequest) -> None:
        self._request = request
        with contextlib.ExitStack() as opened:
            try:
                self._start(opened)
            except OSError as error:
                message = (
                    'no process can be started to build the engine in: '
                    f'{error.strerror or error}; close other programs, free space for temporary '
                    'files, and try again.'
                )
                raise BackendError(message) from error
            self._opened = opened.pop_all()

    def _start(self, opened: contextlib.ExitStack) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process is
        opened.callback(self._output.close)
        self._connection, theirs = Pipe()
        opened.callback(self._connection.close)
        descriptor = theirs.fileno()
        folders = [str(Path(folder).absolute()) for folder in sys.path]
        with contextlib.closing(theirs):
            self._process = subprocess.Popen(
                [sys.executable, '-m', _MODULE, str(descriptor)],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                cwd='/',  # where no folder shadows a module
                env={
                    **os.environ,
                    'PYTHONPATH': os.pathsep.join(folders),
                    **visible_gpu(self._request.gpu),
                },
                start_new_session=True,  # Ctrl-C is for this process, which ends the other
            )
        opened.callback(self._end)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it."""
        self._opened.close()

    def start(self) -> None:
        """Tell it what to build.

        Raises:
            BackendError: It has ended already.
        """
        try:
            self._connection.send_bytes(self._request.to_json())
        except OSError as error:
            raise BackendError(self._epitaph()) from error

    def said(self, timeout_s: float) -> dict[str, Any]:
        """What it says next; nothing when it says nothing in time.

        Raises:
            BackendError: It has ended without a plan; with what is known of the reason.
        """
        try:
            if not self._connection.poll(timeout_s):
                return {}
            said: dict[str, Any] = json.loads(self._connection.recv_bytes())
            if 'plan' in said:
                said['plan'] = self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise BackendError(self._epitaph()) from error
        return said

    def _epitaph(self) -> str:
        """Why the process that built is gone, in words."""
        status = self._process.wait()
        self._output.seek(0)
        text = self._output.read().decode(errors='replace').strip()
        if text:
            _logger.info('the builder wrote:\n%s', text[-_SHOWN_OUTPUT:])
        last = f': {text.splitlines()[-1]}' if text else ''
        if status == -signal.SIGKILL:
            return (
                'the builder was killed, as Linux does when memory runs out; close other '
                'programs, limit the workspace (workspace_mb), or add swap.'
            )
        if status < 0:
            name = signal.Signals(-status).name
            return (
                f'the builder crashed ({name}){last}; this version of TensorRT cannot build this '
                'graph: run it on onnxruntime-cuda or onnxruntime.'
            )
        return f'the builder failed (status {status}){last}'
