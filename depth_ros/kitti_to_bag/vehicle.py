# SPDX-License-Identifier: Apache-2.0
"""What is known of the car's motion: GPS, inertial unit and odometry of them, or given poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.data.bag.writing import Record, Topic
from depth_core.data.kitti.oxts import imu_pose, mercator_scale, read_oxts, rotation_of_angles
from depth_core.data.kitti.recording import Recording, Track
from depth_core.errors import DataError
from depth_ros.kitti_to_bag import messages
from depth_ros.kitti_to_bag.frames import (
    BASE,
    BASE_FROM_IMU_M,
    BODY_FROM_OPTICAL,
    IMU,
    ODOM,
    Link,
)
from depth_ros.kitti_to_bag.streams import PREFIX

TF: Final = Topic(name='/tf', msgtype=messages.TRANSFORMS)

_ODOMETRY: Final = Topic(name=f'{PREFIX}/odometry', msgtype=messages.ODOMETRY)
_FIX: Final = Topic(name=f'{PREFIX}/oxts/gps/fix', msgtype=messages.FIX)
_VELOCITY: Final = Topic(name=f'{PREFIX}/oxts/gps/vel', msgtype=messages.TWIST)
_IMU: Final = Topic(name=f'{PREFIX}/oxts/imu', msgtype=messages.IMU)

# Places in a measurement, as oxts/dataformat.txt names them.
_NORTH, _EAST, _UP = 6, 7, 10
_ACCELERATION: Final = slice(11, 14)
_TURNING: Final = slice(17, 20)
_POSITION_ACCURACY: Final = 23
_SATELLITES: Final = 26
_APPROXIMATED: Final = 1
"""Kind of covariance: made from one number."""
_GPS: Final = 1
"""Service of a fix."""


class OxtsStream:
    """Inertial unit, GPS fix, speed, and odometry of the car from them.

    The world, `odom`, has its origin where the car is at the first measurement; its axes point
    east, north and up.

    Args:
        recording: A drive of KITTI raw that has such measurements.
        track: All measurements.
        stamps_ns: Of those to write.
    """

    topics: Sequence[Topic] = (_IMU, _FIX, _VELOCITY, _ODOMETRY, TF)

    def __init__(self, recording: Recording, track: Track, stamps_ns: Mapping[int, int]) -> None:
        self._root, self._track = recording.root, track
        self.stamps_ns = stamps_ns
        """When each measurement was taken."""
        first = self._measured(min(track.files))
        self._scale = mercator_scale(first)
        self._imu_from_base = np.eye(4)
        self._imu_from_base[:3, 3] = -np.array(BASE_FROM_IMU_M)
        self._start_m = (imu_pose(first, self._scale) @ self._imu_from_base)[:3, 3]

    def records(self, number: int) -> Sequence[Record]:
        """The messages of a measurement.

        Raises:
            DataError: The file is missing or malformed.
        """
        values, stamp_ns = self._measured(number), self.stamps_ns[number]
        rotation = rotation_of_angles(*values[3:6])
        # North and east speed are level; the twist is that of the frame that tilts with the car.
        linear = rotation.T @ values[[_EAST, _NORTH, _UP]]
        angular = values[_TURNING]
        at_base = linear + np.cross(angular, self._imu_from_base[:3, 3])
        pose = imu_pose(values, self._scale) @ self._imu_from_base
        pose[:3, 3] -= self._start_m
        made: tuple[tuple[Topic, Any], ...] = (
            (_IMU, _imu(values, rotation, stamp_ns)),
            (_FIX, _fix(values, stamp_ns)),
            (
                _VELOCITY,
                messages.make(
                    'geometry_msgs/TwistStamped',
                    header=messages.head(stamp_ns, IMU),
                    twist=messages.twist(linear, angular),
                ),
            ),
            *_moved(pose, (at_base, angular), stamp_ns),
        )
        return [messages.record(topic, stamp_ns, message) for topic, message in made]

    def _measured(self, number: int) -> NDArray[np.float64]:
        values = read_oxts(self._root, number)
        if values is None:
            message = f'{self._track.files[number]} is gone; unpack the drive again.'
            raise DataError(message)
        return values


class PoseStream:
    """Odometry of the poses that an odometry sequence gives; speeds are their differences.

    Args:
        poses: [T, 4, 4] left grey camera to that of the first frame, metres.
        times_ns: Of their frames.
        stamps_ns: Of those to write.
    """

    topics: Sequence[Topic] = (_ODOMETRY, TF)

    def __init__(
        self,
        poses: NDArray[np.float64],
        times_ns: Mapping[int, int],
        stamps_ns: Mapping[int, int],
    ) -> None:
        self._poses = BODY_FROM_OPTICAL @ poses @ BODY_FROM_OPTICAL.T
        self._times_ns = times_ns
        self.stamps_ns = stamps_ns
        """When each frame was taken."""

    def records(self, number: int) -> Sequence[Record]:
        """The messages of a pose."""
        stamp_ns = self.stamps_ns[number]
        made = _moved(self._poses[number], self._speed(number), stamp_ns)
        return [messages.record(topic, stamp_ns, message) for topic, message in made]

    def _speed(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Linear and angular, from the frame before to the frame after."""
        near = [item for item in (number - 1, number, number + 1) if item in self._times_ns]
        seconds = (self._times_ns[near[-1]] - self._times_ns[near[0]]) * 1e-9
        if seconds <= 0.0:
            return np.zeros(3), np.zeros(3)
        start, end = self._poses[near[0]], self._poses[near[-1]]
        turn = start[:3, :3].T @ end[:3, :3]
        axis = np.array(
            [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        )
        linear = self._poses[number][:3, :3].T @ (end[:3, 3] - start[:3, 3])
        return linear / seconds, axis / (2.0 * seconds)  # the car turns little in 0.2 s


def _moved(
    pose: NDArray[np.float64],
    speed: tuple[NDArray[np.float64], NDArray[np.float64]],
    stamp_ns: int,
) -> tuple[tuple[Topic, Any], ...]:
    """Odometry and transform of the car."""
    odometry = messages.odometry(pose, speed, stamp_ns=stamp_ns, frames=(ODOM, BASE))
    return (
        (_ODOMETRY, odometry),
        (TF, messages.transforms([Link(ODOM, BASE, pose)], stamp_ns=stamp_ns)),
    )


def _imu(values: NDArray[np.float64], rotation: NDArray[np.float64], stamp_ns: int) -> Any:  # noqa: ANN401  made at run time
    return messages.make(
        'sensor_msgs/Imu',
        header=messages.head(stamp_ns, IMU),
        orientation=messages.quaternion(rotation),
        orientation_covariance=np.zeros(9),
        angular_velocity=messages.vector(values[_TURNING]),
        angular_velocity_covariance=np.zeros(9),
        linear_acceleration=messages.vector(values[_ACCELERATION]),
        linear_acceleration_covariance=np.zeros(9),
    )


def _fix(values: NDArray[np.float64], stamp_ns: int) -> Any:  # noqa: ANN401  made at run time
    has_fix = values[_SATELLITES] > 0
    status = messages.make('sensor_msgs/NavSatStatus', status=0 if has_fix else -1, service=_GPS)
    return messages.make(
        'sensor_msgs/NavSatFix',
        header=messages.head(stamp_ns, IMU),
        status=status,
        latitude=float(values[0]),
        longitude=float(values[1]),
        altitude=float(values[2]),
        position_covariance=(np.eye(3) * values[_POSITION_ACCURACY] ** 2).ravel(),
        position_covariance_type=_APPROXIMATED,
    )
