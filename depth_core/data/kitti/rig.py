# SPDX-License-Identifier: Apache-2.0
"""The cameras of a KITTI recording as messages state them: all four, rectified or as taken.

Of KITTI raw by `calib_cam_to_cam.txt` and `calib_velo_to_cam.txt`, of KITTI odometry by the
`calib.txt` of the sequence, which has P0 to P3 and, with the lidar, Tr.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Intrinsics
from depth_core.data.kitti.files import read_calibration
from depth_core.data.text import numbers_of, read_entries, rotation_of
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_matrix

CAMERAS: Final = {0: 'gray_left', 1: 'gray_right', 2: 'color_left', 3: 'color_right'}
"""The cameras by their number in KITTI."""


@dataclass(frozen=True, kw_only=True)
class Lens:
    """How a camera is rectified."""

    k: NDArray[np.float64]
    """[3, 3] of the image as taken."""
    d: NDArray[np.float64]
    """[5] k1, k2, p1, p2, k3."""
    r: NDArray[np.float64]
    """[3, 3] frame of the camera to its rectified frame."""
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class RigCamera:
    """One camera of the car."""

    number: int
    rectified: Intrinsics
    """Of the rectified image."""
    camera_from_lidar: NDArray[np.float64] | None
    """[4, 4] lidar frame to the rectified frame of this camera, metres; None = not known."""
    camera_from_reference: NDArray[np.float64]
    """[4, 4] rectified frame of camera 0 to that of this camera, metres: a shift."""
    lens: Lens | None = None
    """None where only the rectified image is known."""

    @property
    def name(self) -> str:
        """As `color_left`."""
        return CAMERAS[self.number]


def read_raw_camera(day: Path, number: int) -> RigCamera:
    """Read one camera of the calibration of a day of KITTI raw.

    Raises:
        DataError: A file or an entry is missing, malformed or describes no camera.
    """
    calibration = read_calibration(day, number)
    path = day / 'calib_cam_to_cam.txt'
    entries = read_entries(path)

    def numbers(name: str, count: int) -> NDArray[np.float64]:
        key = f'{name}_{number:02d}'
        return numbers_of(entries.get(key, ''), count, source=f'{key} of calibration {path}')

    projection = numbers('P_rect', 12).reshape(3, 4)
    lens = None
    if f'K_{number:02d}' in entries:
        width, height = numbers('S', 2)
        lens = Lens(
            k=numbers('K', 9).reshape(3, 3),
            d=numbers('D', 5),
            r=rotation_of(
                entries.get(f'R_rect_{number:02d}', ''),
                source=f'R_rect_{number:02d} of calibration {path}',
            ),
            height=int(height),
            width=int(width),
        )
    return RigCamera(
        number=number,
        rectified=calibration.intrinsics,
        camera_from_lidar=calibration.camera_from_velodyne,
        camera_from_reference=_shift_of(projection),
        lens=lens,
    )


def read_odometry_camera(sequence: Path, number: int, size: tuple[int, int]) -> RigCamera:
    """Read one camera of the calibration of an odometry sequence.

    Args:
        sequence: Folder that holds calib.txt.
        number: Of the camera.
        size: (height, width) of its images, which the calibration does not state.

    Raises:
        DataError: The file or an entry is missing, malformed or describes no camera.
    """
    path = sequence / 'calib.txt'
    entries = read_entries(path)
    name = f'P{number}'
    projection = numbers_of(
        entries.get(name, ''), 12, source=f'{name} of calibration {path}'
    ).reshape(3, 4)
    if min(projection[0, 0], projection[1, 1]) <= 0.0 or projection[2, :3].tolist() != [0, 0, 1]:
        message = (
            f'{name} of calibration {path} is {projection.tolist()}; it must be a camera matrix '
            'with positive focal lengths and the last row 0 0 1: unpack the calibration again.'
        )
        raise DataError(message)
    shift = _shift_of(projection)
    lidar = None
    if 'Tr' in entries:
        reference_from_lidar = np.eye(4)
        source = f'Tr of calibration {path}'
        reference_from_lidar[:3] = numbers_of(entries['Tr'], 12, source=source).reshape(3, 4)
        words = ' '.join(map(str, reference_from_lidar[:3, :3].ravel()))
        rotation_of(words, source=source)
        lidar = shift @ reference_from_lidar
    return RigCamera(
        number=number,
        rectified=intrinsics_from_matrix(projection, height=size[0], width=size[1]),
        camera_from_lidar=lidar,
        camera_from_reference=shift,
    )


def _shift_of(projection: NDArray[np.float64]) -> NDArray[np.float64]:
    # P = K [I | t]: the fourth column carries the camera's place beside the reference camera.
    shift = np.eye(4)
    shift[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    return shift
