# SPDX-License-Identifier: Apache-2.0
"""One worker for all cameras; of each, the newest frame replaces the one that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Frame = TypeVar('Frame')

LIVELY_S: Final = 1.0
"""A camera is waited for when a frame of it came so lately."""


@dataclass
class _Place(Generic[Frame]):
    """Where the frames of one camera wait."""

    frame: Frame | None = None
    arrived_s: float = 0.0
    turn: int = 0
    """When it was answered last, counted in batches."""


class NewestFrameWorker(Generic[Frame]):
    """Works on the newest frames in its own thread, while at most one other of each camera waits.

    A frame that comes while another of its camera waits takes its place, so the answer is never
    older than the work on one batch, whatever the rate of the camera. The camera that was
    answered the longest ago is answered first, so that none has to wait for ever.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Frame]], None],
        *,
        name: str,
        most: int = 1,
        wait_s: float = 0.0,
    ) -> None:
        """Start the thread.

        Args:
            work: Called with the frames that are to be answered together, each of another
                camera. It must not raise: failures are caught and counted there.
            name: Name of the thread.
            most: Most frames that are answered together.
            wait_s: How long a frame waits for those of other cameras, seconds; not for cameras
                of which none came for `LIVELY_S`.
        """
        self._work = work
        self._most = most
        self._wait_s = wait_s
        self._places: dict[str, _Place[Frame]] = {}
        self._in_work: list[Frame] = []
        self._turn = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, frame: Frame, camera: str = '') -> Frame | None:
        """Let `frame` of a camera wait for the worker; return the one it replaces, if any.

        A stopped worker takes nothing and returns `frame` itself.
        """
        with self._changed:
            if self._stopping:
                return frame
            place = self._places.setdefault(camera, _Place())
            superseded, place.frame = place.frame, frame
            place.arrived_s = time.monotonic()
            self._changed.notify()
        return superseded

    def is_full(self, camera: str = '') -> bool:  # noqa: ARG002 the same for all
        """Whether no frame of a camera is to be offered: never."""
        return False

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there; it ends with `stop`, and when the work raises."""
        return self._thread.is_alive()

    def stop(self, patience_s: float | None = None) -> list[Frame]:
        """Finish the frames in work, end the thread, and return the frames that are not answered.

        Args:
            patience_s: How long the frames in work may take, seconds; then the thread is left
                behind, and `is_alive` says so. None waits for it.

        Returns:
            Those that still waited, after those in work of a thread that is left behind.
        """
        with self._changed:
            self._stopping = True
            left = [place.frame for place in self._places.values() if place.frame is not None]
            self._places.clear()
            self._changed.notify()
        self._thread.join(patience_s)
        return [*self._in_work, *left] if self.is_alive else left

    def _run(self) -> None:
        while frames := self._next():
            self._work(frames)
            self._in_work = []

    def _next(self) -> list[Frame]:
        """The frames that are to be answered now; none when the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or bool(self._waiting()))
            if self._most > 1 and not self._stopping:
                self._wait_for_others()
            chosen = sorted(self._waiting(), key=lambda place: place.turn)[: self._most]
            self._turn += 1
            frames = [place.frame for place in chosen if place.frame is not None]
            for place in chosen:
                place.frame, place.turn = None, self._turn
            self._in_work = frames  # here: `stop` finds each frame in one of the two places
            return frames

    def _wait_for_others(self) -> None:
        """Wait until each lively camera has a frame here, or one has waited long enough."""
        end_s = min(place.arrived_s for place in self._waiting()) + self._wait_s
        while not self._stopping and len(self._waiting()) < self._most:
            now_s = time.monotonic()
            missing = any(
                place.frame is None and now_s - place.arrived_s < LIVELY_S
                for place in self._places.values()
            )
            if not missing or now_s >= end_s:
                return
            self._changed.wait(end_s - now_s)

    def _waiting(self) -> list[_Place[Frame]]:
        return [place for place in self._places.values() if place.frame is not None]
