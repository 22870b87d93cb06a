# SPDX-License-Identifier: Apache-2.0
"""How far the robot moved between two images, by its odometry."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from std_msgs.msg import Header

from depth_ros.messages.conversions import nanoseconds
from depth_ros.middleware.publishers import Publishers

PATIENCE_S: Final = 0.1
"""How long odometry may come after the image it belongs to."""
GAP_S: Final = 0.5
"""Speed is not taken to hold for longer than this without a message."""
_KEPT: Final = 2000


@dataclass(frozen=True)
class _Speed:
    time_s: float
    metres_per_s: float
    turn_per_s: float


class OdometryStore:
    """The speeds that came lately; one thread adds while another looks up."""

    def __init__(self, publishers: Publishers) -> None:
        self.publishers = publishers
        """Of the topic they come from."""
        self._changed = threading.Condition()
        self._speeds: deque[_Speed] = deque(maxlen=_KEPT)

    def add(self, message: Odometry) -> None:
        """Remember the speed of `message`; one that is not finite is passed over."""
        linear, angular = message.twist.twist.linear, message.twist.twist.angular
        speed = math.hypot(linear.x, linear.y, linear.z)
        turn = math.hypot(angular.x, angular.y, angular.z)
        if not (math.isfinite(speed) and math.isfinite(turn)):
            return
        time_s = nanoseconds(message.header.stamp) * 1e-9
        with self._changed:
            if self._speeds and time_s == self._speeds[-1].time_s:
                self._speeds.pop()  # said once more
            elif self._speeds and time_s < self._speeds[-1].time_s:
                self._speeds.clear()  # a recording starts again
            self._speeds.append(_Speed(time_s, speed, turn))
            self._changed.notify_all()

    def moved(self, before: Header, after: Header) -> tuple[float, float] | None:
        """Metres and radians of the way from one image to another; None where nothing tells.

        The speed is taken as linear between two messages, and as constant after the last one.
        """
        begin_s, end_s = (nanoseconds(header.stamp) * 1e-9 for header in (before, after))
        with self._changed:
            self._changed.wait_for(lambda: self._reaches(end_s), PATIENCE_S)
            speeds = list(self._speeds)
        times_s = np.array([speed.time_s for speed in speeds])
        if not speeds or times_s[0] > begin_s or end_s - times_s[-1] > GAP_S:
            return None
        inside = times_s[(times_s > begin_s) & (times_s < end_s)]
        points_s = np.concatenate(([begin_s], inside, [end_s]))
        known_s = times_s[(times_s >= begin_s - GAP_S) & (times_s <= end_s + GAP_S)]
        if not known_s.size or np.diff(known_s).max(initial=0.0) > GAP_S:
            return None
        metres = np.interp(points_s, times_s, [speed.metres_per_s for speed in speeds])
        radians = np.interp(points_s, times_s, [speed.turn_per_s for speed in speeds])
        return _integral(metres, points_s), _integral(radians, points_s)

    def _reaches(self, time_s: float) -> bool:
        return bool(self._speeds) and self._speeds[-1].time_s >= time_s


def _integral(values: NDArray[np.float64], at_s: NDArray[np.float64]) -> float:
    return float(np.sum((values[1:] + values[:-1]) / 2.0 * np.diff(at_s)))
