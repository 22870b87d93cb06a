# SPDX-License-Identifier: Apache-2.0
"""The publishers of `mono_depth`: what is wanted, and how an answer becomes messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_core.contracts import DepthMap, Float32Array, Uint8Array
from depth_core.preview import ColourScale, colour_depth
from depth_ros.conversions import image_message, millimetres
from depth_ros.point_cloud import CloudOptions, point_cloud
from depth_ros.qos import output_events, output_qos

DEPTH: Final = 'depth/image_raw'
CAMERA_INFO: Final = 'depth/camera_info'
SIGMA: Final = 'sigma/image_raw'
CONFIDENCE: Final = 'confidence/image_raw'
PREVIEW: Final = 'depth/color'
POINTS: Final = 'points'

_TYPES: Final = {
    DEPTH: Image,
    CAMERA_INFO: CameraInfo,
    SIGMA: Image,
    CONFIDENCE: Image,
    PREVIEW: Image,
    POINTS: PointCloud2,
}


@dataclass(frozen=True)
class Wanted:
    """Which outputs have a subscriber right now."""

    topics: frozenset[str]

    def __contains__(self, topic: str) -> bool:
        return topic in self.topics

    def __bool__(self) -> bool:
        return bool(self.topics)

    @property
    def needs_depth(self) -> bool:
        """Whether anybody wants something that the network must compute."""
        return bool(self.topics - {CAMERA_INFO})

    @property
    def needs_camera_info(self) -> bool:
        """Whether anybody wants something that the calibration goes into."""
        return bool(self.topics & {CAMERA_INFO, POINTS})


class Outputs:
    """The lifecycle publishers of one configured node."""

    def __init__(self, node: LifecycleNode, *, reliability: str) -> None:
        self._node = node
        self._publishers: dict[str, Any] = {
            topic: node.create_lifecycle_publisher(
                kind,
                topic,
                output_qos(reliability),
                event_callbacks=output_events(topic, node.get_logger().warning),
            )
            for topic, kind in _TYPES.items()
        }

    def destroy(self) -> None:
        """Take the topics back."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def wanted(self) -> Wanted:
        """Ask the middleware who listens."""
        counts = {
            topic: publisher.get_subscription_count()
            for topic, publisher in self._publishers.items()
        }
        return Wanted(frozenset(topic for topic, count in counts.items() if count))

    def publish_camera_info(self, info: CameraInfo) -> None:
        """Publish a camera_info that was fitted to the depth image."""
        self._publishers[CAMERA_INFO].publish(info)

    def publish_images(
        self,
        depth: DepthMap,
        header: Header,
        wanted: Wanted,
        *,
        encoding: str,
        preview_scale: ColourScale | None,
    ) -> None:
        """Publish the wanted pictures of one answer, each with the header of its image."""
        if DEPTH in wanted:
            array = millimetres(depth.depth_m) if encoding == '16UC1' else depth.depth_m
            self._publishers[DEPTH].publish(image_message(array, encoding, header))
        if SIGMA in wanted:
            self._publishers[SIGMA].publish(image_message(depth.sigma_m, '32FC1', header))
        if CONFIDENCE in wanted:
            self._publishers[CONFIDENCE].publish(image_message(depth.confidence, '32FC1', header))
        if PREVIEW in wanted:
            colours = colour_depth(depth.depth_m, preview_scale)
            self._publishers[PREVIEW].publish(image_message(colours, 'rgb8', header))

    def publish_points(
        self,
        depth: DepthMap,
        header: Header,
        *,
        pixel_rays: Float32Array,
        rgb: Uint8Array,
        options: CloudOptions,
    ) -> None:
        """Publish the cloud of one answer."""
        confidence = depth.confidence if options.needs_confidence else None
        message = point_cloud(
            depth.depth_m,
            pixel_rays,
            header=header,
            options=options,
            rgb=rgb,
            confidence=confidence,
        )
        self._publishers[POINTS].publish(message)
