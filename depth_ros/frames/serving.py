# SPDX-License-Identifier: Apache-2.0
"""One camera of an active node: its subscriptions, and the steps that answer its frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.runtime import Predictor
from depth_ros.frames.answer import Frame, FrameAnswerer
from depth_ros.frames.drops import DropReason
from depth_ros.frames.outputs import Outputs
from depth_ros.frames.statistics import FrameStatistics
from depth_ros.frames.together import Asking
from depth_ros.health.identity import Identity
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.messages.conversions import nanoseconds
from depth_ros.middleware.process import StartableNode
from depth_ros.middleware.publishers import publishers_of
from depth_ros.middleware.qos import (
    LATCHED_QOS,
    every_qos,
    input_events,
    input_qos,
    keeps_messages,
    no_events,
)
from depth_ros.middleware.qos_overrides import Profiles
from depth_ros.middleware.topics import CameraTopics
from depth_ros.scale.inputs import Input, ScaleInputs
from depth_ros.settings import Settings


class Serving:
    """Takes the images of one camera from `subscribe` to `unsubscribe`."""

    def __init__(
        self,
        topics: CameraTopics,
        node: StartableNode,
        *,
        settings: Settings,
        predictor: Predictor,
        outputs: Outputs,
        statistics: FrameStatistics,
    ) -> None:
        """Prepare to answer frames.

        Args:
            topics: Names of its topics.
            node: The node.
            settings: The parameters.
            predictor: The model.
            outputs: What is published.
            statistics: Where frames are counted.
        """
        self.topics = topics
        self.image_topic = topics.resolved('image', settings.image_transport)
        self._node = node
        self._outputs = outputs
        self._statistics = statistics
        info_topic = topics.resolved('camera_info')
        self._infos = CameraInfoStore(
            publishers_of(node, info_topic, CameraInfo), name=topics.name('camera_info')
        )
        self._measures = ScaleInputs(topics, node, settings)
        self._subscriptions: list[Any] = []
        self._takes_latched = False
        self.use(predictor, settings)

    def subscribe(
        self, take: Callable[[Frame], None], profile: Profiles, *, group: CallbackGroup | None
    ) -> None:
        """Begin to take images.

        Args:
            take: Called with each image.
            profile: Gives the QoS of a resolved topic, from the usual one.
            group: Of the callbacks; None = the usual one of the node.
        """
        node, settings = self._node, self.settings
        qos = input_qos(settings.input_reliability, settings.queue_depth)
        if settings.policy == 'every':
            qos = every_qos()
        self._subscriptions = [
            node.create_subscription(
                item.kind,
                item.topic,
                item.take,
                profile(item.topic, 'subscription', item.qos or qos),
                callback_group=group,
                event_callbacks=input_events(item.topic, node.get_logger().warning),
            )
            for item in self._inputs(take)
        ]
        self._statistics.restart_clock()
        node.get_logger().info(f'subscribed to images on {self.image_topic}')

    def _inputs(self, take: Callable[[Frame], None]) -> list[Input]:
        compressed = self.settings.image_transport == 'compressed'
        kind = CompressedImage if compressed else Image
        return [
            Input(CameraInfo, self._infos.topic, self._infos.add),
            *self._measures,
            Input(kind, self.image_topic, lambda message: self._on_image(message, take)),
        ]

    def unsubscribe(self) -> None:
        """Take no more images, and publish nothing from here on."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def use(self, predictor: Predictor, settings: Settings) -> None:
        """Answer the next frames with this model."""
        self._answerer = FrameAnswerer(
            settings=settings,
            predictor=predictor,
            outputs=self._outputs,
            infos=self._infos,
            measured=self._measures.measured,
            odometry=self._measures.odometry,
            statistics=self._statistics,
            image_topic=self.image_topic,
            clock=self._node.get_clock(),
            log=self._node.get_logger().info,
            warn=self._node.get_logger().warning,
        )

    def answer(self, frame: Frame) -> Asking[None]:
        """The steps that answer a frame."""
        return self._answerer(frame)

    def retire(self) -> None:
        """Publish nothing until another model is used."""
        self._answerer.retire()

    def dropped(self, reason: DropReason) -> None:
        """Count a frame that is not answered; one that came while the backend hung as such."""
        if reason is DropReason.SUPERSEDED and self._answerer.is_retired:
            reason = DropReason.REOPENING
        self._statistics.dropped(reason)

    @property
    def settings(self) -> Settings:
        """The parameters that hold for the next frame."""
        return self._answerer.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._answerer.settings = settings

    def described(self, identity: Identity) -> Identity:
        """What is known of the model and of what it answers by now."""
        return self._answerer.described(identity)

    def reset_scale(self) -> bool:
        """Forget the scale found so far; whether there is a source of one."""
        return self._answerer.reset_scale()

    def take_latched(self) -> None:
        """Subscribe to a camera_info that was published once and kept, where one is found.

        Publishers that keep none would warn of such a subscription, so it waits for one that does.
        """
        topic = self._infos.topic
        if self._takes_latched or not keeps_messages(self._node, topic):
            return
        self._takes_latched = True
        self._subscriptions.append(
            self._node.create_subscription(
                CameraInfo, topic, self._infos.add, LATCHED_QOS, event_callbacks=no_events()
            )
        )

    def _on_image(self, message: Any, take: Callable[[Frame], None]) -> None:  # noqa: ANN401 Image or CompressedImage
        now_ns, header = self._node.get_clock().now().nanoseconds, message.header
        self._statistics.arrived(
            stamp_age_s=(now_ns - nanoseconds(header.stamp)) * 1e-9, frame_id=header.frame_id
        )
        take(Frame(message, time.monotonic()))
