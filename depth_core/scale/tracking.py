# SPDX-License-Identifier: Apache-2.0
"""One scale from the estimates of many images: their median, while they are fresh.

A single estimate may be a car that hid the ground, or a match of the wrong corner. The median of
the latest ones passes over nearly half of such, and follows a change of scale after half a window.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum
from statistics import median

from depth_core.scale.estimate import ScaleEstimate


class TrackState(str, Enum):
    """Whether there is a scale now."""

    WAITING = 'waiting'
    """Fewer estimates than needed have come."""
    VALID = 'valid'
    """The latest estimate is part of it."""
    HELD = 'held'
    """The latest image gave none; earlier ones still count."""
    LOST = 'lost'
    """There was one, and its estimates are too old by now."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class TrackedScale:
    """What is known of the scale at one moment."""

    state: TrackState
    scale: float = math.nan
    """Metres in one unit of the prediction; NaN unless `usable`."""
    residual: float = math.nan
    """Of the latest estimate, see `ScaleEstimate`; NaN where it has none."""
    points: int = 0
    """The latest estimate rests on."""
    estimates: int = 0
    """So many the scale is the median of."""
    age_s: float = math.nan
    """Since the latest valid estimate; NaN before the first."""
    reason: str = ''
    """Why the latest image gave no estimate."""

    @property
    def usable(self) -> bool:
        """Whether metres may be made with it."""
        return self.state in {TrackState.VALID, TrackState.HELD}


class ScaleTracker:
    """Takes an estimate an image and answers with the median of those that count."""

    def __init__(self, *, window: int, max_age_s: float, needed: int = 1) -> None:
        """Start without a scale.

        Args:
            window: Most estimates that count, the latest ones.
            max_age_s: How long an estimate counts, seconds.
            needed: Estimates before the first scale, no more than the window.
        """
        self._kept: deque[tuple[float, ScaleEstimate]] = deque(maxlen=window)
        self._max_age_s = max_age_s
        self._needed = min(needed, window)
        self._was_usable = False
        self._lock = threading.Lock()
        """One thread updates while another may reset."""
        self._found: TrackedScale = TrackedScale(state=TrackState.WAITING)

    def reset(self) -> None:
        """Forget every estimate."""
        with self._lock:
            self._kept.clear()
            self._was_usable = False
            self._found = TrackedScale(state=TrackState.WAITING)

    @property
    def latest(self) -> TrackedScale:
        """What the last update answered."""
        return self._found

    def update(self, estimate: ScaleEstimate | None, time_s: float) -> TrackedScale:
        """Take what an image of `time_s` gave, and return the scale of that moment.

        Args:
            estimate: Of the image; None when there was nothing to estimate from.
            time_s: Of the image, seconds. When it goes back, as when a recording starts again,
                what came later does not count any more.
        """
        with self._lock:
            if estimate is not None and estimate.valid:
                self._kept.append((time_s, estimate))
            fresh = [item for item in self._kept if time_s - self._max_age_s <= item[0] <= time_s]
            self._kept.clear()
            self._kept.extend(fresh)
            self._found = self._answer(estimate, time_s)
            self._was_usable = self._was_usable or self._found.usable
            return self._found

    def _answer(self, estimate: ScaleEstimate | None, time_s: float) -> TrackedScale:
        now_valid = estimate is not None and estimate.valid
        reason = '' if now_valid else str(estimate.state if estimate else 'nothing to go by')
        age_s = time_s - self._kept[-1][0] if self._kept else math.nan
        needed = 1 if self._was_usable else self._needed
        if len(self._kept) < needed:
            state = TrackState.LOST if self._was_usable else TrackState.WAITING
            return TrackedScale(state=state, estimates=len(self._kept), age_s=age_s, reason=reason)
        latest = self._kept[-1][1]
        return TrackedScale(
            state=TrackState.VALID if now_valid else TrackState.HELD,
            scale=math.exp(median(math.log(kept.scale) for _, kept in self._kept)),
            residual=latest.residual,
            points=latest.points,
            estimates=len(self._kept),
            age_s=age_s,
            reason=reason,
        )
