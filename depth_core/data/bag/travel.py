# SPDX-License-Identifier: Apache-2.0
"""How the camera of a bag travelled: by /tf, or by the only topic of odometry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.data.bag.frame_tree import FrameTree, frame_name, pose_matrix
from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.bag.motion import ODOMETRY_TYPES
from depth_core.data.bag.opener import Bag
from depth_core.data.bag.reading import messages_of, topics_of
from depth_core.data.bag.timed_pose import TimedPose, pose_at
from depth_core.data.places import Place

_TOPIC: Final = '/tf'
_AROUND_NS: Final = 2_000_000_000
"""Poses are read from so long before the images on, and to so long after them."""
_LATE_NS: Final = 50_000_000
"""A pose holds for so long after the last."""


class Travel:
    """Where a frame of the robot was, over time.

    Args:
        frames: The transforms that hold at all times.
    """

    def __init__(self, frames: FrameTree) -> None:
        self._frames = frames
        self._moving: dict[str, tuple[str, list[TimedPose]]] = {}

    @classmethod
    def of(cls, bag: Bag, frames: FrameTree, window_ns: tuple[int, int] | None) -> Travel:
        """Read the poses of a bag around the times of recording of its images.

        Args:
            bag: The bag.
            frames: The transforms that hold at all times.
            window_ns: First and end of the times of recording; None reads all.
        """
        travel = cls(frames)
        start_ns = None if window_ns is None else window_ns[0] - _AROUND_NS
        stop_ns = None if window_ns is None else window_ns[1] + _AROUND_NS
        for _, message in messages_of(bag, _TOPIC, start_ns=start_ns, stop_ns=stop_ns):
            for item in message.transforms:
                pose = item.transform
                travel.add(item, pose.translation, pose.rotation)
        odometry = topics_of(bag, ODOMETRY_TYPES)
        if len(odometry) == 1:  # of several none is known to be the right one
            told = messages_of(bag, odometry[0], start_ns=start_ns, stop_ns=stop_ns)
            moved = {frame_name(name) for name in travel._moving}
            for _, message in told:
                if frame_name(message.child_frame_id) not in moved:
                    pose = message.pose.pose
                    travel.add(message, pose.position, pose.orientation)
        for _, poses in travel._moving.values():
            poses.sort(key=lambda pose: pose.time_ns)
        return travel

    def add(self, stamped: Any, place: Any, turn: Any) -> None:  # noqa: ANN401  made at run time
        """Remember a pose; numbers that are none are left out.

        Args:
            stamped: Its message, with header and child_frame_id.
            place: With x, y and z.
            turn: Quaternion with x, y, z and w.
        """
        pose = TimedPose(
            header_stamp_ns(stamped),
            (place.x, place.y, place.z),
            (turn.x, turn.y, turn.z, turn.w),
        )
        if not all(map(math.isfinite, (*pose.place_m, *pose.rotation))) or not any(pose.rotation):
            return
        parent, child = frame_name(stamped.header.frame_id), frame_name(stamped.child_frame_id)
        known = self._moving.setdefault(child, (parent, []))
        if known[0] == parent:
            known[1].append(pose)

    def place(self, frame: str, stamp_ns: int, rotation: NDArray[np.float64]) -> Place | None:
        """Where a camera was; None where nothing says so, as for one that no link moves.

        Args:
            frame: Of the camera.
            stamp_ns: When.
            rotation: [3, 3] from the camera to the rectified one.
        """
        links = dict(self._links(stamp_ns))
        root, matrix = self._frames.with_links(links).root(frame)
        still, _ = self._frames.root(frame)
        if root == still:
            return None
        camera_to_world = matrix.copy()
        camera_to_world[:3, :3] = matrix[:3, :3] @ rotation.T
        return Place(world=root, camera_to_world=camera_to_world)

    def _links(self, stamp_ns: int) -> Iterator[tuple[str, tuple[str, NDArray[np.float64]]]]:
        for child, (parent, poses) in self._moving.items():
            pose = pose_at(poses, stamp_ns, late_ns=_LATE_NS)
            if pose is not None:
                yield child, (parent, pose_matrix(pose.place_m, pose.rotation))
