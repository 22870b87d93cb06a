# SPDX-License-Identifier: Apache-2.0
"""How the car of a KITTI raw drive moved: time stamps, forward speed and poses.

Layout, as the official archives unpack: image_02/timestamps.txt with a line an image, and
oxts/data/0000000000.txt, one a frame, of what GPS and inertial unit say (30 numbers, named in
oxts/dataformat.txt). Both may be missing; what they would say is then unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_core.data.kitti.files import read_rigid
from depth_core.data.kitti.oxts import (
    FORWARD_SPEED,
    imu_pose,
    measured_frames,
    mercator_scale,
    oxts_file,
    read_oxts,
)
from depth_core.data.sequences import SpeedTrack
from depth_core.errors import DataError
from depth_core.files import FileState, read_text, state_of


def motion_files(drive: Path, camera: int, frames: Sequence[int]) -> list[Path]:
    """The files that times, speeds and poses of frames are read from."""
    between = range(min(frames), max(frames) + 1)
    return [
        _timestamps(drive, camera),
        drive.parent / 'calib_imu_to_velo.txt',
        *(oxts_file(drive, frame) for frame in between),
    ]


def read_timestamps(drive: Path, camera: int) -> NDArray[np.float64] | None:
    """Read the times of a drive's frames, seconds after the first; None when there is no file.

    Raises:
        DataError: A line is no time.
    """
    path = _timestamps(drive, camera)
    state = state_of(path)
    return None if state is None else _read_timestamps(path, state)


def _timestamps(drive: Path, camera: int) -> Path:
    return drive / f'image_{camera:02d}/timestamps.txt'


@lru_cache(maxsize=64)
def _read_timestamps(path: Path, _state: FileState) -> NDArray[np.float64]:
    try:
        words = [line.strip().replace(' ', 'T') for line in read_text(path).splitlines()]
        stamps = np.array([word for word in words if word], 'datetime64[ns]')
    except (OSError, ValueError) as error:
        raise DataError(_no_times(path, str(error))) from error
    if np.isnat(stamps).any():
        raise DataError(_no_times(path, 'a line holds no time'))
    seconds: NDArray[np.float64] = (stamps - stamps[:1]).astype(np.float64) * 1e-9
    return seconds


def _no_times(path: Path, reason: str) -> str:
    return (
        f"time stamps {path} cannot be read: {reason}; a line is '2011-09-26 13:02:25.964389' "
        'for each image: unpack the file again.'
    )


def speed_at(drive: Path, frame: int) -> float:
    """Forward speed of the car at a frame, m/s, backwards counted too; NaN = unknown."""
    values = read_oxts(drive, frame)
    return float('nan') if values is None else abs(float(values[FORWARD_SPEED]))


def mean_speed(drive: Path, first: int, second: int) -> float:
    """Mean forward speed between two frames of a drive, m/s; NaN = unknown.

    The measurements of a synchronised drive belong to its frames, so that frames stand for time.
    """
    frames = np.arange(min(first, second), max(first, second) + 1)
    speeds = np.array([speed_at(drive, int(frame)) for frame in frames])
    track = SpeedTrack(stamps_s=frames.astype(np.float64), speed_mps=speeds, tolerance_s=0.0)
    return track.mean(float(first), float(second))


def camera_poses(
    drive: Path, frames: tuple[int, ...], camera_from_velodyne: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """[N, 4, 4] camera-to-world of frames, metres; None when a measurement is missing.

    The world is the frame of the drive's first measurement: east, north, up, by the Mercator
    projection at its latitude, as the development kit of KITTI computes it.

    Raises:
        DataError: A file is malformed.
    """
    calibration = drive.parent / 'calib_imu_to_velo.txt'
    first = _first_frame(drive)
    measured = [read_oxts(drive, frame) for frame in frames]
    if first is None or not calibration.is_file() or any(item is None for item in measured):
        return None
    origin = read_oxts(drive, first)
    assert origin is not None  # noqa: S101  listed a moment ago
    imu_from_camera = np.linalg.inv(camera_from_velodyne @ read_rigid(calibration))
    scale = mercator_scale(origin)
    start = imu_pose(origin, scale)[:3, 3]
    poses = []
    for item in measured:
        assert item is not None  # noqa: S101  refused above
        pose = imu_pose(item, scale)
        pose[:3, 3] -= start
        poses.append(pose @ imu_from_camera)
    return np.stack(poses)


@lru_cache(maxsize=64)
def _first_frame(drive: Path) -> int | None:
    return next(iter(measured_frames(drive)), None)
