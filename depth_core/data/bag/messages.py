# SPDX-License-Identifier: Apache-2.0
"""ROS messages, as `rosbags` reads them, to arrays; no ROS is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.image import ImageError, message_to_cvimage
from rosbags.image.image import to_cvtype

from depth_core.contracts import Intrinsics, Uint8Array
from depth_core.data.images import decode_image
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_matrix

_FLOAT_TYPES: Final = {7: 'f4', 8: 'f8'}
"""PointField codes of the types coordinates may have."""
_NANOSECONDS: Final = 1_000_000_000


def header_stamp_ns(message: Any) -> int:  # noqa: ANN401  rosbags makes its classes at run time
    """The header's stamp in nanoseconds; 0 when it was never set."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def decode_image_message(message: Any, *, source: str) -> Uint8Array:  # noqa: ANN401  as above
    """Decode an Image or CompressedImage to [H, W, 3] uint8 RGB.

    Raises:
        DataError: Its encoding is unknown or its data is truncated or corrupt.
    """
    if hasattr(message, 'format'):
        return decode_image(bytes(message.data), source=source)
    try:
        return np.asarray(message_to_cvimage(_without_padding(message), 'rgb8'), np.uint8)
    except (ImageError, ValueError, TypeError, KeyError, cv2.error) as error:
        message_text = (
            f'image {source} ({message.height}x{message.width} {message.encoding!r}, '
            f'{len(message.data)} bytes) cannot be decoded: {error}; its data must hold height x '
            'step bytes of a known encoding.'
        )
        raise DataError(message_text) from error


def _without_padding(message: Any) -> Any:  # noqa: ANN401  as above
    """Drop the bytes that drivers append to rows for alignment; the decoder takes none."""
    _, _, type_name, channels = to_cvtype(message.encoding)
    row_bytes = message.width * channels * np.dtype(type_name).itemsize
    if message.step <= row_bytes:
        return message
    rows = np.asarray(message.data, np.uint8)[: message.height * message.step]
    packed = np.ascontiguousarray(rows.reshape(message.height, message.step)[:, :row_bytes])
    return replace(message, step=row_bytes, data=packed.ravel())


@dataclass(frozen=True, kw_only=True)
class BagCamera:
    """What a CameraInfo says about the images beside it."""

    intrinsics: Intrinsics
    """Of the image after `rectify`."""
    rectified_from_optical: NDArray[np.float64]
    """[4, 4] optical frame of the message to the frame that `intrinsics` project from."""
    distorted: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """K and D of the image as recorded; None when it has no distortion."""

    def rectify(self, image: Uint8Array) -> Uint8Array:
        """Remove the lens distortion; an image without any is returned as it is."""
        if self.distorted is None:
            return image
        matrix, coefficients = self.distorted
        map_x, map_y = cv2.initUndistortRectifyMap(
            matrix,
            coefficients,
            self.rectified_from_optical[:3, :3],
            self.intrinsics.matrix,
            (self.intrinsics.width, self.intrinsics.height),
            cv2.CV_32FC1,
        )
        return np.asarray(cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR), np.uint8)


def camera_of(
    info: Any,  # noqa: ANN401  rosbags makes its classes at run time
    size: tuple[int, int],
    *,
    rectified: bool,
    source: str,
) -> BagCamera:
    """Read a CameraInfo for an image of `size` (height, width).

    A rectified image is described by P and R, a raw one by K and D. A raw image without
    distortion is used as it is; one with distortion is rectified to P.

    Raises:
        DataError: It is all zero, of another size, or of a distortion model that is not a
            polynomial one.
    """
    matrix = _field(info, 'k', 'K').reshape(3, 3)
    projection = _field(info, 'p', 'P').reshape(3, 4)
    rotation = np.eye(4)
    if matrix[0, 0] <= 0.0 and projection[0, 0] <= 0.0:
        message = (
            f'{source} is all zero (fx = {matrix[0, 0]} in K, {projection[0, 0]} in P): the '
            'camera is not calibrated; calibrate it and record again, or use a folder of images.'
        )
        raise DataError(message)
    if (info.height, info.width) != size:
        message = (
            f'{source} is for {info.height}x{info.width} pixels, but its images are '
            f'{size[0]}x{size[1]}; record the camera_info that belongs to the image topic.'
        )
        raise DataError(message)
    coefficients = _field(info, 'd', 'D')
    use_projection = projection[0, 0] > 0.0 and (rectified or matrix[0, 0] <= 0.0)
    if not use_projection and not coefficients.any():
        return BagCamera(
            intrinsics=intrinsics_from_matrix(matrix, height=size[0], width=size[1]),
            rectified_from_optical=rotation,
            distorted=None,
        )
    turn = _field(info, 'r', 'R').reshape(3, 3)
    if turn.any():
        rotation[:3, :3] = turn
    target = projection if projection[0, 0] > 0.0 else matrix
    if not use_projection and info.distortion_model not in {'plumb_bob', 'rational_polynomial'}:
        message = (
            f'{source} has distortion model {info.distortion_model!r}; images are rectified from '
            "'plumb_bob' or 'rational_polynomial': record the rectified image topic."
        )
        raise DataError(message)
    return BagCamera(
        intrinsics=intrinsics_from_matrix(target, height=size[0], width=size[1]),
        rectified_from_optical=rotation,
        distorted=None if use_projection else (matrix, coefficients),
    )


def points_of(cloud: Any, *, source: str) -> NDArray[np.float64]:  # noqa: ANN401  as above
    """Read x, y, z of a PointCloud2 as [N, 3] metres, without points that are not finite.

    Raises:
        DataError: It has no float x, y, z, or its data is shorter than it states.
    """
    fields = {field.name: field for field in cloud.fields}
    if any(name not in fields or fields[name].datatype not in _FLOAT_TYPES for name in 'xyz'):
        have = ', '.join(f'{name} (type {field.datatype})' for name, field in fields.items())
        message = f'cloud {source} has fields {have or "none"}; it needs x, y and z as floats.'
        raise DataError(message)
    size = cloud.height * cloud.width * cloud.point_step
    if len(cloud.data) < size or cloud.row_step not in {0, cloud.width * cloud.point_step}:
        message = (
            f'cloud {source} has {len(cloud.data)} bytes for {cloud.height}x{cloud.width} points '
            f'of {cloud.point_step} bytes (rows of {cloud.row_step}); it is truncated or padded: '
            'record it again.'
        )
        raise DataError(message)
    order = '>' if cloud.is_bigendian else '<'
    layout = np.dtype(
        {
            'names': ['x', 'y', 'z'],
            'formats': [order + _FLOAT_TYPES[fields[name].datatype] for name in 'xyz'],
            'offsets': [fields[name].offset for name in 'xyz'],
            'itemsize': cloud.point_step,
        }
    )
    packed = np.frombuffer(bytes(cloud.data)[:size], layout)
    points = np.stack([packed[name].astype(np.float64) for name in 'xyz'], axis=-1)
    kept: NDArray[np.float64] = points[np.isfinite(points).all(axis=1)]
    return kept


class FrameTree:
    """The static transforms of a bag."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, NDArray[np.float64]]] = {}

    def add(self, message: Any) -> None:  # noqa: ANN401  rosbags makes its classes at run time
        """Take over the transforms of a TFMessage."""
        for item in message.transforms:
            place = item.transform.translation
            turn = item.transform.rotation
            matrix = np.eye(4)
            matrix[:3, :3] = rotation_matrix((turn.x, turn.y, turn.z, turn.w))
            matrix[:3, 3] = place.x, place.y, place.z
            self._parents[_frame(item.child_frame_id)] = (_frame(item.header.frame_id), matrix)

    def between(self, target: str, source: str, *, bag: str) -> NDArray[np.float64]:
        """The [4, 4] transform that takes points of frame `source` into frame `target`.

        Raises:
            DataError: The bag's static transforms do not connect the two.
        """
        root_from_target = self._to_ancestors(_frame(target))
        root_from_source = self._to_ancestors(_frame(source))
        for ancestor, matrix in root_from_source.items():
            if ancestor in root_from_target:
                result: NDArray[np.float64] = np.linalg.inv(root_from_target[ancestor]) @ matrix
                return result
        known = ', '.join(f'{parent} -> {child}' for child, (parent, _) in self._parents.items())
        message = (
            f'bag {bag} does not say where lidar frame {source!r} is in camera frame {target!r}: '
            f'its /tf_static holds {known or "nothing"}; record /tf_static with the bag.'
        )
        raise DataError(message)

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


def rotation_matrix(quaternion: Sequence[float]) -> NDArray[np.float64]:
    """The 3x3 rotation of a quaternion (x, y, z, w), normalised first.

    Raises:
        DataError: It is all zero.
    """
    values = np.array(quaternion, np.float64)
    length = float(np.linalg.norm(values))
    if length == 0.0:
        message = 'a static transform has rotation (0, 0, 0, 0); identity is (0, 0, 0, 1).'
        raise DataError(message)
    x, y, z, w = values / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _field(info: Any, name: str, ros1_name: str) -> NDArray[np.float64]:  # noqa: ANN401  as above
    values = getattr(info, name) if hasattr(info, name) else getattr(info, ros1_name)
    return np.asarray(values, np.float64)


def _frame(name: str) -> str:
    """Frame names of ROS 1 may begin with a slash."""
    return name.removeprefix('/')
