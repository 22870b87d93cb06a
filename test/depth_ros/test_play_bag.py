# SPDX-License-Identifier: Apache-2.0
"""Bags played into real ROS: what arrives is what was recorded, and wrong bags are named."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.data.bag.opener import open_bag, select_connections
from depth_core.errors import ConfigError, DataError
from depth_ros.messages.conversions import rgb_from_compressed, rgb_from_image
from depth_ros.play_bag import main, recorded_qos
from depth_ros.playback import QUEUE_DEPTH, Playback
from test.depth_ros.bags import (
    COMPRESSED,
    IMAGE,
    INFO,
    PERIOD_NS,
    START_NS,
    TYPES,
    picture,
    write_bag,
)
from test.depth_ros.ros_processes import REPOSITORY, ros_session
from test.depth_ros.sample_messages import stamp_ns

KINDS: dict[str, dict[str, Any]] = {
    'mcap': {},
    'mcap, zstd chunks': {'zstd': CompressionMode.STORAGE},
    'mcap, zstd messages': {'zstd': CompressionMode.MESSAGE},
    'sqlite3': {'storage': 'sqlite3'},
    'sqlite3, zstd messages': {'storage': 'sqlite3', 'zstd': CompressionMode.MESSAGE},
    'sqlite3, zstd file': {'storage': 'sqlite3', 'zstd': CompressionMode.FILE},
}


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with open_bag(path) as bag:
        connections = select_connections(bag, ())
        return [
            (message.connection.topic, message.stamp_ns, message.data)
            for message in bag.messages(connections)
        ]


@pytest.mark.parametrize('kind', KINDS)
def test_every_storage_and_compression_gives_the_recorded_bytes(kind: str, tmp_path: Path) -> None:
    plain = contents(write_bag(tmp_path / 'plain'))
    assert [topic for topic, _, _ in plain] == [INFO, IMAGE] * 4
    assert contents(write_bag(tmp_path / 'kind', **KINDS[kind])) == plain


@pytest.mark.ros
def test_recorded_messages_arrive_as_they_were(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', lidar_depth_m=lambda _: np.full((64, 96), 4.0, np.float32))
    with ros_session(tmp_path) as session:
        played = session.start(
            *('-m', 'depth_ros.play_bag', str(bag), '--rate', '4', '--clock', '--remap'),
            *(f'{IMAGE}:=/robot/image', '--wait_for_subscribers', IMAGE, INFO),
            *('--wait_for_node', session.node.get_name()),
        )
        clock = session.collect(Clock, '/clock')
        images = session.collect(Image, '/robot/image')
        infos = session.collect(CameraInfo, INFO)
        session.until(lambda: len(images) == len(infos) == 4, 'all messages')
        assert played.wait() == 0
    for index, image in enumerate(images):
        assert stamp_ns(image) == START_NS + index * PERIOD_NS
        np.testing.assert_array_equal(rgb_from_image(image), picture(index))
    assert [stamp_ns(info) for info in infos] == [stamp_ns(image) for image in images]
    times_ns = [item.clock.sec * 1_000_000_000 + item.clock.nanosec for item in clock]
    assert times_ns == sorted(times_ns)
    assert START_NS <= times_ns[0] < times_ns[-1]
    assert '/tf_static is not played: its type tf2_msgs/msg/TFMessage' in played.output
    assert 'played 12 messages' in played.output
    assert '/robot/image: 4 messages' in played.output


@pytest.mark.ros
def test_part_of_a_bag_and_its_recorded_qos(tmp_path: Path) -> None:
    offered = [qos(QosReliability.BEST_EFFORT, QosDurability.VOLATILE)]
    bag = write_bag(tmp_path / 'bag', storage='sqlite3', compressed=True, qos=offered)
    with ros_session(tmp_path) as session:
        best_effort = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        played = session.start(
            *('-m', 'depth_ros.play_bag', str(bag), '--start_offset_s', '0.15'),
            *('--topics', COMPRESSED, '--wait_for_subscribers', '--loop'),
        )
        images = session.collect(CompressedImage, COMPRESSED, best_effort)
        found = session.node.get_publishers_info_by_topic(COMPRESSED)
        assert [item.qos_profile.reliability for item in found] == [ReliabilityPolicy.BEST_EFFORT]
        # Again and again: a best-effort reader misses what is sent before it knows the writer.
        session.until(lambda: len(images) >= 4, 'the last two images')
        assert INFO not in dict(session.node.get_topic_names_and_types())
        played.signal(signal.SIGINT)
        assert played.wait() == 0
    found_at = {stamp_ns(item): item for item in images}
    assert sorted(found_at) == [START_NS + place * PERIOD_NS for place in (2, 3)]
    for place, stamp in zip((2, 3), sorted(found_at), strict=True):
        np.testing.assert_array_equal(rgb_from_compressed(found_at[stamp]), picture(place))


@pytest.mark.ros
def test_a_loop_repeats_until_it_is_interrupted(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', frames=2)
    with ros_session(tmp_path) as session:
        played = session.start('-m', 'depth_ros.play_bag', str(bag), '--rate', '20', '--loop')
        infos = session.collect(CameraInfo, INFO)
        session.until(lambda: len(infos) >= 5, 'more than two rounds')
        slow = ('--rate', '1e-4', '--no_wait')  # for longer than any test waits
        parts = [
            session.start('-m', 'depth_ros.play_bag', str(bag), *slow, *options)
            for options in ((), ('--as_node',))
        ]
        session.until(lambda: all('plays' in part.output for part in parts), 'that they play')
        for player in (played, *parts):
            player.signal(signal.SIGINT)
        assert played.wait() == 0, 'else launch says that it has died'
        assert [part.wait() for part in parts] == [130, 0]
    assert {stamp_ns(item) for item in infos} == {START_NS, START_NS + PERIOD_NS}
    assert 'played' in played.output
    assert 'Traceback' not in played.output


@pytest.mark.ros
def test_nobody_listening_is_said(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', frames=1)
    with ros_session(tmp_path) as session:
        options = ('--wait_for_subscribers', IMAGE, '--ready_timeout_s', '0.2')
        played = session.start('-m', 'depth_ros.play_bag', str(bag), *options)
        assert played.wait() == 2
    assert f'error: nobody subscribed to {IMAGE} within 0.2 s' in played.output


def qos(reliability: QosReliability, durability: QosDurability, depth: int = 7) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
        deadline=QosTime(0, 1_000_000),
        lifespan=QosTime(0, 1_000_000),
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=QosTime(1, 0),
        avoid_ros_namespace_conventions=False,
    )


def test_recorded_qos_is_offered_again_but_for_its_times() -> None:
    profile = recorded_qos('/x', [qos(QosReliability.BEST_EFFORT, QosDurability.TRANSIENT_LOCAL)])
    assert profile.reliability is ReliabilityPolicy.BEST_EFFORT
    assert profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
    assert profile.depth == 7
    assert profile.deadline.nanoseconds == profile.lifespan.nanoseconds == 0


def test_what_every_subscriber_takes_is_offered_where_nothing_was_recorded() -> None:
    for topic, durability in (
        ('/camera/image_raw', DurabilityPolicy.VOLATILE),
        ('/robot/tf_static', DurabilityPolicy.TRANSIENT_LOCAL),
    ):
        for offered in ([], [qos(QosReliability.UNKNOWN, QosDurability.SYSTEM_DEFAULT, depth=0)]):
            profile = recorded_qos(topic, offered)
            assert profile.reliability is ReliabilityPolicy.RELIABLE
            assert profile.durability is durability
            assert profile.depth == QUEUE_DEPTH


def test_the_report_says_how_late_messages_were() -> None:
    assert Playback().summary() == 'played 0 messages'
    playback = Playback(lateness_s=[0.001] * 19 + [0.1], duration_s=2.0)
    expected = 'played 20 messages in 2.00 s; lateness p50 1.0, p95 6.0, largest 100.0 ms'
    assert playback.summary() == expected


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--topics', '/cam/imag_raw'], "unknown topic '/cam/imag_raw'; did you mean"),
        (['--remap', '/cam/image_raw'], 'is not of the form from:=to'),
        (['--remap', '/nothing:=/x'], "unknown topic to remap '/nothing'"),
        (['--wait_for_subscribers', '/nothing'], "unknown topic to wait for '/nothing'"),
        (['--start_offset_s', '5'], 'beyond the end of the bag, which lasts 0.300 s'),
        (['--rate', '-1'], "'-1' is not a number above 0"),
        (['--clok'], "did you mean '--clock'"),
    ],
)
def test_wrong_options_are_answered_with_the_known_ones(
    options: list[str], complaint: str, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / 'bag')
    with pytest.raises((ConfigError, DataError)) as raised:
        main([str(bag), *options])
    assert complaint in str(raised.value)


def test_a_bag_of_ros_1_is_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0\n')
    with pytest.raises(DataError, match=r'is a ROS 1 bag .* rosbags-convert --src'):
        main([str(tmp_path / 'old.bag')])


def test_a_damaged_bag_ends_the_command_without_traceback(tmp_path: Path) -> None:
    storage = write_bag(tmp_path / 'bag', storage='sqlite3') / 'bag.db3'
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    found = subprocess.run(
        [sys.executable, '-m', 'depth_ros.play_bag', str(tmp_path / 'bag')],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.startswith('error: the part bag.db3 of bag ')
    assert found.stderr.count('\n') == 1


@pytest.mark.ros
def test_a_bag_that_was_cut_off_is_played_to_its_cut(tmp_path: Path) -> None:
    storage = write_bag(tmp_path / 'bag', frames=2) / 'bag.mcap'
    storage.write_bytes(storage.read_bytes()[:-30])
    with ros_session(tmp_path) as session:
        options = ('--rate', '20', '--no_wait')
        played = session.start('-m', 'depth_ros.play_bag', str(storage), *options)
        assert played.wait() == 2
    assert f'{IMAGE}: 2 messages' in played.output
    assert f'error: {storage} was played as far as it goes: the bag' in played.output


def test_messages_of_another_serialization_are_not_played(tmp_path: Path) -> None:
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            '/text', 'std_msgs/msg/String', typestore=TYPES, serialization_format='json'
        )
        writer.write(connection, 1, b'{"data": "x"}')
    found = subprocess.run(
        [sys.executable, '-m', 'depth_ros.play_bag', str(tmp_path / 'bag')],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert "/text is not played: its messages are serialised as 'json'" in found.stderr


@pytest.mark.ros
def test_a_bag_waits_for_those_who_listen_unless_it_shall_not(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', frames=4)
    with ros_session(tmp_path) as session:
        played = session.start('-m', 'depth_ros.play_bag', str(bag), '--rate', '20')
        infos = session.collect(CameraInfo, INFO)
        session.until(lambda: len(infos) == 4, 'the bag from its beginning')
        assert played.wait() == 0
        assert 'waits for subscribers, at most 5 s' in played.output
        assert f'subscribed to: {INFO}' in played.output
        at_once = session.start('-m', 'depth_ros.play_bag', str(bag), '--no_wait')
        assert at_once.wait() == 0
        assert 'waits for subscribers' not in at_once.output
