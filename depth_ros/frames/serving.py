# SPDX-License-Identifier: Apache-2.0
"""The active node: its subscriptions, and the worker that answers what arrives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.runtime import Predictor
from depth_ros.frames.answer import Frame, FrameAnswerer
from depth_ros.frames.drops import DropReason
from depth_ros.frames.every import EveryFrameWorker
from depth_ros.frames.newest import NewestFrameWorker
from depth_ros.frames.outputs import Outputs
from depth_ros.frames.statistics import FrameStatistics
from depth_ros.health.identity import Identity
from depth_ros.health.watchdog import InferenceRecord
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.messages.conversions import nanoseconds
from depth_ros.middleware.process import StartableNode
from depth_ros.middleware.qos import (
    LATCHED_QOS,
    every_qos,
    input_events,
    input_qos,
    keeps_messages,
    no_events,
)
from depth_ros.middleware.qos_overrides import Profiles
from depth_ros.scale.odometry import OdometryStore
from depth_ros.scale.sparse_depth import SparseDepthStore
from depth_ros.settings import Settings

Worker: TypeAlias = NewestFrameWorker[Frame] | EveryFrameWorker[Frame]

WORKER: Final = 'mono_depth frames'
"""Name of its thread."""

STOP_S: Final = 1.0
"""How long the frame in work may take once its answer is not wanted any more."""


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
        profile: Profiles,
    ) -> None:
        """Subscribe, and start the worker.

        Args:
            node: The node.
            settings: Its parameters.
            predictor: The model.
            outputs: What is published.
            statistics: Where frames are counted.
            image_topic: Resolved topic of the images.
            profile: Gives the QoS of a resolved topic, from the usual one.
        """
        self._node = node
        self._outputs = outputs
        self._statistics = statistics
        self._image_topic = image_topic
        self._infos = CameraInfoStore(node.resolve_topic_name('camera_info'))
        self._sparse: SparseDepthStore | None = None
        inputs: list[tuple[Any, str, Callable[[Any], None]]] = [
            (CameraInfo, self._infos.topic, self._infos.add),
        ]
        if settings.scale_source == 'sparse_depth':
            self._sparse = SparseDepthStore(node.resolve_topic_name('sparse_depth'))
            inputs.append((Image, self._sparse.topic, self._sparse.add))
        self._odometry: OdometryStore | None = None
        if settings.scale_source == 'speed':
            self._odometry = OdometryStore(node.resolve_topic_name('odometry'))
            inputs.append((Odometry, self._odometry.topic, self._odometry.add))
        image = CompressedImage if settings.image_transport == 'compressed' else Image
        inputs.append((image, image_topic, self._on_image))
        self._left_behind: list[Worker] = []
        self._begin(predictor, settings)
        qos = input_qos(settings.input_reliability, settings.queue_depth)
        if settings.policy == 'every':
            qos = every_qos()
        self._inputs = [
            node.create_subscription(
                kind,
                topic,
                callback,
                profile(topic, 'subscription', qos),
                event_callbacks=input_events(topic, node.get_logger().warning),
            )
            for kind, topic, callback in inputs
        ]
        self._takes_latched = False
        statistics.restart_clock()
        node.get_logger().info(f'subscribed to images on {image_topic}')

    @property
    def settings(self) -> Settings:
        """The parameters that hold for the next frame."""
        return self._answerer.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._answerer.settings = settings

    @property
    def record(self) -> InferenceRecord:
        """What the backend does."""
        return self._answerer.record

    @property
    def left_behind(self) -> int:
        """How many threads of former workers hang."""
        return sum(worker.is_alive for worker in self._left_behind)

    @property
    def trouble(self) -> str:
        """Why the backend is to be opened again; empty when all is well."""
        if not self._worker.is_alive:
            return 'the thread that answers frames has ended; the log says why'
        return self.record.trouble(self.settings.health.inference_limit_s)

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
        self._inputs.append(
            self._node.create_subscription(
                CameraInfo, topic, self._infos.add, LATCHED_QOS, event_callbacks=no_events()
            )
        )

    def pause(self) -> None:
        """Answer nothing until `resume`; a thread that hangs is left behind."""
        self._answerer.retire()
        self._worker.stop(0.0)
        self._left_behind.append(self._worker)

    def resume(self, predictor: Predictor) -> None:
        """Answer the next frames with another model."""
        self._begin(predictor, self.settings)

    def stop(self) -> None:
        """Unsubscribe, and finish the frame in work, unless that takes longer than `STOP_S`."""
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)
        self._inputs.clear()
        left = self._worker.stop(STOP_S)
        for _ in left if isinstance(left, list) else filter(None, (left,)):
            self._statistics.dropped(DropReason.DEACTIVATED)
        self._answerer.retire()
        self._left_behind.append(self._worker)

    def _begin(self, predictor: Predictor, settings: Settings) -> None:
        self._answerer = FrameAnswerer(
            settings=settings,
            predictor=predictor,
            outputs=self._outputs,
            infos=self._infos,
            sparse=self._sparse,
            odometry=self._odometry,
            statistics=self._statistics,
            image_topic=self._image_topic,
            clock=self._node.get_clock(),
            log=self._node.get_logger().info,
            warn=self._node.get_logger().warning,
        )
        self._worker: Worker
        if settings.policy == 'every':
            depth = settings.queue_depth
            self._worker = EveryFrameWorker(self._answerer, name=WORKER, depth=depth)
        else:
            self._worker = NewestFrameWorker(self._answerer, name=WORKER)

    def _on_image(self, message: Any) -> None:  # noqa: ANN401 Image or CompressedImage
        now_ns, header = self._node.get_clock().now().nanoseconds, message.header
        self._statistics.arrived(
            stamp_age_s=(now_ns - nanoseconds(header.stamp)) * 1e-9, frame_id=header.frame_id
        )
        if self._worker.offer(Frame(message, time.monotonic())) is not None:
            stopped = self._answerer.is_retired
            reason = DropReason.REOPENING if stopped else DropReason.SUPERSEDED
            self._statistics.dropped(reason)
