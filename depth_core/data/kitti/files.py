# SPDX-License-Identifier: Apache-2.0
"""The files of KITTI raw: calibrations, lidar scans and projected depth."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import depth_plane, read_depth_png
from depth_core.data.text import numbers_of, read_entries, rotation_of
from depth_core.errors import DataError
from depth_core.files import FileState, state_of
from depth_core.geometry import intrinsics_from_matrix
from depth_core.images import MAX_PIXELS

IMAGE_ENDINGS: Final = ('.png', '.jpg', '.jpeg', '.PNG', '.JPG', '.JPEG')
"""Endings of images, in the order in which they are taken."""

_POINT_BYTES: Final = 16
_ANNOTATED_UNIT_M: Final = 1.0 / 256.0


@dataclass(frozen=True, kw_only=True)
class KittiCalibration:
    """What a day's two calibration files say about one rectified camera."""

    intrinsics: Intrinsics
    """Of the rectified image, from P_rect."""
    camera_from_velodyne: NDArray[np.float64]
    """[4, 4] lidar frame to the rectified frame of this camera, metres."""


def read_velodyne(path: Path) -> NDArray[np.float32]:
    """Read the points of a scan as [N, 3] metres in the lidar frame; see `read_scan`."""
    return read_scan(path)[:, :3]


def read_scan(path: Path) -> NDArray[np.float32]:
    """Read a scan as [N, 4]: x, y, z in metres in the lidar frame, reflectance in 0..1.

    Args:
        path: A .bin file of float32, or a .txt file of unsynchronised drives with a point a line.

    Raises:
        DataError: It is missing, empty or truncated.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f'scan {path} cannot be read: {error.strerror or error}; check the data set.'
        raise DataError(message) from error
    if path.suffix == '.txt':
        return _points_of_text(content, path)
    if not content or len(content) % _POINT_BYTES:
        message = (
            f'scan {path} has {len(content)} bytes, which is not a positive multiple of '
            f'{_POINT_BYTES} (x, y, z, reflectance as float32); it is truncated: unpack it again.'
        )
        raise DataError(message)
    return np.frombuffer(content, '<f4').reshape(-1, 4)


def _points_of_text(content: bytes, path: Path) -> NDArray[np.float32]:
    words = content.split()
    try:
        points = np.array(words, 'S').astype(np.float32).reshape(-1, 4)
    except ValueError as error:
        points = np.empty((0, 4), np.float32)
        reason = f': {error}'
    else:
        reason = ''
    if not len(points):
        message = (
            f'scan {path} holds {len(words)} words{reason}; it must hold four numbers a line (x, '
            'y, z, reflectance): it is truncated, unpack it again.'
        )
        raise DataError(message)
    return points


def read_calibration(day: Path, camera: int) -> KittiCalibration:
    """Read the calibration of one camera (2 = left colour, 3 = right colour) of a day.

    It is read once, and again after its files have changed.

    Raises:
        DataError: A file or an entry is missing, malformed or describes no camera.
    """
    paths = calibration_files(day)
    return _read_calibration(paths, camera, tuple(map(state_of, paths)))


@lru_cache(maxsize=64)
def _read_calibration(
    paths: tuple[Path, Path],
    camera: int,
    _states: tuple[FileState, ...],
) -> KittiCalibration:
    cameras, lidar = paths
    entries = read_entries(cameras)

    def numbers(name: str, count: int) -> NDArray[np.float64]:
        source = f'{name} of calibration {cameras}'
        return numbers_of(entries.get(name, ''), count, source=source)

    name = f'P_rect_{camera:02d}'
    projection = numbers(name, 12).reshape(3, 4)
    width, height = numbers(f'S_rect_{camera:02d}', 2)
    fx_px, fy_px = projection[0, 0], projection[1, 1]
    if min(fx_px, fy_px) <= 0.0 or projection[2, :3].tolist() != [0.0, 0.0, 1.0]:
        message = (
            f'{name} of calibration {cameras} is {projection[:, :3].tolist()} and a fourth '
            'column; it must be a camera matrix with positive focal lengths and the last row '
            '0 0 1: unpack the calibration archive of that day again.'
        )
        raise DataError(message)
    rectify = np.eye(4)
    rectify[:3, :3] = rotation_of(
        entries.get('R_rect_00', ''), source=f'R_rect_00 of calibration {cameras}'
    )
    # P = K [I | t]: the fourth column carries this camera's place beside the reference camera.
    own_from_reference = np.eye(4)
    own_from_reference[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    return KittiCalibration(
        intrinsics=intrinsics_from_matrix(projection, height=int(height), width=int(width)),
        camera_from_velodyne=own_from_reference @ rectify @ read_rigid(lidar),
    )


def calibration_files(day: Path) -> tuple[Path, Path]:
    """The files that `read_calibration` reads: of the cameras and of the lidar."""
    return day / 'calib_cam_to_cam.txt', day / 'calib_velo_to_cam.txt'


def read_rigid(path: Path) -> NDArray[np.float64]:
    """Read the [4, 4] transform of a calibration file, from its rotation R and translation T.

    Raises:
        DataError: The file or an entry is missing or malformed.
    """
    entries = read_entries(path)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of(entries.get('R', ''), source=f'R of calibration {path}')
    matrix[:3, 3] = numbers_of(entries.get('T', ''), 3, source=f'T of calibration {path}')
    return matrix


def read_annotated(path: Path) -> Float32Array:
    """Read [H, W] metres of a depth image of the KITTI benchmark; NaN = no value.

    Raises:
        DataError: It is missing, damaged, or holds something else.
    """
    return read_depth_png(path, unit_m=_ANNOTATED_UNIT_M)


def _limit_member(member: zipfile.ZipInfo) -> None:
    most = 8 * MAX_PIXELS + (1 << 16)
    if member.file_size > most:
        message = f'its array takes {member.file_size} bytes, and {most} are read'
        raise ValueError(message)


def read_projected(path: Path) -> Float32Array:
    """Read an NPZ file of [H, W] metres, as packnet-sfm stores projected scans; 0 = no value.

    Raises:
        DataError: It is missing, damaged, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as members:
            _limit_member(members.getinfo('velodyne_depth.npy'))
        with np.load(path, allow_pickle=False) as archive:
            values = archive['velodyne_depth']
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        message = (
            f'projected depth {path} cannot be read: {error}; it must be an NPZ file with an '
            "array 'velodyne_depth' in metres."
        )
        raise DataError(message) from error
    if values.dtype.kind in 'iu':
        message = f'projected depth {path} has {values.dtype} codes; it must hold float metres.'
        raise DataError(message)
    return depth_plane(values, source=str(path))
