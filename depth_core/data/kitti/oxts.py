# SPDX-License-Identifier: Apache-2.0
"""What the GPS and inertial unit of KITTI raw says: 30 numbers a measurement, and poses of them.

Layout: oxts/data/0000000000.txt, one a measurement; oxts/dataformat.txt names the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.data.text import numbers_of
from depth_core.errors import DataError
from depth_core.files import FileState, read_text, state_of

NUMBERS: Final = 30
FORWARD_SPEED: Final = 8
"""Where the forward speed stands, m/s."""
_EARTH_RADIUS_M: Final = 6378137.0


def oxts_file(drive: Path, frame: int) -> Path:
    """Where the measurement of a frame is, or would be."""
    return drive / f'oxts/data/{frame:010d}.txt'


def read_oxts(drive: Path, frame: int) -> NDArray[np.float64] | None:
    """Read what GPS and inertial unit say at a frame, [30]; None when there is no file.

    Raises:
        DataError: It holds something else than 30 numbers.
    """
    path = oxts_file(drive, frame)
    state = state_of(path)
    return None if state is None else _read_oxts(path, state)


@lru_cache(maxsize=4096)
def _read_oxts(path: Path, _state: FileState) -> NDArray[np.float64]:
    try:
        text = read_text(path)
    except (OSError, UnicodeError) as error:
        message = f'{path} cannot be read: {error}; unpack the drive again.'
        raise DataError(message) from error
    return numbers_of(text, NUMBERS, source=str(path))


def mercator_scale(origin: NDArray[np.float64]) -> float:
    """The scale of the Mercator projection at the latitude of a measurement."""
    return float(np.cos(np.radians(origin[0])))


def imu_pose(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """[4, 4] of the unit's frame (x ahead, y left, z up) in the world: east, north, up, metres.

    By the Mercator projection, as the development kit of KITTI computes it.

    Args:
        values: A measurement, [30].
        scale: Of the projection, `mercator_scale` of the first measurement.
    """
    latitude, longitude, altitude, roll, pitch, yaw = values[:6]
    pose = np.eye(4)
    pose[:3, :3] = rotation_of_angles(roll, pitch, yaw)
    east = scale * _EARTH_RADIUS_M * np.radians(longitude)
    north = scale * _EARTH_RADIUS_M * np.log(np.tan(np.radians(90.0 + latitude) / 2.0))
    pose[:3, 3] = east, north, altitude
    return pose


def rotation_of_angles(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """[3, 3] rotation of the unit's frame in the world, angles in radians."""
    turned: NDArray[np.float64] = _turn(yaw, 0, 1) @ _turn(pitch, 2, 0) @ _turn(roll, 1, 2)
    return turned


def measured_frames(drive: Path) -> Sequence[int]:
    """The numbers of the measurements of a drive, ascending."""
    names = (path.stem for path in (drive / 'oxts/data').glob('*.txt'))
    return sorted(int(name) for name in names if name.isdigit())


def _turn(angle: float, first: int, second: int) -> NDArray[np.float64]:
    """The right-handed rotation that turns axis `first` towards axis `second`."""
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -np.sin(angle)
    return matrix
