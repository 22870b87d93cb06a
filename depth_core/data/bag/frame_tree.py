# SPDX-License-Identifier: Apache-2.0
"""Where the frames of a robot are, by the transforms it states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import DataError


class FrameTree:
    """Transforms between frames, each from a child to its parent; the latest one of a child holds.

    Args:
        said_by: Who states them, for messages.
        remedy: What helps where two frames are not connected.
    """

    def __init__(
        self,
        said_by: str = '/tf_static',
        remedy: str = 'publish the transforms between the two',
    ) -> None:
        self._said_by = said_by
        self._remedy = remedy
        self._parents: dict[str, tuple[str, NDArray[np.float64]]] = {}

    def add(self, message: Any) -> None:  # noqa: ANN401  rosbags makes its classes at run time
        """Take over the transforms of a TFMessage.

        Raises:
            DataError: One holds numbers that are not finite, or no rotation.
        """
        for item in message.transforms:
            place, turn = item.transform.translation, item.transform.rotation
            parent, child = item.header.frame_id, item.child_frame_id
            matrix = pose_matrix((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
            if not np.isfinite(matrix).all():
                text = (
                    f'the static transform {parent} -> {child} has numbers that are not finite; '
                    'correct the calibration of the robot and record again.'
                )
                raise DataError(text)
            self.put(parent, child, matrix)

    def put(self, parent: str, child: str, matrix: NDArray[np.float64]) -> None:
        """State the [4, 4] transform that takes points of frame `child` into frame `parent`."""
        self._parents[frame_name(child)] = (frame_name(parent), matrix)

    def between(self, target: str, source: str) -> NDArray[np.float64]:
        """The [4, 4] transform that takes points of frame `source` into frame `target`.

        Raises:
            DataError: The transforms do not connect the two.
        """
        root_from_target = self._to_ancestors(frame_name(target))
        root_from_source = self._to_ancestors(frame_name(source))
        for ancestor, matrix in root_from_source.items():
            if ancestor in root_from_target:
                result: NDArray[np.float64] = np.linalg.inv(root_from_target[ancestor]) @ matrix
                return result
        known = ', '.join(f'{parent} -> {child}' for child, (parent, _) in self._parents.items())
        message = (
            f'where frame {source!r} is in frame {target!r} is not known: {self._said_by} holds '
            f'{known or "nothing"}; {self._remedy}.'
        )
        raise DataError(message)

    def root(self, frame: str) -> tuple[str, NDArray[np.float64]]:
        """The last frame above `frame`, and the [4, 4] transform that takes points into it."""
        return list(self._to_ancestors(frame_name(frame)).items())[-1]

    def with_links(self, links: Mapping[str, tuple[str, NDArray[np.float64]]]) -> FrameTree:
        """A copy with other links too, each from a child to its parent.

        Args:
            links: Parent and transform of each child, as for `put`.
        """
        tree = FrameTree(self._said_by, self._remedy)
        tree._parents = self._parents | dict(links)
        return tree

    def _to_ancestors(self, frame: str) -> dict[str, NDArray[np.float64]]:
        matrix = np.eye(4)
        found = {frame: matrix}
        while frame in self._parents:
            frame, step = self._parents[frame]
            if frame in found:
                break
            matrix = step @ matrix
            found[frame] = matrix
        return found


def pose_matrix(place_m: Sequence[float], quaternion: Sequence[float]) -> NDArray[np.float64]:
    """The [4, 4] transform of a place (x, y, z) and a rotation (x, y, z, w).

    Raises:
        DataError: The rotation is all zero.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(quaternion)
    matrix[:3, 3] = place_m
    return matrix


def frame_name(name: str) -> str:
    """The name without the slash in front that ROS 1 allowed."""
    return name.removeprefix('/')


def rotation_matrix(quaternion: Sequence[float]) -> NDArray[np.float64]:
    """The 3x3 rotation of a quaternion (x, y, z, w), normalised first.

    Raises:
        DataError: It is all zero.
    """
    values = np.array(quaternion, np.float64)
    length = float(np.linalg.norm(values))
    if length == 0.0:
        message = 'a transform has rotation (0, 0, 0, 0); identity is (0, 0, 0, 1).'
        raise DataError(message)
    x, y, z, w = values / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
