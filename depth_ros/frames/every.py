# SPDX-License-Identifier: Apache-2.0
"""One worker and a bounded queue: every frame is answered, in turn."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Frame = TypeVar('Frame')


def _nobody_waits() -> None:
    """Tell nobody of room."""


class EveryFrameWorker(Generic[Frame]):
    """Works on one frame after the other in its own thread; nothing is superseded.

    Whoever has frames offers them while it is not full of those of the same camera: with one limit
    for all, the camera that is asked first would take every place. In the node they stay with the
    middleware until then (`depth_ros.middleware.gate`): the thread that takes messages also has
    the timers of the watchdog and of the diagnostics, and must not wait for a backend.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Frame]], None],
        *,
        name: str,
        depth: int,
        on_room: Callable[[], None] = _nobody_waits,
    ) -> None:
        """Start the thread.

        Args:
            work: Called with each frame alone. It must not raise.
            name: Name of the thread.
            depth: Most frames of a camera that wait.
            on_room: Called when it is full of those of a camera no more, from any thread.
        """
        self._work = work
        self._waiting: deque[tuple[str, Frame]] = deque()
        self._counts: Counter[str] = Counter()
        self._depth = depth
        self._on_room = on_room
        self._in_work: tuple[Frame, ...] = ()
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there; it ends with `stop`, and when the work raises."""
        return self._thread.is_alive()

    def is_full(self, camera: str = '') -> bool:
        """Whether as many frames of a camera wait as may."""
        with self._changed:
            return self._counts[camera] >= self._depth

    def offer(self, frame: Frame, camera: str = '') -> Frame | None:
        """Let `frame` of a camera wait for the worker.

        Returns:
            None; `frame` itself where the worker is full, was stopped or is gone.
        """
        with self._changed:
            if self._stopping or not self.is_alive or self._counts[camera] >= self._depth:
                return frame
            self._waiting.append((camera, frame))
            self._counts[camera] += 1
            self._changed.notify()
        return None

    def stop(self, patience_s: float | None = None) -> list[Frame]:
        """Finish the frame in work, end the thread, and return the frames that are not answered.

        Args:
            patience_s: How long the frame in work may take, seconds; then its thread is left
                behind, and `is_alive` says so. None waits for it.

        Returns:
            Those that still waited, after the one in work of a thread that is left behind.
        """
        with self._changed:
            self._stopping = True
            left = [frame for _, frame in self._waiting]
            self._waiting.clear()
            self._counts.clear()
            self._changed.notify()
        self._on_room()
        self._thread.join(patience_s)
        return [*self._in_work, *left] if self.is_alive else left

    def _run(self) -> None:
        while self._begins_next():
            self._work(self._in_work)
            self._in_work = ()

    def _begins_next(self) -> bool:
        """Wait for the frame that is to be answered now; false when the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or bool(self._waiting))
            if self._stopping:
                return False
            camera, frame = self._waiting.popleft()
            was_full = self._counts[camera] >= self._depth
            self._counts[camera] -= 1
            self._in_work = (frame,)  # here: `stop` finds each frame in one of the two places
        if was_full:
            self._on_room()
        return True
