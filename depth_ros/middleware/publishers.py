# SPDX-License-Identifier: Apache-2.0
"""Who publishes on a topic that nothing comes from, for people who look for the cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from rclpy.node import Node

from depth_ros.middleware.qos import Sender, senders_of

LOOK_S: Final = 1.0
"""Publishers are looked for again after so long; whoever asks may ask for each image."""


class Publishers:
    """The publishers of a topic, as far as they are known."""

    def __init__(
        self, topic: str, *, kind: str, find: Callable[[], Sequence[Sender]] = tuple
    ) -> None:
        """Look for nothing yet.

        Args:
            topic: Resolved.
            kind: Type of the messages that are wanted.
            find: Finds them.
        """
        self.topic = topic
        self._kind = kind
        self._find = find
        self._text = ''
        self._looked_s = -LOOK_S

    def __str__(self) -> str:
        """Who publishes what, and that none of it is of the type that is wanted."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._text = publishers_text(self.topic, self._find(), kind=self._kind)
        return self._text


def publishers_of(node: Node, topic: str, kind: type[Any]) -> Publishers:
    """Return what is known of the publishers of a topic.

    Args:
        node: Who looks for them.
        topic: Resolved.
        kind: Class of the messages that are wanted.
    """
    package = kind.__module__.partition('.')[0]
    return Publishers(
        topic, kind=f'{package}/msg/{kind.__name__}', find=partial(senders_of, node, topic)
    )


def publishers_text(topic: str, senders: Sequence[Sender], *, kind: str) -> str:
    """Say which publishers a topic has, alike ones together.

    Args:
        topic: The topic.
        senders: Its publishers.
        kind: Type of the messages that are wanted.
    """
    if not senders:
        return f'{topic} has no publisher'
    counted = Counter(map(str, senders))
    found = '; '.join(f'{count} x {sender}' for sender, count in sorted(counted.items()))
    fits = any(sender.kind == kind for sender in senders)
    return f'publishers: {found}' if fits else f'publishers: {found}, none of type {kind}'
