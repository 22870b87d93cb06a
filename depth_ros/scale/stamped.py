# SPDX-License-Identifier: Apache-2.0
"""Measurements of another sensor, by the time of the image."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Final, Generic, Protocol, TypeVar

from std_msgs.msg import Header

from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.conversions import nanoseconds
from depth_ros.middleware.publishers import Publishers

MAX_AGE_S: Final = 0.1
"""A measurement of another stamp counts when it is this near."""
PATIENCE_S: Final = 0.1
"""How long a measurement may come after its image."""

_KEPT: Final = 16


class Stamped(Protocol):
    """A message with a header."""

    header: Header


MessageT = TypeVar('MessageT', bound=Stamped)


class StampedStore(Generic[MessageT]):
    """The messages that came lately; one thread adds while another looks up.

    Args:
        publishers: Of the topic they come from.
        name: What that is called before remapping.
    """

    def __init__(self, publishers: Publishers, *, name: str) -> None:
        self.topic = publishers.topic
        self._publishers = publishers
        self._name = name
        self._changed = threading.Condition()
        self._messages: deque[MessageT] = deque(maxlen=_KEPT)
        self._waits = True
        """Whether messages came with the stamps of images, so that waiting for one is worth it."""

    def add(self, message: MessageT) -> None:
        """Remember `message` as the latest."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def pair(self, header: Header) -> MessageT:
        """Return the message of the stamp of `header`, else the nearest.

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
            f'nothing measured at the time of the image is on {self.topic}, and metres come from '
            f'it: {self._publishers}; publish it within {MAX_AGE_S:g} s of the stamp, or remap '
            f'{self._name}.'
        )
        raise FrameError(DropReason.NO_SCALE, text)

    def _age_s(self, header: Header) -> float:
        return min((_apart_s(message, header) for message in self._messages), default=math.inf)


def _apart_s(message: Stamped, header: Header) -> float:
    return abs(nanoseconds(message.header.stamp) - nanoseconds(header.stamp)) * 1e-9
