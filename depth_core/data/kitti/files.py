# SPDX-License-Identifier: Apache-2.0
"""The files of KITTI raw: calibrations, lidar scans and projected depth."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.images import depth_plane
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_matrix

_POINT_BYTES: Final = 16


@dataclass(frozen=True, kw_only=True)
class KittiCalibration:
    """What a day's two calibration files say about one rectified camera."""

    intrinsics: Intrinsics
    """Of the rectified image, from P_rect."""
    camera_from_velodyne: NDArray[np.float64]
    """[4, 4] lidar frame to the rectified frame of this camera, metres."""


def read_velodyne(path: Path) -> NDArray[np.float32]:
    """Read a scan (x, y, z, reflectance as float32) as [N, 3] metres in the lidar frame.

    Raises:
        DataError: It is missing, empty or truncated.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f'scan {path} cannot be read: {error.strerror or error}; check the data set.'
        raise DataError(message) from error
    if not content or len(content) % _POINT_BYTES:
        message = (
            f'scan {path} has {len(content)} bytes, which is not a positive multiple of '
            f'{_POINT_BYTES} (x, y, z, reflectance as float32); it is truncated: unpack it again.'
        )
        raise DataError(message)
    return np.frombuffer(content, '<f4').reshape(-1, 4)[:, :3]


def read_calibration(day: Path, camera: int) -> KittiCalibration:
    """Read the calibration of one camera (2 = left colour, 3 = right colour) of a day.

    Raises:
        DataError: A file or an entry is missing or malformed.
    """
    cameras = _CalibrationFile(day / 'calib_cam_to_cam.txt')
    lidar = _CalibrationFile(day / 'calib_velo_to_cam.txt')
    projection = cameras.numbers(f'P_rect_{camera:02d}', 12).reshape(3, 4)
    width, height = cameras.numbers(f'S_rect_{camera:02d}', 2)
    rectify = np.eye(4)
    rectify[:3, :3] = cameras.numbers('R_rect_00', 9).reshape(3, 3)
    reference_from_velodyne = np.eye(4)
    reference_from_velodyne[:3, :3] = lidar.numbers('R', 9).reshape(3, 3)
    reference_from_velodyne[:3, 3] = lidar.numbers('T', 3)
    # P = K [I | t]: the fourth column carries this camera's place beside the reference camera.
    own_from_reference = np.eye(4)
    own_from_reference[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    return KittiCalibration(
        intrinsics=intrinsics_from_matrix(projection, height=int(height), width=int(width)),
        camera_from_velodyne=own_from_reference @ rectify @ reference_from_velodyne,
    )


class _CalibrationFile:
    """The `name: numbers` lines of a calibration file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            lines = path.read_text(encoding='ascii').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f'calibration {path} cannot be read: {error}; unpack the calibration archive of '
                'that day into the folder of the day.'
            )
            raise DataError(message) from error
        self._entries = dict(line.split(':', 1) for line in lines if ':' in line)

    def numbers(self, name: str, count: int) -> NDArray[np.float64]:
        words = self._entries.get(name, '').split()
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            values = np.empty(0)
        if values.size != count:
            message = (
                f'calibration {self._path} gives {len(words)} numbers for {name!r}; it must give '
                f'{count}: the file is truncated or of another kind.'
            )
            raise DataError(message)
        return values


def read_projected(path: Path) -> Float32Array:
    """Read an NPZ file of [H, W] metres, as packnet-sfm stores projected scans; 0 = no value.

    Raises:
        DataError: It is missing, damaged, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = archive['velodyne_depth']
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        message = (
            f'projected depth {path} cannot be read: {error}; it must be an NPZ file with an '
            "array 'velodyne_depth' in metres."
        )
        raise DataError(message) from error
    return depth_plane(values, source=str(path))
