# SPDX-License-Identifier: Apache-2.0
"""Messages that tests send to nodes, and the arrays in what comes back."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

FRAME_ID = 'front_camera_optical_frame'
DTYPES = {'32FC1': np.float32, '16UC1': np.uint16, 'rgb8': np.uint8}


def header(number: int) -> Header:
    """A header with a stamp that is no default."""
    result = Header(frame_id=FRAME_ID)
    result.stamp.sec, result.stamp.nanosec = 1000 + number, 123_456_789
    return result


def stamp_ns(message: Any) -> int:
    """The stamp of a message as one number."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def picture(number: int, *, height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    """A smooth picture that differs from number to number."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    phase = 0.7 * number
    channels = [
        127.0 + 120.0 * np.sin(columns / width * k + rows / height * 2.0 + phase)
        for k in (3.0, 4.0, 5.0)
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


def image(number: int, pixels: NDArray[np.uint8] | None = None) -> Image:
    """An rgb8 image message."""
    rgb = picture(number) if pixels is None else pixels
    message = Image(header=header(number), height=rgb.shape[0], width=rgb.shape[1])
    message.encoding, message.step = 'rgb8', rgb.shape[1] * 3
    message.data = array.array('B', rgb.tobytes())
    return message


def compressed_image(number: int) -> CompressedImage:
    """A PNG message of the same picture, as image_transport writes it."""
    bgr = cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR)
    message = CompressedImage(header=header(number), format='rgb8; png compressed bgr8')
    message.data = array.array('B', cv2.imencode('.png', bgr)[1].tobytes())
    return message


def camera_info(number: int, *, height: int = 120, width: int = 160) -> CameraInfo:
    """A camera without distortion, focal length as long as the image is wide."""
    f, cx, cy = float(width), (width - 1) / 2, (height - 1) / 2
    message = CameraInfo(header=header(number), height=height, width=width)
    message.distortion_model = 'plumb_bob'
    message.d = [0.0] * 5
    message.k = np.array([f, 0, cx, 0, f, cy, 0, 0, 1])
    message.r = np.eye(3).ravel()
    message.p = np.array([f, 0, cx, 0, 0, f, cy, 0, 0, 0, 1, 0])
    return message


def cloud(number: int, points_m: NDArray[np.float32]) -> PointCloud2:
    """A message of points [N, 3], metres."""
    message = PointCloud2(header=header(number), height=1, width=len(points_m))
    message.header.frame_id = 'lidar'
    message.fields = [
        PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
        for place, name in enumerate('xyz')
    ]
    message.point_step, message.row_step = 12, 12 * len(points_m)
    message.data = array.array('B', points_m.astype('<f4').tobytes())
    return message


def pixels_of(message: Image) -> NDArray[Any]:
    """The array of an image message, by its own encoding."""
    values = np.frombuffer(message.data, DTYPES[message.encoding])
    shape = (message.height, message.width, *((3,) if message.encoding == 'rgb8' else ()))
    return values.reshape(shape)
