# SPDX-License-Identifier: Apache-2.0
"""Where the camera was when it took an image, as far as the data say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from depth_core.data.text import read_lines
from depth_core.errors import DataError

_NUMBERS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Place:
    """The pose of a camera, metres."""

    world: str
    """What the pose is relative to: those of one world can be compared."""
    camera_to_world: NDArray[np.float64]
    """[4, 4] of the optical frame: x right, y down, z forward."""


@runtime_checkable
class WithPlaces(Protocol):
    """A data set that can say where its camera was."""

    def place(self, index: int) -> Place | None:
        """The pose of the image at `index`; None where it is not known."""


def place_of(dataset: object, index: int) -> Place | None:
    """The pose of an image of any data set; None where it says none."""
    return dataset.place(index) if isinstance(dataset, WithPlaces) else None


def read_pose(path: Path) -> NDArray[np.float64] | None:
    """Read a [4, 4] camera-to-world pose, sixteen numbers; None where there is no such file.

    Returns:
        None also for numbers that are no pose, as 7-Scenes has where tracking was lost.

    Raises:
        DataError: The file holds another count of numbers, or something else.
    """
    if not path.is_file():
        return None
    words = ' '.join(line for _, line in read_lines(path)).split()
    try:
        pose = np.array([float(word) for word in words])
    except ValueError:
        pose = np.empty(0)
    if pose.size != _NUMBERS:
        message = (
            f'pose {path} has {len(words)} words that are not sixteen numbers; a pose is a 4x4 '
            'matrix, camera to world, metres: unpack the file again.'
        )
        raise DataError(message)
    pose = pose.reshape(4, 4)
    with np.errstate(invalid='ignore'):
        turned = pose[:3, :3] @ pose[:3, :3].T
    return pose if np.isfinite(pose).all() and np.allclose(turned, np.eye(3), atol=1e-2) else None
