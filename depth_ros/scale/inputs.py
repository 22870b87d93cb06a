# SPDX-License-Identifier: Apache-2.0
"""What the node subscribes to for the parameter `scale_source`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

from depth_core.data.bag.frame_tree import pose_matrix
from depth_core.errors import ConfigError, DataError
from depth_ros.middleware.message_types import find_message_class
from depth_ros.middleware.publishers import publishers_of
from depth_ros.middleware.qos import STATIC_TRANSFORMS_QOS, TRANSFORMS_QOS
from depth_ros.middleware.topics import CameraTopics
from depth_ros.scale.measured import DepthImages, LidarPoints, Measured
from depth_ros.scale.odometry import OdometryStore
from depth_ros.scale.stamped import StampedStore
from depth_ros.scale.transforms import FixedPlacement, TransformStore
from depth_ros.settings import Settings

TRANSFORM_QOS: Final[Mapping[str, QoSProfile]] = {
    '/tf': TRANSFORMS_QOS,
    '/tf_static': STATIC_TRANSFORMS_QOS,
}
"""Topics of the transforms of a robot, and the QoS that tf2 has there."""


@dataclass(frozen=True)
class Input:
    """A subscription."""

    kind: Any
    """Class of the messages."""
    topic: str
    """Resolved."""
    take: Callable[[Any], None]
    qos: QoSProfile | None = None
    """None = that of the images."""


class ScaleInputs:
    """The stores of what is measured, for one camera, and what fills them."""

    def __init__(self, topics: CameraTopics, node: Node, settings: Settings) -> None:
        """Make the stores that `scale_source` needs.

        Raises:
            ConfigError: The messages of transforms are needed and not installed.
        """
        self.measured: Measured | None = None
        self.odometry: OdometryStore | None = None
        self._inputs: list[Input] = []
        source = settings.scale_source
        if source == 'sparse_depth':
            images: StampedStore[Image] = StampedStore(
                publishers_of(node, topics.resolved(source), Image), name=topics.name(source)
            )
            self.measured = DepthImages(images)
            self._inputs.append(Input(Image, images.topic, images.add))
        elif source == 'lidar':
            self._take_points(topics, node, settings.scale.lidar_pose)
        elif source == 'speed':
            topic = node.resolve_topic_name('odometry')
            self.odometry = OdometryStore(publishers_of(node, topic, Odometry))
            self._inputs.append(Input(Odometry, topic, self.odometry.add))

    def __iter__(self) -> Iterator[Input]:
        """The subscriptions."""
        return iter(self._inputs)

    def _take_points(self, topics: CameraTopics, node: Node, pose: Sequence[float]) -> None:
        points: StampedStore[PointCloud2] = StampedStore(
            publishers_of(node, topics.resolved('lidar_points'), PointCloud2),
            name=topics.name('lidar_points'),
        )
        self._inputs.append(Input(PointCloud2, points.topic, points.add))
        if pose:
            self.measured = LidarPoints(points, FixedPlacement(pose_matrix(pose[:3], pose[3:])))
            return
        transforms = TransformStore()
        self.measured = LidarPoints(points, transforms)
        kind = transform_message_class()
        for topic, take in (('/tf', transforms.add), ('/tf_static', transforms.add_static)):
            resolved = node.resolve_topic_name(topic)
            self._inputs.append(Input(kind, resolved, take, TRANSFORM_QOS[topic]))


def transform_message_class() -> type[Any]:
    """The class of the messages on /tf.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return find_message_class('tf2_msgs/msg/TFMessage')
    except DataError as error:
        message = (
            'scale_source is lidar and scale.lidar_to_camera is empty, so that the place of the '
            'lidar comes from /tf, whose messages (tf2_msgs) are not installed; install '
            'ros-$ROS_DISTRO-tf2-msgs, or set scale.lidar_to_camera.'
        )
        raise ConfigError(message) from error


def check_scale_inputs(settings: Settings) -> None:
    """Refuse a source that cannot be received on this machine.

    Raises:
        ConfigError: Transforms are needed, and their messages are not installed.
    """
    if settings.scale_source == 'lidar' and not settings.scale.lidar_pose:
        transform_message_class()
