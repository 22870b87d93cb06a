# SPDX-License-Identifier: Apache-2.0
"""ROS messages, as `rosbags` reads them, to values; no ROS is needed."""

from __future__ import annotations

import struct
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.camera import Calibration, CameraError, Rectification, rectification
from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import DataError
from depth_core.images import (
    MAX_PIXELS,
    ImageError,
    limit_pixels,
    read_header,
    rgb_from_compressed,
    rgb_from_raw,
)

_FLOAT_TYPES: Final = {7: 'f4', 8: 'f8'}
"""PointField codes of the types coordinates may have."""
_DEPTH_TYPES: Final = {'32FC1': 'f4', '64FC1': 'f8', '16UC1': 'u2'}
_CODED_HEADER: Final = 12
"""Bytes before the PNG of a compressed depth image."""
_PLANE: Final = 2
_NANOSECONDS: Final = 1_000_000_000


def header_stamp_ns(message: Any) -> int:  # noqa: ANN401  rosbags makes its classes at run time
    """The header's stamp in nanoseconds; 0 when it was never set."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def decode_image_message(message: Any, *, source: str) -> Uint8Array:  # noqa: ANN401  as above
    """Decode an Image or CompressedImage to [H, W, 3] uint8 RGB.

    Raises:
        DataError: Its encoding is unknown or its data is truncated or damaged.
    """
    data = memoryview(message.data)
    try:
        if hasattr(message, 'format'):
            return rgb_from_compressed(data, format_name=message.format)
        return rgb_from_raw(
            data,
            encoding=message.encoding,
            height=message.height,
            width=message.width,
            step=message.step,
            big_endian=bool(message.is_bigendian),
        )
    except ImageError as error:
        message_text = f'image {source} cannot be decoded: {error}; record it again.'
        raise DataError(message_text) from error


def depth_of(
    message: Any,  # noqa: ANN401  as above
    *,
    source: str,
    unit_m: float | None = None,
) -> Float32Array:
    """Read an Image of depth, or one of compressed_depth_image_transport.

    Args:
        message: 32FC1 or 64FC1, by REP-118 metres, or 16UC1, millimetres.
        source: Where it comes from, for messages.
        unit_m: Metres in one unit, where that is not what REP-118 says.

    Returns:
        [H, W] metres; NaN where the image has 0, a negative number or none.

    Raises:
        DataError: It is no depth image, or its bytes do not fit its size.
    """
    compressed = hasattr(message, 'format')
    values, whole = _coded_depth(message, source) if compressed else _raw_depth(message, source)
    scale = unit_m or (0.001 if whole else 1.0)
    with np.errstate(invalid='ignore'):
        metres = values if scale == 1.0 else values.astype(np.float64) * scale
        known = np.where(values > 0.0, metres, np.float32(np.nan))
    return np.asarray(known, np.float32)


def _raw_depth(message: Any, source: str) -> tuple[NDArray[Any], bool]:  # noqa: ANN401
    kind = _DEPTH_TYPES.get(message.encoding)
    rows, columns = message.height, message.width
    size = 0 if kind is None else int(kind[1])
    fits = 0 < rows * columns <= MAX_PIXELS
    fits = fits and columns * size <= message.step and rows * message.step <= len(message.data)
    if kind is None or not fits:
        text = (
            f'{source} has encoding {message.encoding!r}, {rows}x{columns} pixels in rows of '
            f'{message.step} and {len(message.data)} bytes: no depth image; give a topic of '
            f'{" or ".join(_DEPTH_TYPES)} that is complete.'
        )
        raise DataError(text)
    order = '>' if message.is_bigendian else '<'
    lines = np.frombuffer(memoryview(message.data), np.uint8, rows * message.step)
    packed = np.ascontiguousarray(lines.reshape(rows, message.step)[:, : columns * size])
    return packed.view(order + kind).astype(kind, copy=False), kind[0] == 'u'


def _coded_depth(message: Any, source: str) -> tuple[NDArray[np.float64], bool]:  # noqa: ANN401
    """Depth as compressed_depth_image_transport writes it: a header of 12 bytes, then a PNG."""
    data = bytes(message.data)
    codes = None
    if 'compressedDepth' in message.format and len(data) > _CODED_HEADER:
        codes = _codes(data[_CODED_HEADER:], source)
    if codes is None or codes.ndim != _PLANE:
        text = (
            f'{source} of format {message.format!r} is no compressed depth; give a topic of '
            'compressedDepth with PNG inside.'
        )
        raise DataError(text)
    values = codes.astype(np.float64)
    if message.format.startswith('16UC1'):
        return values, True
    _, a, b = struct.unpack('<iff', data[:_CODED_HEADER])
    with np.errstate(divide='ignore'):
        return np.where(values > 0.0, a / (values - b), np.nan), False


def _codes(content: bytes, source: str) -> NDArray[Any] | None:
    """Decode a PNG of any depth of bits once its header fits; None where it cannot be."""
    try:
        header = read_header(content)
        limit_pixels(header.height, header.width, MAX_PIXELS)
    except ImageError as error:
        text = f'the compressed depth of {source} {error}; record it again.'
        raise DataError(text) from error
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def calibration_of(info: Any, *, source: str) -> Calibration:  # noqa: ANN401  as above
    """Return what a CameraInfo, of ROS 1 or 2, states.

    Raises:
        DataError: A number is not finite.
    """
    roi = info.roi
    try:
        return Calibration(
            height=info.height,
            width=info.width,
            k=_field(info, 'k', 'K').reshape(3, 3),
            d=_field(info, 'd', 'D'),
            r=_field(info, 'r', 'R').reshape(3, 3),
            p=_field(info, 'p', 'P').reshape(3, 4),
            distortion_model=info.distortion_model,
            region=(roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
    except CameraError as error:
        message = f'{source}: {error}.'
        raise DataError(message) from error


def rectification_of(
    calibration: Calibration, *, height: int, width: int, rectified: bool, source: str
) -> Rectification:
    """Return how images of `height` x `width` that a calibration came with are rectified.

    Raises:
        DataError: It is all zero, of another image, or of an unknown distortion model.
    """
    try:
        fitted = calibration.fitted(height=height, width=width)
        return rectification(fitted, rectified=rectified)
    except CameraError as error:
        message = f'{source}: {error}.'
        raise DataError(message) from error


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
    ends = [fields[name].offset + int(_FLOAT_TYPES[fields[name].datatype][1]) for name in 'xyz']
    if max(ends) > cloud.point_step:
        message = (
            f'cloud {source} has points of {cloud.point_step} bytes, and x, y, z end at byte '
            f'{max(ends)} of them; record it again.'
        )
        raise DataError(message)
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
    packed = np.frombuffer(memoryview(cloud.data)[:size], layout)
    points = np.empty((3, packed.size))
    for line, name in zip(points, 'xyz', strict=True):
        line[:] = packed[name]
    finite = np.isfinite(points).all(axis=0)
    return (points if finite.all() else points[:, finite]).T


def _field(info: Any, name: str, ros1_name: str) -> NDArray[np.float64]:  # noqa: ANN401  as above
    values = getattr(info, name) if hasattr(info, name) else getattr(info, ros1_name)
    return np.asarray(values, np.float64)
