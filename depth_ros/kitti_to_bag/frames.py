# SPDX-License-Identifier: Apache-2.0
"""The frames of the car of KITTI, as REP-103 and REP-105 name and turn them.

`base_link` is the middle between the axles, on the ground; `imu_link` and `velo_link` have x
ahead, y left, z up, the optical frames of the cameras z ahead, x right, y down. A camera whose
images are rectified has the frame of its rectified image. Where only odometry is known, the car
is the left grey camera: `base_link` stands there, with x ahead.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_core.data.kitti.files import read_rigid
from depth_core.data.kitti.recording import Kind, Recording
from depth_core.data.kitti.rig import RigCamera

ODOM: Final = 'odom'
BASE: Final = 'base_link'
IMU: Final = 'imu_link'
LIDAR: Final = 'velo_link'

BASE_FROM_IMU_M: Final = (-2.71 / 2.0 - 0.05, 0.32, 0.93)
"""Place of the GPS and inertial unit: wheel base 2.71 m, the unit 0.05 m behind the rear axle,
0.32 m left of the middle and 0.93 m above the ground, as the drawing of the car states them."""

BODY_FROM_OPTICAL: Final = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""Axes of an optical frame in one with x ahead, y left, z up."""


class Link(NamedTuple):
    """A transform between two frames."""

    parent: str
    child: str
    matrix: NDArray[np.float64]
    """[4, 4] that takes points of the child into the parent, metres."""


def optical(camera: RigCamera) -> str:
    """Name of the optical frame of a camera."""
    return f'camera_{camera.name}_optical_frame'


def static_links(recording: Recording) -> list[Link]:
    """The transforms that do not change during a recording."""
    cameras = [camera for camera, _ in recording.cameras.values()]
    if recording.kind is Kind.ODOMETRY:
        links = [
            Link(
                BASE,
                optical(camera),
                BODY_FROM_OPTICAL @ inverse(camera.camera_from_reference),
            )
            for camera in cameras
        ]
        lidar = odometry_lidar(cameras)
        return links if lidar is None else [*links, Link(BASE, LIDAR, lidar)]
    links = list[Link]()
    calibration = recording.day / 'calib_imu_to_velo.txt'
    if calibration.is_file():
        place = np.eye(4)
        place[:3, 3] = BASE_FROM_IMU_M
        links += [
            Link(BASE, IMU, place),
            Link(IMU, LIDAR, inverse(read_rigid(calibration))),
        ]
    raw = recording.kind is Kind.EXTRACT
    return [
        *links,
        *(Link(LIDAR, optical(camera), _raw_place(camera, raw=raw)) for camera in cameras),
    ]


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of a [4, 4] transform."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def odometry_lidar(cameras: list[RigCamera]) -> NDArray[np.float64] | None:
    """[4, 4] lidar frame to `base_link` of a sequence; None where it is not known."""
    for camera in cameras:
        if camera.camera_from_lidar is not None:
            reference_from_camera = inverse(camera.camera_from_reference)
            return BODY_FROM_OPTICAL @ reference_from_camera @ camera.camera_from_lidar
    return None


def _raw_place(camera: RigCamera, *, raw: bool) -> NDArray[np.float64]:
    """[4, 4] frame of a camera, of its rectified image or of its image as taken, to the lidar."""
    assert camera.camera_from_lidar is not None  # noqa: S101  KITTI raw always states it
    lidar_from_rectified = inverse(camera.camera_from_lidar)
    if not raw or camera.lens is None:
        return lidar_from_rectified
    rectified_from_raw = np.eye(4)
    rectified_from_raw[:3, :3] = camera.lens.r
    return lidar_from_rectified @ rectified_from_raw


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The unit quaternion (x, y, z, w), w not negative, of the rotation nearest to a [3, 3].

    Calibrations are rounded to a few digits, so that their rotations are not quite such.
    """
    left, _, right = np.linalg.svd(rotation)
    m = left @ right
    # The squares of all four, times four; the largest is divided by.
    squares = np.array(
        [
            1.0 + m[0, 0] - m[1, 1] - m[2, 2],
            1.0 - m[0, 0] + m[1, 1] - m[2, 2],
            1.0 - m[0, 0] - m[1, 1] + m[2, 2],
            1.0 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    products = np.array(
        [
            [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ]
    )
    values = products[int(squares.argmax())]
    values = values / np.linalg.norm(values)
    if values[3] < 0.0:
        values = -values
    x, y, z, w = (float(value) for value in values)
    return x, y, z, w
