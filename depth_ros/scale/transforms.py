# SPDX-License-Identifier: Apache-2.0
"""Where a sensor is seen from a camera: by a parameter, or by the transforms of the robot."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from depth_core.data.bag.frame_tree import FrameTree, frame_name, pose_matrix
from depth_core.data.bag.timed_pose import TimedPose, pose_at
from depth_ros.messages.conversions import nanoseconds

LATE_S: Final = 0.2
"""A transform that changes counts for so long after its last message."""
_LATE_NS: Final = round(LATE_S * 1e9)
_KEPT: Final = 500


class Placement(Protocol):
    """Says where a frame is."""

    def __call__(self, target: Header, source_frame: str) -> NDArray[np.float64]:
        """The [4, 4] transform that takes points of `source_frame` into the frame of `target`.

        Args:
            target: Header of the image: frame and time.
            source_frame: Frame of the points.

        Raises:
            DataError: It is not known.
        """


@dataclass(frozen=True)
class FixedPlacement:
    """The same place at all times, whatever the frames are called."""

    matrix: NDArray[np.float64]

    def __call__(self, target: Header, source_frame: str) -> NDArray[np.float64]:  # noqa: ARG002 is the same for all
        """The transform."""
        return self.matrix


class TransformStore:
    """The transforms of /tf and /tf_static that came lately; one thread adds, another looks up.

    A transform of /tf is interpolated between its two messages around the time of the image, the
    place along a line and the rotation along a great circle; before the first kept one, and more
    than `LATE_S` after the last, it is not known.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._poses: dict[str, deque[TimedPose]] = {}
        self._static: set[str] = set()

    def add(self, message: Any) -> None:  # noqa: ANN401  tf2_msgs is not installed everywhere
        """Remember the transforms of a TFMessage of /tf."""
        self._add(message, static=False)

    def add_static(self, message: Any) -> None:  # noqa: ANN401  as above
        """Remember the transforms of a TFMessage of /tf_static, which hold at all times."""
        self._add(message, static=True)

    def _add(self, message: Any, *, static: bool) -> None:  # noqa: ANN401  as above
        for item in message.transforms:
            place, turn = item.transform.translation, item.transform.rotation
            pose = TimedPose(
                time_ns=nanoseconds(item.header.stamp),
                place_m=(place.x, place.y, place.z),
                rotation=(turn.x, turn.y, turn.z, turn.w),
            )
            if not all(map(math.isfinite, (*pose.place_m, *pose.rotation))):
                continue
            parent, child = frame_name(item.header.frame_id), frame_name(item.child_frame_id)
            with self._lock:
                known = self._poses.setdefault(child, deque(maxlen=_KEPT))
                if static or self._parents.get(child) != parent:
                    known.clear()
                if known and pose.time_ns == known[-1].time_ns:
                    known.pop()  # said once more
                elif known and pose.time_ns < known[-1].time_ns:
                    known.clear()  # a recording starts again
                self._parents[child] = parent
                (self._static.add if static else self._static.discard)(child)
                known.append(pose)

    def __call__(self, target: Header, source_frame: str) -> NDArray[np.float64]:
        """The [4, 4] transform at the time of `target`.

        Raises:
            DataError: The frames are not connected at that time.
        """
        time_ns = nanoseconds(target.stamp)
        tree = FrameTree(
            f'what came on /tf and /tf_static for {time_ns * 1e-9:.3f} s',
            'publish the transforms between the two, or set scale.lidar_to_camera',
        )
        with self._lock:
            links = [
                (child, self._parents[child], child in self._static, list(poses))
                for child, poses in self._poses.items()
            ]
        for child, parent, static, poses in links:
            pose = poses[-1] if static else pose_at(poses, time_ns, late_ns=_LATE_NS)
            if pose is not None:
                tree.put(parent, child, pose_matrix(pose.place_m, pose.rotation))
        return tree.between(target.frame_id, source_frame)
