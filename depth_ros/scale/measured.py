# SPDX-License-Identifier: Apache-2.0
"""Depth that another sensor measured, at the pixels of an image: depth images, lidar points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sensor_msgs.msg import Image, PointCloud2

from depth_core.contracts import DepthMap, Float32Array
from depth_core.data.bag.messages import points_of
from depth_core.errors import DataError
from depth_core.geometry import render_sparse_depth, resize_intrinsics, transform
from depth_core.scale import sparse_plane
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.conversions import depth_from_image
from depth_ros.scale.scene import Scene
from depth_ros.scale.stamped import StampedStore
from depth_ros.scale.transforms import Placement


class Measured(Protocol):
    """Measured depth by the time of an image."""

    @property
    def topic(self) -> str:
        """The resolved topic it comes from."""

    def __call__(self, depth: DepthMap, scene: Scene) -> Float32Array:
        """Return what was measured, at the pixels of `depth`; NaN elsewhere.

        Raises:
            FrameError: There is nothing of that time, or nothing of this camera.
        """


@dataclass(frozen=True)
class DepthImages:
    """Depth images of the camera's own pixels."""

    store: StampedStore[Image]

    @property
    def topic(self) -> str:
        """The resolved topic of the depth images."""
        return self.store.topic

    def __call__(self, depth: DepthMap, scene: Scene) -> Float32Array:
        """Bring the depth image to the view and the size of `depth`."""
        message = self.store.pair(scene.header)
        try:
            measured_m = depth_from_image(message)
            if scene.view is not None:
                measured_m = scene.view.seen_from(measured_m)
            elif measured_m.shape != scene.image.shape[:2]:
                text = (
                    f'it is {measured_m.shape[1]}x{measured_m.shape[0]} and the image '
                    f'{scene.image.shape[1]}x{scene.image.shape[0]}; give it for the pixels of '
                    'the camera.'
                )
                raise DataError(text)  # noqa: TRY301 with the other errors of the plane
        except DataError as error:
            text = f'depth on {self.topic} gives no scale: {error}'
            raise FrameError(DropReason.NO_SCALE, text) from error
        return _at_size(measured_m, *depth.depth_m.shape)


@dataclass(frozen=True)
class LidarPoints:
    """Points of a lidar that is mounted beside the camera.

    They are taken as measured at the time of the image: what the robot moved in between, at most
    `MAX_AGE_S`, is not made up for.
    """

    store: StampedStore[PointCloud2]
    placement: Placement

    @property
    def topic(self) -> str:
        """The resolved topic of the points."""
        return self.store.topic

    def __call__(self, depth: DepthMap, scene: Scene) -> Float32Array:
        """Project the points into `depth`; the nearest one of a pixel counts."""
        message = self.store.pair(scene.header)
        height, width = depth.depth_m.shape
        camera = resize_intrinsics(scene.camera(), height=height, width=width)
        try:
            points_m = points_of(message, source=f'on {self.topic}')
            matrix = self.placement(scene.header, message.header.frame_id)
        except DataError as error:
            text = f'points on {self.topic} give no scale: {error}'
            raise FrameError(DropReason.NO_SCALE, text) from error
        seen_m = transform(points_m, matrix) @ scene.rotation().T
        return render_sparse_depth(seen_m, camera)


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
