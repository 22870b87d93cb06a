# SPDX-License-Identifier: Apache-2.0
"""Depth that another sensor measured at some pixels, by the time of the image."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Final

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.conversions import nanoseconds

MAX_AGE_S: Final = 0.1
"""Measured depth of another stamp counts when it is this near."""
PATIENCE_S: Final = 0.1
"""How long measured depth may come after its image."""
INITIAL_STATE: Final = 'no metres: no sparse depth yet'

_KEPT: Final = 16


class SparseDepthStore:
    """The depth images that came lately; one thread adds while another looks up."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._changed = threading.Condition()
        self._messages: deque[Image] = deque(maxlen=_KEPT)
        self._waits = True
        """Whether depth came with the stamps of images, so that waiting for it is worth it."""

    def add(self, message: Image) -> None:
        """Remember `message` as the latest."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def pair(self, header: Header) -> Image:
        """Return the depth image of the stamp of `header`, else the nearest.

        Raises:
            FrameError: None is within `MAX_AGE_S`.
        """
        with self._changed:
            if self._waits:
                self._changed.wait_for(lambda: self._age_s(header) == 0.0, PATIENCE_S)
            age_s = self._age_s(header)
            self._waits = age_s == 0.0 or not self._messages
            if age_s <= MAX_AGE_S:
                return min(self._messages, key=lambda message: _apart_s(message, header))
        text = (
            f'this model knows no metres, and no depth of the time of the image is on '
            f'{self.topic}: publish it within {MAX_AGE_S:g} s of the stamp, or remap sparse_depth.'
        )
        raise FrameError(DropReason.NO_SCALE, text)

    def _age_s(self, header: Header) -> float:
        return min((_apart_s(message, header) for message in self._messages), default=math.inf)


def _apart_s(message: Image, header: Header) -> float:
    return abs(nanoseconds(message.header.stamp) - nanoseconds(header.stamp)) * 1e-9
