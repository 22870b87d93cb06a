# SPDX-License-Identifier: Apache-2.0
"""Lidar points at the pixels of an image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2

from depth_core.contracts import DepthMap, Intrinsics
from depth_core.data.bag.frame_tree import pose_matrix
from depth_core.errors import ConfigError, DataError
from depth_ros.frames.drops import FrameError
from depth_ros.middleware.message_types import find_message_class
from depth_ros.middleware.publishers import Publishers
from depth_ros.options.fields import with_values
from depth_ros.scale.inputs import check_scale_inputs
from depth_ros.scale.measured import LidarPoints
from depth_ros.scale.scene import Scene
from depth_ros.scale.stamped import StampedStore
from depth_ros.scale.transforms import FixedPlacement
from depth_ros.settings import Settings
from test.depth_ros.sample_messages import cloud, header, picture

CAMERA = Intrinsics(fx_px=80.0, fy_px=80.0, cx_px=79.5, cy_px=59.5, height=120, width=160)


def lidar(*clouds: PointCloud2) -> LidarPoints:
    """A lidar 1 m above the camera, its x ahead."""
    store: StampedStore[PointCloud2] = StampedStore(
        Publishers('/points', kind='sensor_msgs/msg/PointCloud2'), name='front/lidar_points'
    )
    for one in clouds:
        store.add(one)
    return LidarPoints(store, FixedPlacement(pose_matrix((0.0, -1.0, 0.0), (0.5, -0.5, 0.5, 0.5))))


def depth_and_scene(
    number: int, *, height: int = 120, width: int = 160, turn: NDArray[np.float64] | None = None
) -> tuple[DepthMap, Scene]:
    plane = np.ones((height, width), np.float32)
    depth = DepthMap(depth_m=plane, sigma_m=plane, stamp_ns=0)
    rotation = np.eye(3) if turn is None else turn
    scene = Scene(
        header=header(number),
        image=picture(number),
        view=None,
        camera=lambda: CAMERA,
        rotation=lambda: rotation,
    )
    return depth, scene


def test_points_land_at_their_pixels_and_the_nearest_counts() -> None:
    points_m = np.array(
        [
            [8.0, 0.05, 0.95],  # left 0.05 and up 1.95 of the camera at 8 m: 79 columns, 40 rows
            [16.0, 0.1, 2.9],  # on the same ray, behind it
            [-8.0, 0.05, 0.95],  # behind the camera
            [np.nan, 0.0, 0.0],
        ]
    ).astype(np.float32)
    found = lidar(cloud(3, points_m))(*depth_and_scene(3))
    # u = 79.5 - 80 * 0.05 / 8 = 79, v = 59.5 - 80 * 1.95 / 8 = 40
    rows, columns = np.nonzero(np.isfinite(found))
    assert (rows.tolist(), columns.tolist()) == ([40], [79])
    assert found[40, 79] == np.float32(8.0)


def test_depth_of_another_size_gets_the_same_points() -> None:
    points_m = np.array([[8.0, 0.05, 0.95]], np.float32)
    found = lidar(cloud(3, points_m))(*depth_and_scene(3, height=60, width=80))
    rows, columns = np.nonzero(np.isfinite(found))
    # the centre of pixel 79 of 160 lies at 39.25 of 80, that of row 40 at 19.75
    assert (rows.tolist(), columns.tolist()) == ([20], [39])


def test_a_view_that_is_turned_sees_them_turned() -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    points_m = np.array([[8.0, 0.05, 0.95]], np.float32)
    found = lidar(cloud(3, points_m))(*depth_and_scene(3, turn=quarter))
    # x becomes y: u = 79.5 + 80 * 1.95 / 8 = 99, v = 59.5 - 80 * 0.05 / 8 = 59
    assert np.isfinite(found[59, 99])


def test_without_points_of_that_time_the_topic_and_the_remapping_are_named() -> None:
    points_m = np.array([[8.0, 0.0, 0.0]], np.float32)
    with pytest.raises(FrameError, match=r'/points has no publisher; .*remap front/lidar_points'):
        lidar(cloud(1, points_m))(*depth_and_scene(9))


def test_points_without_z_are_no_points() -> None:
    message = cloud(3, np.array([[8.0, 0.0, 0.0]], np.float32))
    message.fields = list(message.fields)[:2]
    with pytest.raises(FrameError, match=r'points on /points give no scale: .*needs x, y and z'):
        lidar(message)(*depth_and_scene(3))


def test_the_message_itself_is_not_changed() -> None:
    message = cloud(3, np.array([[8.0, 0.0, 0.0]], np.float32))
    before = np.array(message.data)
    lidar(message)(*depth_and_scene(3))
    assert_array_equal(message.data, before)


def test_transforms_that_cannot_be_received_are_refused_before_anything_runs() -> None:
    settings, problems = with_values(Settings(), {'scale_source': 'lidar'})
    assert problems == []
    try:
        find_message_class('tf2_msgs/msg/TFMessage')
    except DataError:
        with pytest.raises(ConfigError, match=r'tf2_msgs\) are not installed.*lidar_to_camera'):
            check_scale_inputs(settings)
    else:
        check_scale_inputs(settings)
    placed, _ = with_values(settings, {'scale.lidar_to_camera': '0,0,0, 0,0,0,1'})
    check_scale_inputs(placed)


@pytest.mark.parametrize('pose', ['0 0 0', 'a b c d e f g', '0 0 0 0 0 0 0', '0 0 nan 0 0 0 1'])
def test_a_pose_that_is_none_is_refused(pose: str) -> None:
    settings, _ = with_values(Settings(), {'scale_source': 'lidar', 'scale.lidar_to_camera': pose})
    (problem,) = settings.scale.contradictions('lidar')
    assert repr(pose) in problem
    assert 'seven finite numbers' in problem
