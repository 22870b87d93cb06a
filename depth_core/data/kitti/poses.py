# SPDX-License-Identifier: Apache-2.0
"""The poses of KITTI odometry: `poses/06.txt`, twelve numbers a frame, for sequences 00 to 10."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_core.data.text import numbers_of, read_lines


def read_poses(sequence: Path) -> NDArray[np.float64] | None:
    """Read the poses of a sequence, [T, 4, 4] left grey camera to that of the first frame, metres.

    Args:
        sequence: Its folder, `sequences/06`; the poses are in `poses/06.txt` beside `sequences`,
            or in `poses.txt` within.

    Returns:
        None where there are none, as of the test sequences.

    Raises:
        DataError: The file is malformed.
    """
    places = (sequence.parent.parent / f'poses/{sequence.name}.txt', sequence / 'poses.txt')
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    rows = [
        numbers_of(line, 12, source=f'line {number} of poses {path}')
        for number, line in read_lines(path)
    ]
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = np.stack(rows).reshape(-1, 3, 4)
    return poses
