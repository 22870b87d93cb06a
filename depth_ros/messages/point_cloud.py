# SPDX-License-Identifier: Apache-2.0
"""Depth to an organised PointCloud2, on the fast path.

The rays of a camera are computed once; a frame then costs two multiplications, one interleaving
copy into the message layout and the filters that are switched on.
"""

from __future__ import annotations

import sys
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header

from depth_core.contracts import BoolArray, Float32Array, Uint8Array
from depth_ros.messages.camera_info import TabulatedRays, rays
from depth_ros.options.output import CloudOptions

_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)
_POINTS_AT_ONCE: Final = 1 << 16
"""So many points, with the planes they are made of, stay in the cache of a processor."""


class RayCache:
    """The rays of the camera seen last."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._rays = np.empty((2, 0, 0), np.float32)
        self._tabulated = TabulatedRays()

    def __call__(self, info: CameraInfo, *, rectified: bool, stride: int) -> Float32Array:
        """Return [2, H', W'] rays of every `stride`-th pixel of a fitted camera_info."""
        key = (
            info.height,
            info.width,
            info.distortion_model,
            tuple(info.d),
            tuple(info.k),
            tuple(info.p),
            rectified,
            stride,
        )
        if key != self._key:
            found = self._tabulated(info, rectified=rectified, stride=stride)
            if found is None:
                found = rays(info, rectified=rectified, stride=stride)
            self._rays = found
            self._key = key
        return self._rays


class CloudMemory:
    """A message that is filled again for the next cloud of the same size.

    What was made with it holds until then: publish it first.
    """

    def __init__(self) -> None:
        self._message = PointCloud2()

    def of_size(self, size: int) -> PointCloud2:
        """Return a message whose data are `size` bytes of any value."""
        if len(self._message.data) != size:
            self._message = PointCloud2()
            self._message.data.frombytes(bytes(size))  # assigning an array copies it
        return self._message


def point_cloud(
    depth_m: Float32Array,
    pixel_rays: Float32Array,
    *,
    header: Header,
    options: CloudOptions,
    rgb: Uint8Array | None = None,
    confidence: Float32Array | None = None,
    keep: BoolArray | None = None,
    memory: CloudMemory | None = None,
) -> PointCloud2:
    """Return the organised cloud of a depth map.

    Args:
        depth_m: [H, W] z-depth; pixels that are not finite become NaN points.
        pixel_rays: [2, H', W'] from `RayCache`, for the stride of `options`.
        header: Taken over as it is: stamp and frame of the image.
        options: Fields, filters and stride.
        rgb: [H, W, 3] the image; needed when `options.color`.
        confidence: [H, W]; needed when `options.needs_confidence`.
        keep: [H, W] pixels that may become points; None where all may.
        memory: What the bytes of an organised cloud are written to; None = new ones.

    Returns:
        H' x W' points: float32 x, y, z, then `rgb` (0xRRGGBB in the bits of a float32, as PCL
        and rviz read it) and `confidence` where asked for. Filtered points are NaN; where the
        options want no organised cloud they are left out, and the others stand in one row.
    """
    names = ['x', 'y', 'z']
    if options.color and rgb is not None:
        names.append('rgb')
    if options.confidence and confidence is not None:
        names.append('confidence')
    height, width = pixel_rays.shape[1:]
    message = (memory or CloudMemory()).of_size(4 * height * width * len(names))
    points = np.frombuffer(message.data, np.float32).reshape(height, width, len(names))
    at_once = max(1, _POINTS_AT_ONCE // max(1, width))
    for first in range(0, height, at_once):
        rows = slice(first, min(first + at_once, height))
        planes = _planes(
            rows,
            depth_m,
            pixel_rays,
            options=options,
            rgb=rgb,
            confidence=confidence,
            keep=keep,
        )
        cv2.merge(planes, dst=points[rows])
    if not options.organized:
        points = points[np.isfinite(points[..., :3]).all(axis=-1)][None]
        message = PointCloud2()
        message.data.frombytes(points.reshape(-1).view(np.uint8).data)
    message.header = header
    message.height, message.width = points.shape[:2]
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(names)
    ]
    message.is_bigendian = sys.byteorder == 'big'
    message.point_step = 4 * len(names)
    message.row_step = message.point_step * message.width
    message.is_dense = not options.organized
    return message


def _planes(
    rows: slice,
    depth_m: Float32Array,
    pixel_rays: Float32Array,
    *,
    options: CloudOptions,
    rgb: Uint8Array | None,
    confidence: Float32Array | None,
    keep: BoolArray | None,
) -> list[Float32Array]:
    """The fields of some rows of points, each [rows, W'] in the order of their names."""
    step = options.stride
    pixels = slice(rows.start * step, (rows.stop - 1) * step + 1, step), slice(None, None, step)
    z = depth_m[pixels].copy()
    away = [] if _all_finite(z) else [~np.isfinite(z)]
    if options.edge_ratio > 0.0:
        away.append(_edges_at(pixels, depth_m, options.edge_ratio))
    if options.max_range_m > 0.0:
        away.append(z > options.max_range_m)
    if options.min_confidence > 0.0 and confidence is not None:
        away.append(~(confidence[pixels] >= options.min_confidence))  # NaN is no confidence
    if keep is not None:
        away.append(~keep[pixels])
    x, y = pixel_rays[:, rows]
    if not _all_finite(x):
        away.append(np.isnan(x))
    for taken in away:
        np.copyto(z, np.float32(np.nan), where=taken)
    planes = [x * z, y * z, z]
    if options.color and rgb is not None:
        planes.append(_packed_rgb(rgb[pixels]))
    if options.confidence and confidence is not None:
        planes.append(np.ascontiguousarray(confidence[pixels]))
    return planes


def _edges_at(pixels: tuple[slice, slice], depth_m: Float32Array, ratio: float) -> BoolArray:
    """`flying_pixels` of some rows and columns, without those of all others."""
    rows, columns = pixels
    above = max(rows.start - 1, 0)
    edges = flying_pixels(depth_m[above : rows.stop + 1], ratio=ratio)
    return edges[rows.start - above : rows.stop - above : rows.step, columns]


def flying_pixels(depth_m: Float32Array, *, ratio: float) -> BoolArray:
    """Mark pixels on a depth edge, where a network gives a depth between both surfaces.

    A pixel is marked when the farthest of its 3 x 3 neighbours is more than `ratio` farther than
    the nearest one. Neighbours without an estimate are left out; sky counts as far.

    Args:
        depth_m: [H, W] z-depth.
        ratio: Relative step, above 0. A level floor seen from h metres at z metres, by f pixels,
            steps by about 2 z / (f h), so a small ratio also cuts far ground away.

    Returns:
        [H, W] True on edges.
    """
    if not _all_finite(depth_m):
        unknown = np.isnan(depth_m)
        nearest = cv2.erode(np.where(unknown, np.float32(np.inf), depth_m), _NEIGHBOURHOOD)
        farthest = cv2.dilate(np.where(unknown, np.float32(-np.inf), depth_m), _NEIGHBOURHOOD)
    else:
        nearest = cv2.erode(depth_m, _NEIGHBOURHOOD)
        farthest = cv2.dilate(depth_m, _NEIGHBOURHOOD)
    with np.errstate(over='ignore'):  # OpenCV's border counts as very far
        edges: BoolArray = farthest > np.multiply(nearest, np.float32(1.0 + ratio), out=nearest)
    return edges


def _all_finite(plane: Float32Array) -> bool:
    """Whether a plane surely has neither NaN nor infinities; a sum tells that the quickest."""
    with np.errstate(over='ignore', invalid='ignore'):
        return bool(np.isfinite(plane.sum()))


def _packed_rgb(rgb: Uint8Array) -> NDArray[np.float32]:
    """Pack [H, W, 3] into the bits of a float32: 0xRRGGBB, the upper byte 255."""
    order = cv2.COLOR_RGB2BGRA if sys.byteorder == 'little' else cv2.COLOR_RGB2RGBA
    packed = cv2.cvtColor(np.ascontiguousarray(rgb), order)
    if sys.byteorder == 'big':
        packed = np.roll(packed, 1, axis=-1)
    return packed.view(np.float32)[..., 0]
