# SPDX-License-Identifier: Apache-2.0
"""Small bags with known pixels and lidar points, written for the tests of bags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_core.data.bag.opener import open_bag, select_connections

STORE = get_typestore(Stores.ROS2_HUMBLE)
STORE1 = get_typestore(Stores.ROS1_NOETIC)
HEIGHT, WIDTH, F_PX, CX_PX, CY_PX = 12, 20, 25.0, 9.0, 5.0
START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
IMAGE, INFO, CLOUD = '/cam/image_raw', '/cam/camera_info', '/velo/points'
# x, y, z, w of the rotation that takes optical axes to those of a lidar (x ahead, z up).
LIDAR_FROM_OPTICAL = (-0.5, 0.5, -0.5, 0.5)
LIDAR_PLACE_M = np.array([0.3, 0.1, -0.2])


def make(kind: str, /, **values: Any) -> Any:
    return STORE.types[kind](**values)


def header(stamp_ns: int, frame: str) -> Any:
    stamp = make('builtin_interfaces/msg/Time', sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return make('std_msgs/msg/Header', stamp=stamp, frame_id=frame)


def raw_image(stamp_ns: int, pixels: NDArray[np.uint8]) -> Any:
    return make(
        'sensor_msgs/msg/Image',
        header=header(stamp_ns, 'optical'),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding='rgb8',
        is_bigendian=0,
        step=pixels.shape[1] * 3,
        data=pixels.ravel(),
    )


def compressed_image(stamp_ns: int, pixels: NDArray[np.uint8]) -> Any:
    content = cv2.imencode('.png', pixels[..., ::-1])[1].ravel()
    return make(
        'sensor_msgs/msg/CompressedImage',
        header=header(stamp_ns, 'optical'),
        format='png',
        data=content,
    )


def camera_info(
    stamp_ns: int,
    *,
    f_px: float = F_PX,
    projection_f_px: float | None = None,
    distortion: Sequence[float] = (0.0,) * 5,
    model: str = 'plumb_bob',
    height: int = HEIGHT,
) -> Any:
    centre = (CX_PX, CY_PX) if f_px else (0.0, 0.0)
    last = 1.0 if f_px else 0.0
    matrix = np.array([f_px, 0.0, centre[0], 0.0, f_px, centre[1], 0.0, 0.0, last])
    projection = np.zeros((3, 4))
    projection[:, :3] = matrix.reshape(3, 3)
    if projection_f_px is not None:
        projection[0, 0] = projection[1, 1] = projection_f_px
        projection[:, 2] = CX_PX, CY_PX, 1.0
    return make(
        'sensor_msgs/msg/CameraInfo',
        header=header(stamp_ns, 'optical'),
        height=height,
        width=WIDTH,
        distortion_model=model,
        d=np.array(distortion, np.float64),
        k=matrix,
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=make(
            'sensor_msgs/msg/RegionOfInterest',
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        ),
    )


def cloud(stamp_ns: int, points: NDArray[np.floating], *, names: str = 'xyzi') -> Any:
    packed = np.zeros((len(points), 4), '<f4')
    packed[:, :3] = points
    fields = [
        make('sensor_msgs/msg/PointField', name=name, offset=4 * place, datatype=7, count=1)
        for place, name in enumerate(names)
    ]
    return make(
        'sensor_msgs/msg/PointCloud2',
        header=header(stamp_ns, 'velo'),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=16,
        row_step=16 * len(points),
        data=np.frombuffer(packed.tobytes(), np.uint8),
        is_dense=True,
    )


def transforms(*edges: tuple[str, str, Sequence[float], Sequence[float]]) -> Any:
    """A /tf_static message of (parent, child, translation in m, rotation x y z w)."""
    items = [
        make(
            'geometry_msgs/msg/TransformStamped',
            header=header(START_NS, parent),
            child_frame_id=child,
            transform=make(
                'geometry_msgs/msg/Transform',
                translation=make(
                    'geometry_msgs/msg/Vector3', **dict(zip('xyz', place, strict=True))
                ),
                rotation=make(
                    'geometry_msgs/msg/Quaternion', **dict(zip('xyzw', turn, strict=True))
                ),
            ),
        )
        for parent, child, place, turn in edges
    ]
    return make('tf2_msgs/msg/TFMessage', transforms=items)


def vector(x: float, y: float = 0.0, z: float = 0.0) -> Any:
    return make('geometry_msgs/msg/Vector3', x=x, y=y, z=z)


def twist(speed_mps: float) -> Any:
    """A velocity of this length, not along an axis."""
    linear = vector(-0.6 * speed_mps, 0.8 * speed_mps)
    return make('geometry_msgs/msg/Twist', linear=linear, angular=vector(0.0, 0.0, 9.0))


def twist_stamped(stamp_ns: int, speed_mps: float) -> Any:
    return make(
        'geometry_msgs/msg/TwistStamped', header=header(stamp_ns, 'base'), twist=twist(speed_mps)
    )


def odometry(stamp_ns: int, speed_mps: float, *, x_m: float = 0.0) -> Any:
    covariance = np.zeros(36)
    pose = make(
        'geometry_msgs/msg/Pose',
        position=make('geometry_msgs/msg/Point', x=x_m, y=0.0, z=0.0),
        orientation=make('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return make(
        'nav_msgs/msg/Odometry',
        header=header(stamp_ns, 'odom'),
        child_frame_id='base',
        pose=make('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=covariance),
        twist=make(
            'geometry_msgs/msg/TwistWithCovariance', twist=twist(speed_mps), covariance=covariance
        ),
    )


IDENTITY = (0.0, 0.0, 0.0, 1.0)
BOTH_FRAMES = transforms(
    ('base', 'velo', (0.0, 0.0, 1.5), IDENTITY),
    ('base', 'optical', (0.3, 0.1, 1.3), LIDAR_FROM_OPTICAL),
)


@dataclass
class Recording:
    """What is written into a bag: (topic, recording time in ns, message)."""

    messages: list[tuple[str, int, Any]] = field(default_factory=list)

    def add(self, topic: str, recorded_ns: int, message: Any) -> None:
        self.messages.append((topic, recorded_ns, message))

    def write(self, path: Path, plugin: StoragePlugin = StoragePlugin.MCAP) -> Path:
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            connections: dict[str, Any] = {}
            for topic, recorded_ns, message in self.messages:
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
                data = STORE.serialize_cdr(message, kind)
                writer.write(connections[topic], recorded_ns, data)
        return path


def pixels_of(frame: int) -> NDArray[np.uint8]:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 40 * frame + 10
    image[3, 4] = 255, 128, 0
    return image


def lidar_points(*pixels: tuple[float, float, float]) -> NDArray[np.float64]:
    """Lidar points that fall on (column, row) of the image at a depth in metres."""
    optical = [
        np.array([(column - CX_PX) / F_PX, (row - CY_PX) / F_PX, 1.0]) * depth_m
        for column, row, depth_m in pixels
    ]
    points: NDArray[np.float64] = np.array([[z, -x, -y] for x, y, z in optical])
    points += LIDAR_PLACE_M
    return points


def record(*, compressed: bool = False, tf: Any = BOTH_FRAMES, info: Any = None) -> Recording:
    """Three images, 0.1 s apart, and scans for the first and the last, 10 ms late."""
    recording = Recording()
    if tf is not None:
        recording.add('/tf_static', START_NS, tf)
    for frame in range(3):
        stamp_ns = START_NS + frame * STEP_NS
        recorded_ns = stamp_ns + 3_000_000
        encode = compressed_image if compressed else raw_image
        recording.add(IMAGE, recorded_ns, encode(stamp_ns, pixels_of(frame)))
        recording.add(INFO, recorded_ns, info or camera_info(stamp_ns))
        if frame != 1:
            points = lidar_points((4.0, 3.0, 5.0 + frame), (15.0, 8.0, 20.0), (7.0, 7.0, -3.0))
            late_ns = stamp_ns + 10_000_000
            recording.add(CLOUD, late_ns, cloud(late_ns, points))
    return recording


def topics(path: Path) -> dict[str, int]:
    """How many messages of each topic are read."""
    found: dict[str, int] = {}
    with open_bag(path) as bag:
        for message in bag.messages(select_connections(bag, ())):
            found[message.connection.topic] = found.get(message.connection.topic, 0) + 1
    return found


def storage_of(folder: Path) -> Path:
    return next(item for item in folder.iterdir() if item.suffix in {'.mcap', '.db3'})


def compressed(folder: Path, mode: CompressionMode = CompressionMode.FILE) -> Path:
    path = folder / 'bag'
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        image = raw_image(START_NS, pixels_of(0))
        connection = writer.add_connection(IMAGE, image.__msgtype__, typestore=STORE)
        writer.write(connection, START_NS, STORE.serialize_cdr(image, image.__msgtype__))
    return path


def odd_topic(
    writer: Writer | Writer1, text: str, *, digest: str, ros1: bool, serialization: str = 'cdr'
) -> None:
    kind = 'my_msgs/msg/Odd'
    if isinstance(writer, Writer1):
        connection = writer.add_connection('/odd', kind, msgdef=text, md5sum=digest)
    else:
        connection = writer.add_connection(
            '/odd', kind, msgdef=text, rihs01=digest, serialization_format=serialization
        )
    writer.write(connection, START_NS, b'\1' * (12 if ros1 else 16))


def ros1_bag(path: Path, definition: str, digest: str, *, camera_digest: str = '') -> Path:
    types = STORE1.types
    header = types['std_msgs/msg/Header'](
        seq=0, stamp=types['builtin_interfaces/msg/Time'](sec=1, nanosec=0), frame_id='optical'
    )
    image = types['sensor_msgs/msg/Image'](
        header, 12, 20, 'rgb8', 0, 60, np.ascontiguousarray(pixels_of(0)).ravel()
    )
    info = types['sensor_msgs/msg/CameraInfo'](
        header, 12, 20, 'plumb_bob', np.zeros(5), np.array([25.0, 0, 9, 0, 25, 5, 0, 0, 1]),
        np.eye(3).ravel(), np.array([25.0, 0, 9, 0, 0, 25, 5, 0, 0, 0, 1, 0]), 0, 0,
        types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, do_rectify=False),
    )  # fmt: skip
    with Writer1(path) as writer:
        for topic, message in ((IMAGE, image), (INFO, info)):
            kind = message.__msgtype__
            connection = writer.add_connection(
                topic,
                kind,
                typestore=STORE1,
                msgdef='' if camera_digest else None,
                md5sum=camera_digest or None,
            )
            writer.write(connection, START_NS, STORE1.serialize_ros1(message, kind))
        odd_topic(writer, definition, digest=digest, ros1=True)
    return path
