# SPDX-License-Identifier: Apache-2.0
"""What became of one image, read from the messages of `mono_depth`: to be drawn or recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, PointCloud2

from depth_core.contracts import Float32Array, Uint8Array
from depth_ros.frames.outputs import CAMERA_INFO, CONFIDENCE, DEPTH, POINTS, PREVIEW, SIGMA
from depth_ros.messages.conversions import depth_from_image, nanoseconds, rgb_from_image


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One image with everything that is known of it; what did not come is None."""

    stamp_ns: int
    """Stamp of the image, nanoseconds."""
    depth_m: Float32Array
    """[H, W] metres."""
    image: Uint8Array | None = None
    """[H, W, 3] RGB, as the camera sent it."""
    truth_m: Float32Array | None = None
    """[H, W] metres, where the camera knows them."""
    sigma_m: Float32Array | None = None
    """[H, W] metres."""
    confidence: Float32Array | None = None
    """[H, W] in [0, 1]."""
    preview: Uint8Array | None = None
    """[H, W, 3] RGB, the depth in colours."""
    points_m: Float32Array | None = None
    """[N, 3] the finite points of the cloud, camera frame."""
    point_colours: Uint8Array | None = None
    """[N, 3] RGB of these points, where the cloud has colours."""
    matrix: NDArray[np.float64] | None = None
    """[3, 3] camera matrix of the published image, pixels."""


def answered(
    messages: Mapping[str, Any],
    *,
    image: Uint8Array | None = None,
    truth_m: Float32Array | None = None,
) -> Answered:
    """Read what the node published about one image.

    Args:
        messages: By the topics of `depth_ros.frames.outputs`; the depth has to be among them.
        image: [H, W, 3] the image itself.
        truth_m: [H, W] its true depth.

    Raises:
        FrameError: A message contradicts itself.
    """
    points_m, colours = None, None
    if POINTS in messages:
        points_m, colours = finite_points(messages[POINTS])
    return Answered(
        stamp_ns=nanoseconds(messages[DEPTH].header.stamp),
        depth_m=depth_from_image(messages[DEPTH]),
        image=image,
        truth_m=truth_m,
        sigma_m=depth_from_image(messages[SIGMA]) if SIGMA in messages else None,
        confidence=depth_from_image(messages[CONFIDENCE]) if CONFIDENCE in messages else None,
        preview=rgb_from_image(messages[PREVIEW]) if PREVIEW in messages else None,
        points_m=points_m,
        point_colours=colours,
        matrix=camera_matrix(messages[CAMERA_INFO]) if CAMERA_INFO in messages else None,
    )


def camera_matrix(info: CameraInfo) -> NDArray[np.float64]:
    """The [3, 3] matrix that projects points to the published image: that of P, else K."""
    projection = np.array(info.p, np.float64).reshape(3, 4)[:, :3]
    return projection if projection.any() else np.array(info.k, np.float64).reshape(3, 3)


def finite_points(message: PointCloud2) -> tuple[Float32Array, Uint8Array | None]:
    """The finite points of a cloud of float32 fields in this machine's byte order.

    Returns:
        [N, 3] x, y, z in metres, and [N, 3] RGB where there is a field `rgb`.
    """
    offsets = {item.name: item.offset // 4 for item in message.fields}
    values = np.frombuffer(message.data, np.float32).reshape(-1, message.point_step // 4)
    points_m = np.stack([values[:, offsets[name]] for name in 'xyz'], axis=1)
    finite = np.isfinite(points_m).all(axis=1)
    if 'rgb' not in offsets:
        return points_m[finite], None
    packed = np.ascontiguousarray(values[finite, offsets['rgb']]).view(np.uint32)
    colours = np.stack([packed >> 16, packed >> 8, packed], axis=1) & 255
    return points_m[finite], colours.astype(np.uint8)
