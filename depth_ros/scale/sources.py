# SPDX-License-Identifier: Apache-2.0
"""What gives the scale of one image: the ground, measured depth, or the speed of the robot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import cv2
import numpy as np
from std_msgs.msg import Header

from depth_core.contracts import DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.errors import DataError
from depth_core.geometry import resize_intrinsics
from depth_core.scale import (
    MotionView,
    ScaleEstimate,
    ground_plane_scale,
    motion_scale,
    sparse_depth_scale,
    sparse_plane,
)
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.frames.rectify import View
from depth_ros.messages.conversions import depth_from_image
from depth_ros.scale.odometry import OdometryStore
from depth_ros.scale.sparse_depth import SparseDepthStore

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


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The image that depth belongs to."""

    header: Header
    image: Uint8Array
    """[H, W, 3] RGB, as the network sees it: rectified where there is a `view`."""
    view: View | None
    """How it was rectified; None when it was not."""
    camera: Callable[[], Intrinsics]
    """Pinhole camera of `image`; raises `FrameError` where it has none."""


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

    store: SparseDepthStore

    def __call__(self, depth: DepthMap, scene: Scene) -> ScaleEstimate:
        """Estimate from the measured pixels."""
        measured_m = measured_for(self.store, depth, scene)
        return sparse_depth_scale(depth.depth_m, measured_m)


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
            message = (
                f'nothing on {self._store.topic} says how far the robot moved between the images: '
                'publish nav_msgs/Odometry with the speed in twist, and remap odometry.'
            )
            raise FrameError(DropReason.NO_SCALE, message)
        metres, radians = moved
        if metres < _MOVED_M and radians <= _TURN_RAD:
            return None
        self._before = scene.header, view
        if radians > _TURN_RAD:
            return None
        return motion_scale(before[1], view.grey, moved_m=metres)


def measured_for(store: SparseDepthStore, depth: DepthMap, scene: Scene) -> Float32Array:
    """Return measured depth of the time of an image, at the pixels of its depth, NaN elsewhere.

    Raises:
        FrameError: There is none, or it is none of this camera.
    """
    message = store.pair(scene.header)
    try:
        measured_m = depth_from_image(message)
        if scene.view is not None:
            measured_m = scene.view.seen_from(measured_m)
        elif measured_m.shape != scene.image.shape[:2]:
            text = (
                f'it is {measured_m.shape[1]}x{measured_m.shape[0]} and the image '
                f'{scene.image.shape[1]}x{scene.image.shape[0]}; give it for the pixels of the '
                'camera.'
            )
            raise DataError(text)  # noqa: TRY301 with the other errors of the plane
    except DataError as error:
        text = f'depth on {store.topic} gives no scale: {error}'
        raise FrameError(DropReason.NO_SCALE, text) from error
    return _at_size(measured_m, *depth.depth_m.shape)


def _at_size(measured_m: Float32Array, height: int, width: int) -> Float32Array:
    """Bring each measured pixel to its place in an image of another size."""
    if measured_m.shape == (height, width):
        return measured_m
    rows, columns = np.nonzero(np.isfinite(measured_m) & (measured_m > 0.0))
    return sparse_plane(
        (rows + 0.5) * (height / measured_m.shape[0]),
        (columns + 0.5) * (width / measured_m.shape[1]),
        measured_m[rows, columns],
        height=height,
        width=width,
    )


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
