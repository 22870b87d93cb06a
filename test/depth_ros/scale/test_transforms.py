# SPDX-License-Identifier: Apache-2.0
"""Where a sensor is seen from a camera, by transforms whose numbers are worked by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from std_msgs.msg import Header

from depth_core.errors import DataError
from depth_core.geometry import transform
from depth_ros.scale.transforms import LATE_S, TransformStore

FORWARD = (0.5, -0.5, 0.5, 0.5)
"""A body frame (x ahead, y left, z up) seen from an optical one (x right, y down, z ahead)."""
IDENTITY = (0.0, 0.0, 0.0, 1.0)
QUARTER = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
"""A quarter turn about z: x becomes y."""


def header(at_s: float, frame: str) -> Header:
    result = Header(frame_id=frame)
    result.stamp.sec, result.stamp.nanosec = int(at_s), round(at_s % 1.0 * 1e9)
    return result


def pose(
    parent: str,
    child: str,
    place_m: tuple[float, float, float],
    rotation: tuple[float, float, float, float] = IDENTITY,
    at_s: float = 0.0,
) -> SimpleNamespace:
    """A message of /tf with one transform; tf2_msgs itself is on no package index."""
    vector = SimpleNamespace(**dict(zip('xyz', place_m, strict=True)))
    turn = SimpleNamespace(**dict(zip('xyzw', rotation, strict=True)))
    item = SimpleNamespace(
        header=header(at_s, parent),
        child_frame_id=child,
        transform=SimpleNamespace(translation=vector, rotation=turn),
    )
    return SimpleNamespace(transforms=[item])


def seen(
    store: TransformStore, point_m: tuple[float, float, float], at_s: float = 1.0
) -> NDArray[np.float64]:
    """A point of the lidar as the camera sees it."""
    (found,) = transform(np.array([point_m]), store(header(at_s, 'camera'), 'lidar'))
    return np.asarray(found, np.float64)


def test_a_lidar_above_a_camera_that_looks_ahead() -> None:
    store = TransformStore()
    store.add_static(pose('/base', 'lidar', (0.2, 0.0, 1.5)))
    store.add_static(pose('camera', '/base', (0.0, 1.0, 0.0), FORWARD))
    # 10 m ahead, 2 m to the left and 1.5 m below the lidar: 10.2 m ahead of the base, on the
    # ground, 2 m to its left; the camera is 1 m above the base.
    assert_allclose(seen(store, (10.0, 2.0, -1.5)), [-2.0, 1.0, 10.2], atol=1e-12)


def test_a_moving_mount_is_interpolated_between_its_messages() -> None:
    store = TransformStore()
    store.add(pose('camera', 'lidar', (0.0, 0.0, 0.0), IDENTITY, at_s=1.0))
    for _ in range(2):  # a message that comes twice changes nothing
        store.add(pose('camera', 'lidar', (3.0, 0.0, 6.0), QUARTER, at_s=1.3))
    third = math.radians(30.0)
    assert_allclose(
        seen(store, (1.0, 0.0, 0.0), 1.1), [1.0 + math.cos(third), math.sin(third), 2.0]
    )
    assert_allclose(seen(store, (1.0, 0.0, 0.0), 1.3), [3.0, 1.0, 6.0], atol=1e-12)
    assert_allclose(seen(store, (1.0, 0.0, 0.0), 1.3 + 0.9 * LATE_S), [3.0, 1.0, 6.0], atol=1e-12)


def test_the_same_rotation_with_the_other_sign_is_no_turn() -> None:
    store = TransformStore()
    store.add(pose('camera', 'lidar', (0.0, 0.0, 0.0), QUARTER, at_s=1.0))
    x, y, z, w = QUARTER
    store.add(pose('camera', 'lidar', (0.0, 0.0, 0.0), (-x, -y, -z, -w), at_s=1.2))
    assert_allclose(seen(store, (1.0, 0.0, 0.0), 1.1), [0.0, 1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize('at_s', [0.9, 1.3 + 2 * LATE_S])
def test_before_the_first_and_long_after_the_last_message_it_is_not_known(at_s: float) -> None:
    store = TransformStore()
    store.add(pose('camera', 'lidar', (0.0, 0.0, 0.0), at_s=1.0))
    store.add(pose('camera', 'lidar', (0.0, 0.0, 0.0), at_s=1.3))
    with pytest.raises(DataError, match=r"'lidar' .*'camera'.*holds nothing.*lidar_to_camera"):
        seen(store, (1.0, 0.0, 0.0), at_s)


def test_frames_that_are_not_connected_are_named_with_what_is_known() -> None:
    store = TransformStore()
    with pytest.raises(DataError, match='holds nothing'):
        seen(store, (1.0, 0.0, 0.0))
    store.add_static(pose('base', 'lidar', (0.0, 0.0, 0.0)))
    with pytest.raises(DataError, match='holds base -> lidar'):
        seen(store, (1.0, 0.0, 0.0))


def test_what_is_not_finite_is_passed_over_and_a_replay_starts_again() -> None:
    store = TransformStore()
    store.add(pose('camera', 'lidar', (1.0, 0.0, 0.0), at_s=5.0))
    store.add(pose('camera', 'lidar', (math.nan, 0.0, 0.0), at_s=5.1))
    assert_allclose(seen(store, (0.0, 0.0, 0.0), 5.0), [1.0, 0.0, 0.0])
    store.add(pose('camera', 'lidar', (2.0, 0.0, 0.0), at_s=1.0))
    assert_allclose(seen(store, (0.0, 0.0, 0.0), 1.0), [2.0, 0.0, 0.0])


def test_a_transform_may_get_another_parent_and_change_its_topic() -> None:
    store = TransformStore()
    store.add(pose('base', 'lidar', (1.0, 0.0, 0.0), at_s=1.0))
    store.add_static(pose('camera', 'lidar', (4.0, 0.0, 0.0)))
    assert_allclose(seen(store, (0.0, 0.0, 0.0), 77.0), [4.0, 0.0, 0.0])


def test_a_rotation_of_zero_is_refused() -> None:
    store = TransformStore()
    store.add_static(pose('camera', 'lidar', (1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)))
    with pytest.raises(DataError, match='identity is'):
        seen(store, (0.0, 0.0, 0.0))
