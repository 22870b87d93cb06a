# SPDX-License-Identifier: Apache-2.0
"""`snapshot` in its own process, listening to the messages that the node would publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sensor_msgs.msg import Image

from depth_core.contracts import DepthMap
from depth_ros.frames.outputs import OUTPUTS, POINTS
from depth_ros.frames.result import FrameResult
from depth_ros.messages.point_cloud import PixelRays
from depth_ros.pictures.answered import answered
from depth_ros.settings import settings_from
from depth_ros.snapshot import TOPICS, described
from test.depth_ros.ros_processes import BEST_EFFORT, ros_session
from test.depth_ros.sample_messages import camera_info, header, image, picture

SIZE = (12, 16)


def messages(number: int, **parameters: object) -> dict[str, Any]:
    """What the node publishes about one image of a plane 4 m away, a corner unknown."""
    depth_m = np.full(SIZE, 4.0, np.float32)
    depth_m[0, 0] = np.nan
    result = FrameResult(
        header=header(number),
        rgb=picture(number, height=SIZE[0], width=SIZE[1]),
        settings=settings_from({'cloud.edge_ratio': 0.0, **parameters}),
        rays=lambda _: PixelRays.of(np.ones((2, *SIZE), np.float32)),
        depth=DepthMap(
            depth_m=depth_m, sigma_m=np.full(SIZE, 0.5, np.float32), depth_range=(0.5, 80.0)
        ),
        camera_info=camera_info(number, height=SIZE[0], width=SIZE[1]),
    )
    return {row.topic: row.make(result) for row in OUTPUTS if row.topic in TOPICS}


def test_the_messages_of_the_node_are_read_as_they_were_made() -> None:
    made = messages(3)
    answer = answered(made)
    assert answer.stamp_ns == 1_003_123_456_789
    assert answer.depth_m[1, 1] == 4.0
    assert answer.points_m is not None
    assert len(answer.points_m) == SIZE[0] * SIZE[1] - 1
    rgb = picture(3, height=SIZE[0], width=SIZE[1]).reshape(-1, 3)[1:]
    assert_array_equal(answer.point_colours, rgb)
    assert answer.matrix is not None
    assert answer.matrix[0, 0] == SIZE[1]


def test_millimetres_and_clouds_without_colour_are_read_too() -> None:
    answer = answered(messages(1, **{'depth_encoding': '16UC1', 'cloud.color': False}))
    assert answer.depth_m[1, 1] == 4.0
    assert np.isnan(answer.depth_m[0, 0])
    assert answer.point_colours is None


def test_the_lines_say_what_came_and_what_did_not() -> None:
    made = messages(1)
    del made[POINTS]
    lines = described(made, {topic: f'/front/{topic}' for topic in (*made, POINTS)})
    assert '/front/depth/image_raw: 16x12 32FC1, 99 % known, 4 to 4, median 4 m' in lines
    assert '/front/depth/color: 16x12 rgb8' in lines
    assert '/front/points: nothing came' in lines


@pytest.mark.ros
def test_a_picture_is_saved_of_an_image_that_everything_came_of(tmp_path: Path) -> None:
    with ros_session(tmp_path) as session:
        snapshot = session.start_node(
            'depth_ros.snapshot',
            arguments=('--output', str(tmp_path / 'found.png'), '--timeout_s', '60'),
            remappings={'__ns': '/front', 'image': '/camera/image'},
        )
        publishers = {
            topic: session.publisher(kind, f'/front/{topic}', BEST_EFFORT)
            for topic, kind in TOPICS.items()
        }
        camera = session.publisher(Image, '/camera/image', BEST_EFFORT)
        for number in range(1000):
            camera.publish(image(number, picture(number, height=SIZE[0], width=SIZE[1])))
            for topic, message in messages(number).items():
                publishers[topic].publish(message)
            session.executor.spin_once(timeout_sec=0.05)
            if snapshot.process.poll() is not None:
                break
        assert snapshot.wait() == 0, snapshot.output
    assert '/front/points: 16x12, 191 finite points' in snapshot.output
    assert '/camera/image: 16x12 rgb8' in snapshot.output
    found = cv2.imread(str(tmp_path / 'found.png'))
    assert found is not None
    assert found.shape == (836, 1650, 3)


@pytest.mark.ros
def test_without_depth_it_says_where_nobody_publishes(tmp_path: Path) -> None:
    with ros_session(tmp_path) as session:
        snapshot = session.start_node('depth_ros.snapshot', arguments=('--timeout_s', '0.2'))
        assert snapshot.wait() == 2
    assert 'no depth came on /depth/image_raw. Publishers: ' in snapshot.output
    assert '/depth/image_raw has 0' in snapshot.output
    assert 'Traceback' not in snapshot.output
    assert not (tmp_path / 'snapshot.png').exists()
