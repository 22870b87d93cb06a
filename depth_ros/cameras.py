# SPDX-License-Identifier: Apache-2.0
"""The cameras of one node: each has its topics, counts and diagnostics, all share one model.

One worker answers their frames. Those that wait at the same time are answered together where the
model takes several images; else the camera that was answered the longest ago comes first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from rclpy.clock import Clock, ROSClock
from rclpy.qos import QoSProfile

from depth_core.runtime import Predictor
from depth_ros.frames.answer import Frame
from depth_ros.frames.drops import DropReason
from depth_ros.frames.every import EveryFrameWorker
from depth_ros.frames.newest import NewestFrameWorker
from depth_ros.frames.outputs import OUTPUTS, RELATIVE_OUTPUTS, SCALE, Outputs
from depth_ros.frames.serving import Serving
from depth_ros.frames.statistics import REPEAT_S, FrameStatistics
from depth_ros.frames.together import AnswersTogether
from depth_ros.health.identity import Identity
from depth_ros.health.observed import Observed
from depth_ros.health.silence import IMAGE_TYPES
from depth_ros.health.watchdog import InferenceRecord
from depth_ros.middleware.gate import Gate, wake
from depth_ros.middleware.process import StartableNode
from depth_ros.middleware.qos import input_qos, output_qos, senders_of
from depth_ros.middleware.qos_overrides import Profiles, Role
from depth_ros.middleware.topics import CameraTopics
from depth_ros.settings import Settings

Task: TypeAlias = tuple[Serving, Frame]
Worker: TypeAlias = NewestFrameWorker[Task] | EveryFrameWorker[Task]

WORKER: Final = 'mono_depth frames'
"""Name of its thread."""

STOP_S: Final = 1.0
"""How long the frames in work may take once their answers are not wanted any more."""

SILENCE_PERIODS: Final = 3.0
"""An active camera warns when no image came for so many periods of the diagnostics."""


class Camera:
    """One camera of the node, in whatever state that is."""

    def __init__(self, node: StartableNode, name: str) -> None:
        """Name its topics.

        Args:
            node: The node.
            name: Its namespace; empty for the only one.
        """
        self.topics = CameraTopics(node, name)
        self.statistics = FrameStatistics()
        self.outputs: Outputs | None = None
        self.serving: Serving | None = None
        self._node = node
        self._image_topic = ''
        self._wanted_since_s: float | None = None
        self._silence_logged_s = -REPEAT_S

    @property
    def status_name(self) -> str:
        """Name of its status in the diagnostics."""
        name = self._node.get_fully_qualified_name().lstrip('/')
        return '/'.join(filter(None, (name, self.topics.camera.strip('/'))))

    def qos_topics(self, settings: Settings) -> Iterator[tuple[str, Role, QoSProfile]]:
        """Its resolved topics, what the node is there, and the usual QoS."""
        taken = input_qos(settings.input_reliability, settings.queue_depth)
        offered = output_qos(settings.output_reliability)
        for transport in IMAGE_TYPES:
            yield self.topics.resolved('image', transport), 'subscription', taken
        for name in ('camera_info', 'sparse_depth', 'lidar_points'):
            yield self.topics.resolved(name), 'subscription', taken
        resolve = self._node.resolve_topic_name
        for output in (*OUTPUTS, *RELATIVE_OUTPUTS):
            yield resolve(output.name_for(self.topics)), 'publisher', offered
        yield self.topics.resolved(SCALE), 'publisher', offered

    def configure(self, settings: Settings, profile: Profiles) -> None:
        """Begin to count, and unless only an engine is built create the publishers."""
        self.statistics = FrameStatistics()
        self._image_topic = self.topics.resolved('image', settings.image_transport)
        if not settings.build_only:
            self.outputs = Outputs(
                self._node,
                camera=self.topics.camera,
                reliability=settings.output_reliability,
                scale=settings.scale_source != 'none',
                relative=settings.publish_relative,
                profile=profile,
            )

    def close(self) -> None:
        """Undo `configure`."""
        if self.outputs is not None:
            self.outputs.destroy()
        self.outputs = None
        self._image_topic = ''

    def observed(self, identity: Identity, settings: Settings, *, full: bool) -> Observed:
        """What is to be reported of it.

        Args:
            identity: What is running, for all cameras.
            settings: The parameters.
            full: Whether images are left with the middleware for now.
        """
        now_s = time.monotonic()
        outputs = self.outputs.wanted() if self.outputs is not None else ()
        wanted = [output.topic for output in outputs] if self.serving is not None else []
        if not wanted:
            self._wanted_since_s = None
        elif self._wanted_since_s is None:
            self._wanted_since_s = now_s
        identity = replace(identity, image_topic=self._image_topic)
        if self.serving is not None:
            identity = self.serving.described(identity)
        return Observed(
            identity=identity,
            counts=self.statistics.snapshot(),
            health=settings.health,
            image_name=self.topics.name('image'),
            senders=senders_of(self._node, self._image_topic) if self._image_topic else (),
            reliability=settings.input_reliability,
            wanted=wanted,
            wanted_s=0.0 if self._wanted_since_s is None else now_s - self._wanted_since_s,
            silence_s=math.inf if full else SILENCE_PERIODS * settings.diagnostics_period_s,
            clock_stands=_stands(self._node.get_clock()),
        )

    def log_silence(self, silence: str) -> None:
        """Warn that no image comes, now and then."""
        now_s = time.monotonic()
        if silence and now_s - self._silence_logged_s >= REPEAT_S:
            self._silence_logged_s = now_s
            self._node.get_logger().warning(silence)


class ActiveCameras:
    """All cameras from activation on until `stop`: one model and one worker answer them."""

    def __init__(
        self,
        node: StartableNode,
        cameras: Sequence[Camera],
        *,
        settings: Settings,
        predictor: Predictor,
        profile: Profiles,
    ) -> None:
        """Start the worker, and subscribe.

        Args:
            node: The node.
            cameras: Its cameras, configured.
            settings: The parameters.
            predictor: The model.
            profile: Gives the QoS of a resolved topic, from the usual one.
        """
        self._cameras = tuple(cameras)
        self._left_behind: list[Worker] = []
        self._servings: list[Serving] = []
        for camera in cameras:
            if camera.outputs is not None:
                camera.serving = Serving(
                    camera.topics,
                    node,
                    settings=settings,
                    predictor=predictor,
                    outputs=camera.outputs,
                    statistics=camera.statistics,
                )
                self._servings.append(camera.serving)
        self._node = node
        self._begin(predictor, settings)
        for serving in self._servings:
            group = None
            if settings.policy == 'every':
                group = Gate(is_open=partial(self._has_room, serving.topics.camera))
            serving.subscribe(partial(self._take, serving), profile, group=group)

    @property
    def record(self) -> InferenceRecord:
        """What the backend does."""
        return self._answers.record

    def is_full(self, camera: Camera) -> bool:
        """Whether images of a camera are left with the middleware for now."""
        return not self._has_room(camera.topics.camera)

    @property
    def left_behind(self) -> int:
        """How many threads of former workers hang."""
        return sum(worker.is_alive for worker in self._left_behind)

    def trouble(self, settings: Settings) -> str:
        """Why the backend is to be opened again; empty when all is well."""
        if not self._worker.is_alive:
            return 'the thread that answers frames has ended; the log says why'
        return self.record.trouble(settings.health.inference_limit_s)

    def change(self, settings: Settings) -> None:
        """Let the parameters hold for the next frames."""
        for serving in self._servings:
            serving.settings = settings

    def reset_scale(self) -> bool:
        """Forget the scales found so far; whether there is a source of any."""
        done = [serving.reset_scale() for serving in self._servings]
        return any(done)

    def take_latched(self) -> None:
        """Subscribe to each camera_info that was published once and kept."""
        for serving in self._servings:
            serving.take_latched()

    def pause(self) -> None:
        """Answer nothing until `resume`; a thread that hangs is left behind."""
        for serving in self._servings:
            serving.retire()
        self._end_worker(0.0, DropReason.REOPENING)

    def resume(self, predictor: Predictor, settings: Settings) -> None:
        """Answer the next frames with another model; the former ones go with their threads."""
        self._left_behind = [worker for worker in self._left_behind if worker.is_alive]
        for serving in self._servings:
            serving.use(predictor, settings)
        self._begin(predictor, settings)

    def stop(self) -> None:
        """Unsubscribe, and finish the frames in work, unless that takes longer than `STOP_S`."""
        for serving in self._servings:
            serving.unsubscribe()
        self._end_worker(STOP_S, DropReason.DEACTIVATED)
        for serving in self._servings:
            serving.retire()
        for camera in self._cameras:
            camera.serving = None

    def _begin(self, predictor: Predictor, settings: Settings) -> None:
        self._answers = answers = AnswersTogether(predictor)

        def work(tasks: Sequence[Task]) -> None:
            answers([serving.answer(frame) for serving, frame in tasks])

        self._worker: Worker
        if settings.policy == 'every':
            self._worker = EveryFrameWorker(
                work, name=WORKER, depth=settings.queue_depth, on_room=partial(wake, self._node)
            )
        else:
            self._worker = NewestFrameWorker(
                work,
                name=WORKER,
                most=min(
                    predictor.manifest.input.batch or len(self._servings), len(self._servings)
                ),
                wait_s=settings.cameras.batch_window_ms * 1e-3,
            )

    def _has_room(self, camera: str) -> bool:
        return not self._worker.is_full(camera)

    def _take(self, serving: Serving, frame: Frame) -> None:
        lost = self._worker.offer((serving, frame), serving.topics.camera)
        if lost is not None:
            lost[0].dropped(DropReason.SUPERSEDED)

    def _end_worker(self, patience_s: float, reason: DropReason) -> None:
        for serving, _ in self._worker.stop(patience_s):
            serving.dropped(reason)
        self._left_behind.append(self._worker)


def _stands(clock: Clock) -> bool:
    """Whether the node takes its time from /clock, and none came."""
    return (
        isinstance(clock, ROSClock) and clock.ros_time_is_active and clock.now().nanoseconds == 0
    )
