# SPDX-License-Identifier: Apache-2.0
"""Depth to an organised PointCloud2, on the fast path.

The rays of a camera are computed once; a frame then costs two multiplications, one interleaving
copy into the message layout and the filters that are switched on.
"""

from __future__ import annotations

import functools
import sys
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header

from depth_core.contracts import BoolArray, Float32Array, Uint8Array
from depth_ros.messages.camera_info import TabulatedRays, rays
from depth_ros.options.output import CloudOptions

_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)
_POINTS_AT_ONCE: Final = 3 << 14
"""So many points, with the planes they are made of, stay in the cache of a processor."""


class PixelRays(NamedTuple):
    """Rays of the pixels that become points."""

    x: Float32Array
    """[H', W'] x/z of each; NaN where the distortion cannot be inverted."""
    y: Float32Array
    """[H', W'] y/z of each."""
    all_known: bool
    """Whether no ray is NaN."""

    @classmethod
    def of(cls, rays: Float32Array) -> PixelRays:
        """Take [2, H', W'] x/z and y/z.

        Those of a pinhole camera are alike in each column, or row, and are kept once for all.
        """
        x, y = rays
        rows, columns = x[:1], y[:, :1]
        if (x[-1:] == rows).all() and (x == rows).all() and (y == columns).all():
            x = np.broadcast_to(rows.copy(), x.shape)
            y = np.broadcast_to(columns.copy(), y.shape)
        return cls(x, y, not np.isnan(x).any())


class RayCache:
    """The rays of the camera seen last."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._rays = PixelRays.of(np.empty((2, 0, 0), np.float32))
        self._tabulated = TabulatedRays()

    def __call__(self, info: CameraInfo, *, rectified: bool, stride: int) -> PixelRays:
        """Return those of every `stride`-th pixel of a fitted camera_info."""
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
            self._rays = PixelRays.of(found)
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
    pixel_rays: PixelRays,
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
        pixel_rays: Those of H' x W' pixels from `RayCache`, for the stride of `options`.
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
    height, width = pixel_rays.x.shape
    message = (memory or CloudMemory()).of_size(4 * height * width * len(names))
    points = np.frombuffer(message.data, np.float32).reshape(height, width, len(names))
    at_once = max(1, _POINTS_AT_ONCE // max(1, width))
    with np.errstate(over='ignore', invalid='ignore'):
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
    pixel_rays: PixelRays,
    *,
    options: CloudOptions,
    rgb: Uint8Array | None,
    confidence: Float32Array | None,
    keep: BoolArray | None,
) -> list[Float32Array]:
    """The fields of some rows of points, each [rows, W'] in the order of their names."""
    step = options.stride
    pixels = slice(rows.start * step, (rows.stop - 1) * step + 1, step), slice(None, None, step)
    # A pixel on an edge is found by its neighbours, those in the rows above and below too.
    first = max(pixels[0].start - 1, 0)
    around = depth_m[first : pixels[0].stop + 1]
    ends = _ends(around)
    z = depth_m[pixels]
    x, y = pixel_rays.x[rows], pixel_rays.y[rows]
    away = [] if ends.finite else [~np.isfinite(z)]
    if options.edge_ratio > 0.0 and not ends.are_within(options.edge_ratio):
        edges = _edges(around, options.edge_ratio, finite=ends.finite)
        away.append(edges[pixels[0].start - first : pixels[0].stop - first : step, ::step])
    if options.max_range_m > 0.0:
        away.append(z > options.max_range_m)
    if options.min_confidence > 0.0 and confidence is not None:
        away.append(~(confidence[pixels] >= options.min_confidence))  # NaN is no confidence
    if keep is not None:
        away.append(~keep[pixels])
    if not pixel_rays.all_known:
        away.append(np.isnan(x))
    if away or step > 1:
        z = z.copy()
    if away:
        np.copyto(z, np.float32(np.nan), where=functools.reduce(np.logical_or, away))
    planes = [x * z, y * z, z]
    if options.color and rgb is not None:
        planes.append(_packed_rgb(rgb[pixels]))
    if options.confidence and confidence is not None:
        planes.append(np.ascontiguousarray(confidence[pixels]))
    return planes


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
    with np.errstate(over='ignore', invalid='ignore'):
        return _edges(depth_m, ratio, finite=_ends(depth_m).finite)


def _edges(depth_m: Float32Array, ratio: float, *, finite: bool) -> BoolArray:
    """`flying_pixels` of a plane of which it is known whether all of it is finite."""
    if finite:
        nearest = cv2.erode(depth_m, _NEIGHBOURHOOD)
        farthest = cv2.dilate(depth_m, _NEIGHBOURHOOD)
    else:
        unknown = np.isnan(depth_m)
        nearest = cv2.erode(np.where(unknown, np.float32(np.inf), depth_m), _NEIGHBOURHOOD)
        farthest = cv2.dilate(np.where(unknown, np.float32(-np.inf), depth_m), _NEIGHBOURHOOD)
    # OpenCV's border counts as very far, so that this may overflow.
    edges: BoolArray = farthest > np.multiply(nearest, np.float32(1.0 + ratio), out=nearest)
    return edges


class _Ends(NamedTuple):
    """The least and the greatest depth of a plane; one of them is not finite where any is not."""

    least: np.float32
    greatest: np.float32

    @property
    def finite(self) -> bool:
        """Whether all depths are."""
        return bool(np.isfinite(self.least) and np.isfinite(self.greatest))

    def are_within(self, ratio: float) -> bool:
        """Whether no two depths, being finite, are a step of more than `ratio` apart."""
        return self.finite and bool(self.greatest <= self.least * np.float32(1.0 + ratio))


def _ends(plane: Float32Array) -> _Ends:
    """Find them; the bits of floats that are not negative are ordered as they are, and quicker."""
    bits = plane.view(np.int32)
    least, greatest = bits.min(), bits.max()
    if least < 0:
        return _Ends(plane.min(), plane.max())
    return _Ends(least.view(np.float32), greatest.view(np.float32))


def _packed_rgb(rgb: Uint8Array) -> NDArray[np.float32]:
    """Pack [H, W, 3] into the bits of a float32: 0xRRGGBB, the upper byte 255."""
    order = cv2.COLOR_RGB2BGRA if sys.byteorder == 'little' else cv2.COLOR_RGB2RGBA
    packed = cv2.cvtColor(np.ascontiguousarray(rgb), order)
    if sys.byteorder == 'big':
        packed = np.roll(packed, 1, axis=-1)
    return packed.view(np.float32)[..., 0]
