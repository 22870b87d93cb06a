# SPDX-License-Identifier: Apache-2.0
"""What happened to the frames of an active node: counts, times, and the problems of late."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from depth_ros.frames.drops import DropReason

WINDOW_FRAMES: Final = 200
"""Percentiles are taken over so many of the latest frames."""

REPEAT_S: Final = 10.0
"""A reason that goes on is logged again after so long."""

NORMAL: Final = frozenset(
    {
        DropReason.SUPERSEDED,
        DropReason.NO_SUBSCRIBER,
        DropReason.RATE_LIMITED,
        DropReason.DEACTIVATED,
    }
)
"""Normal operation: the camera is faster than the model or a limit, or nobody listens."""


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """How long one published frame took, seconds."""

    waiting_s: float
    """From its arrival to the beginning of the work."""
    inference_s: float
    """Inside the backend."""
    latency_s: float
    """From its arrival to the return of the last publish."""
    age_s: float
    """From its stamp to the return of the last publish; as good as the camera's clock."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The counts at one moment, and the rates since the snapshot before."""

    frames_in: int = 0
    frames_out: int = 0
    frames_dropped: int = 0
    """Of which nothing was published, whatever the reason."""
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    """Totals since configure."""
    newly_dropped: Mapping[DropReason, int] = field(default_factory=dict)
    """Since the snapshot before."""
    newly_lost: int = 0
    """Whole frames among these that are no normal operation."""
    rate_in_hz: float = 0.0
    rate_out_hz: float = 0.0
    silent_s: float = 0.0
    """Since the last frame arrived, or since the counting began."""
    unanswered_s: float = 0.0
    """Since the first frame arrived that nothing was published after; 0 when there is none."""
    out_ages_s: tuple[float, ...] = ()
    """For how long each of the latest frames is out, the oldest first."""
    stamp_age_s: float | None = None
    """Of the latest frame, when it arrived, by the clock of the node; None before the first."""
    frame_id: str | None = None
    """Of the latest frame; None before the first."""
    valid_fraction: float | None = None
    """Of the pixels of the latest depth map, those with an estimate; None before the first."""
    times: tuple[FrameTimes, ...] = ()
    problems: Mapping[DropReason, str] = field(default_factory=dict)
    """The latest message of each reason of the last `REPEAT_S`."""
    problem_ages_s: Mapping[DropReason, float] = field(default_factory=dict)
    """How old each of these is."""


class FrameStatistics:
    """Counts what happens to frames; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def reset(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        now_s = time.monotonic()
        self._frames_in = self._frames_out = self._frames_dropped = 0
        self._dropped: Counter[DropReason] = Counter()
        self._lost = 0
        self._problems: dict[DropReason, tuple[str, float]] = {}
        self._logged_s: dict[DropReason, float] = {}
        self._times: deque[FrameTimes] = deque(maxlen=WINDOW_FRAMES)
        self._out_s: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._last_in_s = now_s
        self._unanswered_since_s: float | None = None
        self._stamp_age_s: float | None = None
        self._frame_id: str | None = None
        self._valid_fraction: float | None = None
        self._before = (now_s, 0, 0, 0, Counter[DropReason]())

    def restart_clock(self) -> None:
        """Begin to wait for a frame now; what was seen of former ones does not count any more."""
        with self._lock:
            self._last_in_s = time.monotonic()
            self._out_s.clear()
            self._problems.clear()
            self._unanswered_since_s = self._stamp_age_s = None
            self._frame_id = self._valid_fraction = None

    def arrived(self, *, stamp_age_s: float | None = None, frame_id: str | None = None) -> None:
        """Count a frame that came in.

        Args:
            stamp_age_s: From its stamp to now, by the clock of the node.
            frame_id: What its header says.
        """
        with self._lock:
            self._frames_in += 1
            self._last_in_s = time.monotonic()
            self._stamp_age_s, self._frame_id = stamp_age_s, frame_id
            if self._unanswered_since_s is None:
                self._unanswered_since_s = self._last_in_s

    def published(self, times: FrameTimes, *, valid_fraction: float | None = None) -> None:
        """Count a frame that went out.

        Args:
            times: How long it took.
            valid_fraction: Of its depth map, the pixels with an estimate; None without one.
        """
        with self._lock:
            self._frames_out += 1
            self._times.append(times)
            self._out_s.append(time.monotonic())
            self._unanswered_since_s = None
            self._valid_fraction = valid_fraction

    def dropped(self, reason: DropReason, problem: str = '', *, whole: bool = True) -> bool:
        """Count what was not published.

        Args:
            reason: Why.
            problem: The same in words, where there is more to say.
            whole: Whether the whole frame is lost; else only an output of it.

        Returns:
            True when `problem` should be logged: it is the first of its reason, or `REPEAT_S`
            have passed since this was answered last.
        """
        now_s = time.monotonic()
        with self._lock:
            self._dropped[reason] += 1
            self._frames_dropped += whole
            self._lost += whole and reason not in NORMAL
            if reason is DropReason.NO_SUBSCRIBER:
                self._unanswered_since_s = None
            if not problem:
                return False
            self._problems[reason] = problem, now_s
            due = now_s - self._logged_s.get(reason, -REPEAT_S) >= REPEAT_S
            if due:
                self._logged_s[reason] = now_s
            return due

    def snapshot(self) -> Snapshot:
        """Return the counts, and the rates since this was called last."""
        now_s = time.monotonic()
        with self._lock:
            then_s, frames_in, frames_out, lost, dropped = self._before
            totals = self._frames_in, self._frames_out, self._lost, self._dropped.copy()
            self._before = (now_s, *totals)
            elapsed_s = max(now_s - then_s, 1e-9)
            waits = self._unanswered_since_s
            recent = {
                reason: (problem, now_s - said_s)
                for reason, (problem, said_s) in self._problems.items()
                if now_s - said_s < REPEAT_S
            }
            return Snapshot(
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                frames_dropped=self._frames_dropped,
                dropped=dict(self._dropped),
                newly_dropped=dict(self._dropped - dropped),
                newly_lost=self._lost - lost,
                rate_in_hz=(self._frames_in - frames_in) / elapsed_s,
                rate_out_hz=(self._frames_out - frames_out) / elapsed_s,
                silent_s=now_s - self._last_in_s,
                times=tuple(self._times),
                problems={reason: problem for reason, (problem, _) in recent.items()},
                problem_ages_s={reason: age_s for reason, (_, age_s) in recent.items()},
                unanswered_s=0.0 if waits is None else now_s - waits,
                out_ages_s=tuple(now_s - out_s for out_s in self._out_s),
                stamp_age_s=self._stamp_age_s,
                frame_id=self._frame_id,
                valid_fraction=self._valid_fraction,
            )
