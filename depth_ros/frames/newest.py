# SPDX-License-Identifier: Apache-2.0
"""One worker and a queue of one frame: the newest frame replaces the one that waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Frame = TypeVar('Frame')


class NewestFrameWorker(Generic[Frame]):
    """Works on one frame at a time in its own thread while at most one other waits.

    A frame that comes while another waits takes its place, so the answer is never older than
    one computation, whatever the rate of the camera.
    """

    def __init__(self, work: Callable[[Frame], None], *, name: str) -> None:
        """Start the thread.

        Args:
            work: Called with each frame that is not superseded. It must not raise:
                failures are caught and counted there.
            name: Name of the thread.
        """
        self._work = work
        self._waiting: Frame | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, frame: Frame) -> Frame | None:
        """Let `frame` wait for the worker; return the one it replaces, if any.

        A stopped worker takes nothing and returns `frame` itself.
        """
        with self._changed:
            if self._stopping:
                return frame
            superseded, self._waiting = self._waiting, frame
            self._changed.notify()
        return superseded

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there; it ends with `stop`, and when the work raises."""
        return self._thread.is_alive()

    def stop(self, patience_s: float | None = None) -> Frame | None:
        """Finish the frame in work, end the thread, and return the frame that still waited.

        Args:
            patience_s: How long the frame in work may take, seconds; then its thread is left
                behind, and `is_alive` says so. None waits for it.
        """
        with self._changed:
            self._stopping = True
            left, self._waiting = self._waiting, None
            self._changed.notify()
        self._thread.join(patience_s)
        return left

    def _run(self) -> None:
        while (frame := self._next()) is not None:
            self._work(frame)

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            frame, self._waiting = self._waiting, None
            return None if self._stopping else frame
