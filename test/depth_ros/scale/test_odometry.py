# SPDX-License-Identifier: Apache-2.0
"""The way between two images, by the speeds of odometry: integrals worked by hand."""

from __future__ import annotations

import math
import threading

import pytest
from nav_msgs.msg import Odometry
from std_msgs.msg import Header

from depth_ros.middleware.publishers import Publishers
from depth_ros.scale.odometry import OdometryStore


def header(at_s: float) -> Header:
    result = Header()
    result.stamp.sec, result.stamp.nanosec = int(at_s), round(at_s % 1.0 * 1e9)
    return result


def odometry(at_s: float, *, x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> Odometry:
    message = Odometry(header=header(at_s))
    message.twist.twist.linear.x, message.twist.twist.linear.y = x, y
    message.twist.twist.angular.z = turn
    return message


def store(*messages: Odometry) -> OdometryStore:
    result = OdometryStore(Publishers('odometry', kind='nav_msgs/msg/Odometry'))
    for message in messages:
        result.add(message)
    return result


def test_a_steady_speed_in_any_direction_and_a_turn() -> None:
    kept = store(*(odometry(number / 10, x=3.0, y=4.0, turn=-0.5) for number in range(11)))
    found = kept.moved(header(0.25), header(0.65))
    assert found == pytest.approx((2.0, 0.2)), '5 m/s and 0.5 rad/s for 0.4 s'


def test_speed_is_linear_between_two_messages_and_constant_after_the_last() -> None:
    speeds = [odometry(number / 5, x=2.0 * number / 5) for number in range(6)]
    kept = store(*speeds, speeds[-1])  # a message that comes twice changes nothing
    found = kept.moved(header(0.0), header(1.2))
    assert found is not None
    assert found[0] == pytest.approx(1.0 + 0.4), 'half of 2 m/s for 1 s, then 2 m/s for 0.2 s'


@pytest.mark.parametrize(
    ('before_s', 'after_s'),
    [(-0.1, 0.5), (0.5, 1.6)],
    ids=['begins before the first message', 'the last one is too old'],
)
def test_nothing_is_told_beyond_the_messages(before_s: float, after_s: float) -> None:
    kept = store(*(odometry(1.0 + number / 5, x=1.0) for number in range(6)))
    assert kept.moved(header(1.0 + before_s), header(1.0 + after_s)) is None


def test_nothing_is_told_over_a_gap_and_without_messages() -> None:
    assert (
        store(odometry(1.0, x=1.0), odometry(1.6, x=1.0)).moved(header(1.1), header(1.5)) is None
    )
    assert store().moved(header(1.0), header(1.2)) is None


def test_speeds_that_are_not_finite_are_passed_over() -> None:
    kept = store(odometry(1.0, x=2.0), odometry(1.2, x=math.nan), odometry(1.4, x=2.0))
    kept.add(odometry(1.3, x=math.inf))
    assert kept.moved(header(1.0), header(1.4)) == pytest.approx((0.8, 0.0))


def test_a_recording_that_starts_again_forgets_the_former_run() -> None:
    kept = store(odometry(9.0, x=50.0), odometry(9.1, x=50.0))
    for message in (odometry(1.0, x=1.0), odometry(1.4, x=1.0)):
        kept.add(message)
    assert kept.moved(header(1.0), header(1.4)) == pytest.approx((0.4, 0.0))
    assert kept.moved(header(9.0), header(9.1)) is None


def test_odometry_that_comes_a_little_later_is_waited_for() -> None:
    kept = store(odometry(1.0, x=1.0), odometry(1.2, x=1.0))
    waits = threading.Event()
    wait_for = kept._changed.wait_for

    def seen(*_: object) -> bool:
        waits.set()
        return bool(wait_for(lambda: kept._reaches(1.4), 240.0))

    kept._changed.wait_for = seen  # type: ignore[method-assign, assignment]  # with more patience

    def late() -> None:
        waits.wait()
        kept.add(odometry(1.4, x=3.0))

    thread = threading.Thread(target=late)
    thread.start()
    found = kept.moved(header(1.2), header(1.4))
    thread.join()
    assert found == pytest.approx((0.4, 0.0)), 'from 1 to 3 m/s in 0.2 s'
