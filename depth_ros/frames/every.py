# SPDX-License-Identifier: Apache-2.0
"""One worker and a bounded queue: every frame is answered, in turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Frame = TypeVar('Frame')


class EveryFrameWorker(Generic[Frame]):
    """Works on one frame after the other in its own thread; nothing is superseded.

    Whoever offers a frame while the queue is full waits for a place. In the node that is the
    thread that takes messages, so that the rest stays with the middleware.
    """

    def __init__(self, work: Callable[[Sequence[Frame]], None], *, name: str, depth: int) -> None:
        """Start the thread.

        Args:
            work: Called with each frame alone. It must not raise.
            name: Name of the thread.
            depth: Most frames that wait.
        """
        self._work = work
        self._waiting: deque[Frame] = deque()
        self._depth = depth
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there; it ends with `stop`, and when the work raises."""
        return self._thread.is_alive()

    def offer(self, frame: Frame, camera: str = '') -> Frame | None:  # noqa: ARG002 all in one queue
        """Let `frame` wait for the worker, as soon as there is a place.

        Returns:
            None; `frame` itself where the worker was stopped or is gone.
        """
        with self._changed:
            while len(self._waiting) >= self._depth and not self._stopping and self.is_alive:
                self._changed.wait(_ALIVE_S)
            if self._stopping or not self.is_alive:
                return frame
            self._waiting.append(frame)
            self._changed.notify_all()
        return None

    def stop(self, patience_s: float | None = None) -> list[Frame]:
        """Finish the frame in work, end the thread, and return those that still waited.

        Args:
            patience_s: How long the frame in work may take, seconds; then its thread is left
                behind, and `is_alive` says so. None waits for it.
        """
        with self._changed:
            self._stopping = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(patience_s)
        return left

    def _run(self) -> None:
        while (frame := self._next()) is not None:
            self._work((frame,))

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or bool(self._waiting))
            if self._stopping:
                return None
            frame = self._waiting.popleft()
            self._changed.notify_all()
            return frame


_ALIVE_S = 1.0
"""How often whoever waits looks whether the worker is still there."""
