# SPDX-License-Identifier: Apache-2.0
"""Opening a model in a thread of its own, watched and given up on request.

Building an engine takes minutes. Whoever waits here can be told how far it is, and a node that
is to end does not wait for a runtime that cannot be interrupted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Final, Generic, TypeVar

from depth_core.runtime.engine import BuildCancelledError, BuildProgress, EngineOptions

Model = TypeVar('Model')

CHECK_S: Final = 0.05
"""How long the wish to give up may wait."""

GRACE_S: Final = 0.8
"""What a build has to stop in once it is cancelled; then it is left behind."""

LOG_PERIOD_S: Final = 5.0
"""Time between two lines in the log."""

OPENING: Final = 'opening'
"""The phase, while a backend does not report its own."""


class Opening(Generic[Model]):
    """One attempt to open a model."""

    def __init__(
        self,
        open_model: Callable[[EngineOptions], Model],
        options: EngineOptions,
        *,
        cancelled: threading.Event,
    ) -> None:
        """Start the thread.

        Args:
            open_model: Opens the model with the options it is given.
            options: How engines are built; the attempt adds its own way to report and to cancel.
            cancelled: Set to give up.
        """
        self._cancelled = cancelled
        self._begun_s = self._heard_s = time.monotonic()
        self._progress = BuildProgress(phase=OPENING, fraction=None, elapsed_s=0.0)
        self._opened: Future[Model] = Future()
        options = replace(options, report=self._report, cancelled=cancelled)
        threading.Thread(
            target=self._run, args=(open_model, options), name='opening the model', daemon=True
        ).start()

    @property
    def progress(self) -> BuildProgress:
        """How far it is now."""
        return replace(self._progress, elapsed_s=time.monotonic() - self._begun_s)

    @property
    def is_running(self) -> bool:
        """Whether the thread is still at work."""
        return not self._opened.done()

    def model(self, log: Callable[[str], object]) -> Model:
        """Wait for the model.

        Args:
            log: Takes a line about the progress when nothing was reported for `LOG_PERIOD_S`;
                what reports also logs.

        Raises:
            BuildCancelledError: It was given up. The thread may still be running.
            DepthError: The model cannot be opened.
        """
        while self.is_running and not self._cancelled.is_set():
            wait((self._opened,), timeout=CHECK_S)
            if time.monotonic() - self._heard_s >= LOG_PERIOD_S:
                self._heard_s = time.monotonic()
                log(progress_text(self.progress))
        if self._cancelled.is_set():
            wait((self._opened,), timeout=GRACE_S)
            message = f'given up after {self.progress.elapsed_s:.0f} s, because the node ends.'
            raise BuildCancelledError(message)
        return self._opened.result()

    def _report(self, progress: BuildProgress) -> None:
        self._progress = progress
        self._heard_s = time.monotonic()

    def _run(self, open_model: Callable[[EngineOptions], Model], options: EngineOptions) -> None:
        try:
            self._opened.set_result(open_model(options))
        except BaseException as error:  # noqa: BLE001 raised again by whoever waits
            self._opened.set_exception(error)


def progress_text(progress: BuildProgress) -> str:
    """Say how far the preparation of a model is, for people."""
    fraction = '' if progress.fraction is None else f' {progress.fraction:.0%}'
    return f'{progress.phase}{fraction}, {progress.elapsed_s:.0f} s'
