# SPDX-License-Identifier: Apache-2.0
"""Small bags of a rendered-looking camera with a lidar, whose every number is known."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from rosbags.interfaces import Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.geometry import unproject
from depth_ros.messages.conversions import image_message

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
OPTICAL, LIDAR = 'camera_optical', 'lidar'
IMAGE, INFO, CLOUD = '/cam/image_raw', '/cam/camera_info', '/lidar/points'
COMPRESSED = f'{IMAGE}/compressed'
CAMERA = Intrinsics(fx_px=70.0, fy_px=72.0, cx_px=47.5, cy_px=31.5, height=64, width=96)

TYPES = get_typestore(Stores.ROS2_KILTED)


def picture(index: int) -> Uint8Array:
    """An RGB image of smooth blocks, another one for each index."""
    source = np.random.default_rng(index)
    blocks = source.integers(0, 255, (CAMERA.height // 16, CAMERA.width // 16, 3), np.uint8)
    grown = cv2.resize(blocks, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(grown, np.uint8)


def write_bag(
    path: Path,
    *,
    storage: Literal['mcap', 'sqlite3'] = 'mcap',
    compressed: bool = False,
    zstd: CompressionMode | None = None,
    frames: int = 4,
    qos: Sequence[Qos] = (),
    lidar_depth_m: Callable[[int], Float32Array] | None = None,
) -> Path:
    """Write a bag of images and camera_info at 10 Hz.

    Args:
        path: The folder to make.
        storage: The plugin.
        compressed: Whether the images are PNG in CompressedImage.
        zstd: How the whole bag is compressed, if at all.
        frames: How many there are.
        qos: What the publishers offered, as recorded.
        lidar_depth_m: [H, W] depth seen by a lidar in frame i, NaN where it sees nothing; with it
            the bag holds /tf_static and a cloud for each image.
    """
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if zstd is not None:
        writer.set_compression(zstd, CompressionFormat.ZSTD)
    with writer:
        image_type = CompressedImage if compressed else Image
        image = _connect(writer, COMPRESSED if compressed else IMAGE, image_type, qos)
        info = _connect(writer, INFO, CameraInfo, qos)
        if lidar_depth_m is not None:
            static = writer.add_connection('/tf_static', 'tf2_msgs/msg/TFMessage', typestore=TYPES)
            writer.write(static, START_NS, _static_transform())
            cloud = _connect(writer, CLOUD, PointCloud2, qos)
        for index in range(frames):
            stamp_ns = START_NS + index * PERIOD_NS
            writer.write(info, stamp_ns, _recorded_info(stamp_ns))
            data = _recorded_image(index, stamp_ns, compressed=compressed)
            writer.write(image, stamp_ns, data)
            if lidar_depth_m is not None:
                message = _cloud(lidar_depth_m(index), stamp_ns)
                writer.write(cloud, stamp_ns, serialize_message(message))
    return path


def _connect(writer: Writer, topic: str, kind: Any, qos: Sequence[Qos]) -> Any:
    name = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
    return writer.add_connection(topic, name, typestore=TYPES, offered_qos_profiles=list(qos))


# ROS leaves the padding inside a message as it is in memory: serialised once, it is the same in
# every bag.
@functools.cache
def _recorded_info(stamp_ns: int) -> bytes:
    return serialize_message(_camera_info(stamp_ns))


@functools.cache
def _recorded_image(index: int, stamp_ns: int, *, compressed: bool) -> bytes:
    return serialize_message(_image(index, stamp_ns, compressed=compressed))


def _header(frame_id: str, stamp_ns: int) -> Header:
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return header


def _image(index: int, stamp_ns: int, *, compressed: bool) -> Any:
    header = _header(OPTICAL, stamp_ns)
    if not compressed:
        return image_message(picture(index), 'rgb8', header)
    _, encoded = cv2.imencode('.png', cv2.cvtColor(picture(index), cv2.COLOR_RGB2BGR))
    message = CompressedImage(header=header, format='rgb8; png compressed bgr8')
    message.data.frombytes(encoded.tobytes())
    return message


def _camera_info(stamp_ns: int) -> CameraInfo:
    projection = np.hstack((CAMERA.matrix, np.zeros((3, 1))))
    return CameraInfo(
        header=_header(OPTICAL, stamp_ns),
        height=CAMERA.height,
        width=CAMERA.width,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=CAMERA.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def _cloud(depth_m: Float32Array, stamp_ns: int) -> PointCloud2:
    """A cloud in the frame of the lidar: x ahead, y left, z up."""
    points_m = unproject(depth_m, CAMERA).reshape(-1, 3)
    x, y, z = points_m[np.isfinite(points_m).all(axis=1)].T
    lidar = np.ascontiguousarray(np.stack((z, -x, -y), axis=1), np.float32)
    message = PointCloud2(header=_header(LIDAR, stamp_ns), height=1, width=len(lidar))
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate('xyz')
    ]
    message.point_step, message.row_step = 12, 12 * len(lidar)
    message.is_dense = True
    message.data.frombytes(lidar.tobytes())
    return message


def _static_transform() -> bytes:
    """The lidar stands in the camera's centre; only its axes differ."""
    types: dict[str, Any] = TYPES.types
    stamp = types['builtin_interfaces/msg/Time'](sec=0, nanosec=0)
    quaternion = types['geometry_msgs/msg/Quaternion'](x=-0.5, y=0.5, z=-0.5, w=0.5)
    transform = types['geometry_msgs/msg/TransformStamped'](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id=LIDAR),
        child_frame_id=OPTICAL,
        transform=types['geometry_msgs/msg/Transform'](
            translation=types['geometry_msgs/msg/Vector3'](x=0.0, y=0.0, z=0.0),
            rotation=quaternion,
        ),
    )
    message = types['tf2_msgs/msg/TFMessage'](transforms=[transform])
    return bytes(TYPES.serialize_cdr(message, 'tf2_msgs/msg/TFMessage'))
