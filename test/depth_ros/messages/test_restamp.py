# SPDX-License-Identifier: Apache-2.0
"""Recorded messages with the stamps of now: nothing else in them changes."""

from __future__ import annotations

import itertools
import struct
import time
from pathlib import Path

import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from depth_core.errors import ConfigError
from depth_ros.messages.restamp import Restamp, begins_with_header
from depth_ros.play_bag import main
from test.depth_ros.bags import IMAGE, INFO, PERIOD_NS, write_bag
from test.depth_ros.ros_processes import ros_session
from test.depth_ros.sample_messages import stamp_ns

SECOND_NS = 1_000_000_000


def info_of(stamp_ns: int) -> bytes:
    header = Header(frame_id='camera')
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, SECOND_NS)
    return serialize_message(CameraInfo(header=header, height=3, width=4))


def stamp_of(data: bytes) -> int:
    return stamp_ns(deserialize_message(data, CameraInfo))


def test_distances_stay_at_the_speed_that_is_played() -> None:
    restamp = Restamp(rate=2.0)
    first, same, later = (info_of(50 * SECOND_NS + at) for at in (7, 7, 600_000_007))
    begun_ns = 1_800_000_000 * SECOND_NS + 999_999_999
    assert stamp_of(restamp(first, begun_ns)) == begun_ns
    assert stamp_of(restamp(same, begun_ns + 5)) == begun_ns
    assert stamp_of(restamp(later, begun_ns + 300_000_005)) == begun_ns + 300_000_000


def test_only_the_stamp_changes() -> None:
    recorded = info_of(5 * SECOND_NS)
    changed = Restamp(rate=1.0)(recorded, 9 * SECOND_NS)
    assert changed != recorded
    assert changed[:4] + changed[12:] == recorded[:4] + recorded[12:]
    message = deserialize_message(changed, CameraInfo)
    assert (message.header.frame_id, message.height, message.width) == ('camera', 3, 4)


def test_big_endian_messages_stay_big_endian() -> None:
    recorded = b'\0\0\0\0' + struct.pack('>iI', 5, 6) + b'rest'
    changed = Restamp(rate=1.0)(recorded, 9 * SECOND_NS + 1)
    assert changed == b'\0\0\0\0' + struct.pack('>iI', 9, 1) + b'rest'


def test_no_stamp_stays_none_and_stamps_out_of_reach_are_those_nearest() -> None:
    restamp = Restamp(rate=1.0)
    assert restamp(info_of(0), 9 * SECOND_NS) == info_of(0)
    assert restamp(b'\0\1\0\0', 9 * SECOND_NS) == b'\0\1\0\0'
    restamp(info_of(100 * SECOND_NS), 50 * SECOND_NS)
    assert stamp_of(restamp(info_of(20 * SECOND_NS), 0)) == 0
    restamp = Restamp(rate=1e-9)
    restamp(info_of(1 * SECOND_NS), 50 * SECOND_NS)
    assert stamp_of(restamp(info_of(9 * SECOND_NS), 0)) == (2**31 - 1) * SECOND_NS


def test_messages_with_a_header_in_front_are_known() -> None:
    assert begins_with_header(Image)
    assert begins_with_header(CameraInfo)
    assert not begins_with_header(String)
    assert not begins_with_header(Header)


@pytest.mark.ros
def test_a_loop_is_stamped_as_a_live_camera_would(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', frames=3)
    begun_ns = time.time_ns()
    with ros_session(tmp_path) as session:
        options = ('--rate', '2', '--loop', '--restamp', '--wait_for_subscribers')
        session.start('-m', 'depth_ros.play_bag', str(bag), *options)
        images = session.collect(Image, IMAGE)
        infos = session.collect(CameraInfo, INFO)
        session.until(lambda: min(len(images), len(infos)) >= 7, 'more than two rounds')
    stamps = [stamp_ns(message) for message in images[:7]]
    assert stamps == [stamp_ns(message) for message in infos[:7]]
    assert begun_ns < stamps[0] < stamps[-1] < time.time_ns()
    distances = [after - before for before, after in itertools.pairwise(stamps)]
    # Between two rounds lies what the bag has between two images, and what the loop takes.
    assert [distances[index] for index in (0, 1, 3, 4)] == [PERIOD_NS // 2] * 4
    assert all(distances[index] >= PERIOD_NS // 2 for index in (2, 5))


def test_stamps_of_now_and_a_recorded_clock_contradict(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='give one of them'):
        main([str(write_bag(tmp_path / 'bag')), '--restamp', '--clock'])
