# SPDX-License-Identifier: Apache-2.0
"""What gives the scale of one image: the ground, measured depth, or the speed of the robot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Protocol

import cv2
import numpy as np
from std_msgs.msg import Header

from depth_core.contracts import DepthMap
from depth_core.geometry import resize_intrinsics
from depth_core.scale import (
    MotionView,
    ScaleEstimate,
    ground_plane_scale,
    motion_scale,
    sparse_depth_scale,
)
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.scale.measured import Measured
from depth_ros.scale.odometry import OdometryStore
from depth_ros.scale.scene import Scene

_COLUMNS: Final = 320
"""So many of a depth map are enough to find the ground in."""
_MOTION_COLUMNS: Final = 640
"""So many of an image are enough to find corners in."""
_MOVED_M: Final = 0.3
"""Images at least so far apart are compared."""
_TURN_RAD: Final = 0.1
"""Images between which the robot turned more are not: a camera off the axis moves by that."""
_PAIR_S: Final = 2.0
"""Images further apart have too little in common."""


class Source(Protocol):
    """Estimates the scale of one image."""

    def __call__(self, depth: DepthMap, scene: Scene) -> ScaleEstimate | None:
        """Return the estimate; None where the image gives no occasion for one.

        Raises:
            FrameError: What it needs is missing; the message says what to do.
        """


@dataclass(frozen=True)
class GroundSource:
    """The ground in the lower image is at the known height of the camera."""

    camera_height_m: float

    def __call__(self, depth: DepthMap, scene: Scene) -> ScaleEstimate:
        """Estimate from a part of the pixels."""
        height, width = depth.depth_m.shape
        camera = resize_intrinsics(scene.camera(), height=height, width=width)
        step = max(1, width // _COLUMNS)
        part = depth.depth_m[::step, ::step]
        camera = replace(
            camera,
            fx_px=camera.fx_px / step,
            fy_px=camera.fy_px / step,
            cx_px=camera.cx_px / step,
            cy_px=camera.cy_px / step,
            height=part.shape[0],
            width=part.shape[1],
        )
        return ground_plane_scale(part, camera, camera_height_m=self.camera_height_m)


@dataclass(frozen=True)
class SparseSource:
    """Another sensor measured depth at some pixels."""

    measured: Measured

    def __call__(self, depth: DepthMap, scene: Scene) -> ScaleEstimate:
        """Estimate from the measured pixels."""
        return sparse_depth_scale(depth.depth_m, self.measured(depth, scene))


class SpeedSource:
    """The robot moved so far between two images."""

    def __init__(self, store: OdometryStore) -> None:
        self._store = store
        self._before: tuple[Header, MotionView] | None = None

    def __call__(self, depth: DepthMap, scene: Scene) -> ScaleEstimate | None:
        """Compare the image with an earlier one, far enough away."""
        view = _motion_view(depth, scene)
        before = self._before
        if before is None or before[1].grey.shape != view.grey.shape:
            self._before = scene.header, view
            return None
        apart_s = _apart_s(before[0], scene.header)
        if not 0.0 <= apart_s <= _PAIR_S:
            self._before = scene.header, view
            return None
        moved = self._store.moved(before[0], scene.header)
        if moved is None:
            self._before = scene.header, view
            publishers = self._store.publishers
            message = (
                f'nothing on {publishers.topic} says how far the robot moved between the images: '
                f'{publishers}; publish nav_msgs/Odometry with the speed in twist, and remap '
                'odometry.'
            )
            raise FrameError(DropReason.NO_SCALE, message)
        metres, radians = moved
        if metres < _MOVED_M and radians <= _TURN_RAD:
            return None
        self._before = scene.header, view
        if radians > _TURN_RAD:
            return None
        return motion_scale(before[1], view.grey, moved_m=metres)


def _motion_view(depth: DepthMap, scene: Scene) -> MotionView:
    camera = scene.camera()
    height, width = scene.image.shape[:2]
    if width > _MOTION_COLUMNS:
        height, width = round(height * _MOTION_COLUMNS / width), _MOTION_COLUMNS
    grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY)
    if grey.shape != (height, width):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    plane = cv2.resize(depth.depth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return MotionView(
        grey=np.asarray(grey, np.uint8),
        depth=np.array(plane, np.float32),
        intrinsics=resize_intrinsics(camera, height=height, width=width),
    )


def _apart_s(before: Header, after: Header) -> float:
    seconds = after.stamp.sec - before.stamp.sec
    return math.fsum((seconds, (after.stamp.nanosec - before.stamp.nanosec) * 1e-9))
