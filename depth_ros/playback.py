# SPDX-License-Identifier: Apache-2.0
"""The pace of a playback: when messages are due, how late they were, and the recorded clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rclpy.node import Node
from rosbags.interfaces import Connection
from rosgraph_msgs.msg import Clock

from depth_core.data.bag.opener import Bag, RawMessage
from depth_ros.middleware.session import signals_held

QUEUE_DEPTH = 10
CLOCK_HZ = 100.0
NODE_LIMIT_S = 60.0
"""Longest wait for another node, which has a recording and a model library to open first."""


@dataclass(kw_only=True)
class Playback:
    """What was played, and how late."""

    lateness_s: list[float] = field(default_factory=list)
    """Publication minus the moment it was due, one number a message."""
    messages: dict[int, int] = field(default_factory=dict)
    """Messages played by connection id."""
    duration_s: float = 0.0

    def count(self, message: RawMessage, lateness_s: float) -> None:
        """Take one published message into account."""
        self.lateness_s.append(lateness_s)
        key = message.connection.id
        self.messages[key] = self.messages.get(key, 0) + 1

    def summary(self) -> str:
        """Say it in one line."""
        if not self.lateness_s:
            return 'played 0 messages'
        p50, p95, largest = np.percentile(np.asarray(self.lateness_s) * 1e3, (50, 95, 100))
        return (
            f'played {len(self.lateness_s)} messages in {self.duration_s:.2f} s; '
            f'lateness p50 {p50:.1f}, p95 {p95:.1f}, largest {largest:.1f} ms'
        )


class Timeline:
    """Turns recorded stamps into moments of the steady clock."""

    def __init__(self, *, start_ns: int, rate: float, clock: BagClock | None = None) -> None:
        self.start_ns = start_ns
        self.rate = rate
        self._clock = clock
        self.begun_s = time.monotonic()
        self._begun_ns = time.time_ns()

    def due_s(self, stamp_ns: int) -> float:
        """When a message recorded at `stamp_ns` is due; at once when recorded before the start."""
        return self.begun_s + max(0, stamp_ns - self.start_ns) * 1e-9 / self.rate

    def due_ns(self, stamp_ns: int) -> int:
        """The same by the system clock."""
        return self._begun_ns + int(max(0, stamp_ns - self.start_ns) / self.rate)

    def wait_for(self, stamp_ns: int) -> float:
        """Sleep until a message recorded at `stamp_ns` is due, and return `due_s` of it."""
        due_s = self.due_s(stamp_ns)
        if self._clock is not None:
            self._clock.wait_until(due_s, self)
        elif (remaining_s := due_s - time.monotonic()) > 0.0:
            time.sleep(remaining_s)
        return due_s

    def bag_ns(self) -> int:
        """The recorded time that is being played now."""
        return self.start_ns + int((time.monotonic() - self.begun_s) * self.rate * 1e9)


class BagClock:
    """Publishes the recorded time on /clock while the player waits."""

    def __init__(self, node: Node, *, hz: float) -> None:
        self._publisher = node.create_publisher(Clock, '/clock', QUEUE_DEPTH)
        self._period_s = 1.0 / hz
        self._next_s = 0.0

    def wait_until(self, due_s: float, timeline: Timeline) -> None:
        """Sleep until `due_s`, publishing the time whenever a period is over."""
        while True:
            now_s = time.monotonic()
            if now_s >= self._next_s:
                self._publish(timeline.bag_ns())
                self._next_s = now_s + self._period_s
            wake_s = min(due_s, self._next_s)
            if now_s >= due_s:
                return
            time.sleep(max(0.0, wake_s - now_s))

    def _publish(self, stamp_ns: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 1_000_000_000)
        with signals_held():
            self._publisher.publish(message)


def await_node(node: Node, name: str, *, limit_s: float = NODE_LIMIT_S) -> None:
    """Wait until another node runs, whatever its namespace; warn where it does not come."""
    deadline_s = time.monotonic() + limit_s
    while name not in node.get_node_names():
        if time.monotonic() > deadline_s:
            node.get_logger().warning(f'no node {name} after {limit_s:g} s: plays without it')
            return
        time.sleep(0.05)


def period_ns(bag: Bag, connections: Sequence[Connection]) -> int:
    """Mean time between two messages of the busiest topic: a loop waits that long at its end."""
    most = max(item.msgcount for item in connections)
    return bag.duration_ns // (most - 1) if most > 1 else 0
