# SPDX-License-Identifier: Apache-2.0
"""Messages wait outside a gate that is closed, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from std_msgs.msg import Float64

from depth_ros.middleware.gate import Gate, wake
from test.depth_ros.ros_processes import RELIABLE, RosSession, ros_session

pytestmark = pytest.mark.ros
PATIENCE_S = 240.0


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[RosSession]:
    with ros_session(tmp_path) as session:
        yield session


def test_a_closed_gate_keeps_messages_outside_and_the_executor_going(ros: RosSession) -> None:
    node = ros.node
    numbers: list[float] = []
    turns: list[None] = []
    closed = threading.Event()
    closed.set()
    gate = Gate(is_open=lambda: not closed.is_set())

    def take(message: Float64) -> None:
        numbers.append(message.data)
        closed.set()

    node.create_subscription(Float64, 'numbers', take, RELIABLE, callback_group=gate)
    publisher = ros.publisher(Float64, '/numbers')
    node.create_timer(0.01, lambda: turns.append(None))
    for number in (1.0, 2.0):
        publisher.publish(Float64(data=number))
    ros.until(lambda: len(turns) > 5, 'turns of a timer')
    assert not numbers
    for taken in ([1.0], [1.0, 2.0]):
        closed.clear()
        wake(node)
        while numbers != taken:
            ros.executor.spin_once(PATIENCE_S)
        assert closed.is_set()
    ros.executor.shutdown()
    wake(node)  # nobody spins any more
