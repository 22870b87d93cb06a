# SPDX-License-Identifier: Apache-2.0
"""The active node: its subscriptions, and the worker that answers what arrives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.runtime import Predictor
from depth_ros.answer import Frame, FrameAnswerer
from depth_ros.camera_info import CameraInfoStore
from depth_ros.drops import DropReason
from depth_ros.frame_statistics import FrameStatistics
from depth_ros.identity import Identity
from depth_ros.newest_frame import NewestFrameWorker
from depth_ros.outputs import Outputs
from depth_ros.process import StartableNode
from depth_ros.qos import input_events, input_qos
from depth_ros.scale import SparseDepthStore
from depth_ros.settings import Settings


class Serving:
    """Takes images from activation on until `stop`."""

    def __init__(
        self,
        node: StartableNode,
        *,
        settings: Settings,
        predictor: Predictor,
        outputs: Outputs,
        statistics: FrameStatistics,
        image_topic: str,
    ) -> None:
        """Subscribe, and start the worker."""
        self._node = node
        self._statistics = statistics
        infos = CameraInfoStore(node.resolve_topic_name('camera_info'))
        sparse: SparseDepthStore | None = None
        inputs: list[tuple[Any, str, Callable[[Any], None]]] = [
            (CameraInfo, infos.topic, infos.add),
        ]
        if settings.scale_source == 'sparse_depth':
            sparse = SparseDepthStore(node.resolve_topic_name('sparse_depth'))
            inputs.append((Image, sparse.topic, sparse.add))
        image = CompressedImage if settings.image_transport == 'compressed' else Image
        inputs.append((image, image_topic, self._on_image))
        self._answerer = FrameAnswerer(
            settings=settings,
            predictor=predictor,
            outputs=outputs,
            infos=infos,
            sparse=sparse,
            statistics=statistics,
            image_topic=image_topic,
            clock=node.get_clock(),
            log=node.get_logger().info,
            warn=node.get_logger().warning,
        )
        self._worker = NewestFrameWorker(self._answerer, name='mono_depth frames')
        qos = input_qos(settings.input_reliability, settings.queue_depth)
        self._inputs = [
            node.create_subscription(
                kind,
                topic,
                callback,
                qos,
                event_callbacks=input_events(topic, node.get_logger().warning),
            )
            for kind, topic, callback in inputs
        ]
        statistics.restart_clock()
        node.get_logger().info(f'subscribed to images on {image_topic}')

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

    def stop(self) -> None:
        """Unsubscribe, and finish the frame in work."""
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)
        self._inputs.clear()
        if self._worker.stop() is not None:
            self._statistics.dropped(DropReason.DEACTIVATED)

    def _on_image(self, message: Any) -> None:  # noqa: ANN401 Image or CompressedImage
        self._statistics.arrived()
        if self._worker.offer(Frame(message, time.monotonic())) is not None:
            self._statistics.dropped(DropReason.SUPERSEDED)
