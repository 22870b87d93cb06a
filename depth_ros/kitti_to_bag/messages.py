# SPDX-License-Identifier: Apache-2.0
"""Values to the bytes of ROS messages, through the types of `rosbags`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.bag.writing import Record, Topic, message_types
from depth_core.data.kitti.rig import Lens
from depth_core.data.kitti.stamps import NANOSECONDS
from depth_ros.kitti_to_bag.frames import Link, quaternion_of

IMAGE: Final = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE: Final = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO: Final = 'sensor_msgs/msg/CameraInfo'
CLOUD: Final = 'sensor_msgs/msg/PointCloud2'
IMU: Final = 'sensor_msgs/msg/Imu'
FIX: Final = 'sensor_msgs/msg/NavSatFix'
TWIST: Final = 'geometry_msgs/msg/TwistStamped'
ODOMETRY: Final = 'nav_msgs/msg/Odometry'
TRANSFORMS: Final = 'tf2_msgs/msg/TFMessage'

_FLOAT32: Final = 7
"""PointField code."""
_NO_REGION: Final = {'x_offset': 0, 'y_offset': 0, 'height': 0, 'width': 0, 'do_rectify': False}


def record(topic: Topic, stamp_ns: int, message: Any) -> Record:  # noqa: ANN401  made at run time
    """Serialise a message."""
    data = message_types().serialize_cdr(message, topic.msgtype)
    return Record(topic=topic.name, stamp_ns=stamp_ns, data=data)


def make(kind: str, /, **values: Any) -> Any:  # noqa: ANN401  made at run time
    """Make a message of type `kind`, as `geometry_msgs/Vector3`."""
    return message_types().types[kind.replace('/', '/msg/')](**values)


def head(stamp_ns: int, frame_id: str) -> Any:  # noqa: ANN401  made at run time
    """The header of a message."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    stamp = make('builtin_interfaces/Time', sec=seconds, nanosec=nanoseconds)
    return make('std_msgs/Header', stamp=stamp, frame_id=frame_id)


def image(plane: Uint8Array | Float32Array, encoding: str, header: Any) -> Any:  # noqa: ANN401  made at run time
    """An Image of [H, W] or [H, W, 3], with the encoding of its type."""
    values = np.ascontiguousarray(plane)
    return make(
        'sensor_msgs/Image',
        header=header,
        height=values.shape[0],
        width=values.shape[1],
        encoding=encoding,
        is_bigendian=int(values.dtype.byteorder == '>'),
        step=values.strides[0],
        data=values.reshape(-1).view(np.uint8),
    )


def compressed_image(content: bytes, form: str, header: Any) -> Any:  # noqa: ANN401  made at run time
    """A CompressedImage of an image file, as it is."""
    return make(
        'sensor_msgs/CompressedImage',
        header=header,
        format=form,
        data=np.frombuffer(content, np.uint8),
    )


def camera_info(camera: Intrinsics, lens: Lens | None, header: Any) -> Any:  # noqa: ANN401  made at run time
    """The CameraInfo of a rectified image, or with a lens that of the image as taken.

    The fourth column of P is zero: the frame is that of the camera itself, and its place beside
    the others is in /tf_static.
    """
    projection = np.hstack((camera.matrix, np.zeros((3, 1))))
    size = camera if lens is None else lens
    return make(
        'sensor_msgs/CameraInfo',
        header=header,
        height=size.height,
        width=size.width,
        distortion_model='plumb_bob',
        d=np.zeros(5) if lens is None else lens.d,
        k=(camera.matrix if lens is None else lens.k).ravel(),
        r=(np.eye(3) if lens is None else lens.r).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=make('sensor_msgs/RegionOfInterest', **_NO_REGION),
    )


def cloud(names: Sequence[str], points: NDArray[np.float32], header: Any) -> Any:  # noqa: ANN401  made at run time
    """A PointCloud2 with a row of points, [N, K] with K fields of these names."""
    points = np.ascontiguousarray(points, '<f4')
    step = 4 * len(names)
    return make(
        'sensor_msgs/PointCloud2',
        header=header,
        height=1,
        width=len(points),
        fields=[
            make('sensor_msgs/PointField', name=name, offset=4 * place, datatype=_FLOAT32, count=1)
            for place, name in enumerate(names)
        ],
        is_bigendian=False,
        point_step=step,
        row_step=step * len(points),
        data=points.reshape(-1).view(np.uint8),
        is_dense=bool(np.isfinite(points).all()),
    )


def vector(values: Sequence[float] | NDArray[np.float64]) -> Any:  # noqa: ANN401  made at run time
    """A Vector3."""
    x, y, z = (float(value) for value in values)
    return make('geometry_msgs/Vector3', x=x, y=y, z=z)


def quaternion(rotation: NDArray[np.float64]) -> Any:  # noqa: ANN401  made at run time
    """The Quaternion of a [3, 3] rotation, in the order of ROS: x, y, z, w."""
    x, y, z, w = quaternion_of(rotation)
    return make('geometry_msgs/Quaternion', x=x, y=y, z=z, w=w)


def transforms(links: Sequence[Link], *, stamp_ns: int) -> Any:  # noqa: ANN401  made at run time
    """A TFMessage."""
    return make(
        'tf2_msgs/TFMessage',
        transforms=[
            make(
                'geometry_msgs/TransformStamped',
                header=head(stamp_ns, link.parent),
                child_frame_id=link.child,
                transform=make(
                    'geometry_msgs/Transform',
                    translation=vector(link.matrix[:3, 3]),
                    rotation=quaternion(link.matrix[:3, :3]),
                ),
            )
            for link in links
        ],
    )


def twist(linear: NDArray[np.float64], angular: NDArray[np.float64]) -> Any:  # noqa: ANN401  as above
    """A Twist, metres and radians a second."""
    return make('geometry_msgs/Twist', linear=vector(linear), angular=vector(angular))


def odometry(
    pose: NDArray[np.float64],
    speed: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    stamp_ns: int,
    frames: tuple[str, str],
) -> Any:  # noqa: ANN401  made at run time
    """An Odometry: pose [4, 4] in the first frame, linear and angular speed in the second."""
    x, y, z = (float(value) for value in pose[:3, 3])
    return make(
        'nav_msgs/Odometry',
        header=head(stamp_ns, frames[0]),
        child_frame_id=frames[1],
        pose=make(
            'geometry_msgs/PoseWithCovariance',
            pose=make(
                'geometry_msgs/Pose',
                position=make('geometry_msgs/Point', x=x, y=y, z=z),
                orientation=quaternion(pose[:3, :3]),
            ),
            covariance=np.zeros(36),
        ),
        twist=make(
            'geometry_msgs/TwistWithCovariance', twist=twist(*speed), covariance=np.zeros(36)
        ),
    )
