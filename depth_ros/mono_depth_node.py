# SPDX-License-Identifier: Apache-2.0
"""`mono_depth`: a lifecycle node that answers each camera image with depth.

    python -m depth_ros.mono_depth_node --ros-args -p model:=/path/to/model.onnx
        -r image:=/camera/image_raw -r camera_info:=/camera/camera_info     (one line)

The main thread takes messages, services and timers; one worker converts, predicts, converts and
publishes. While it works the newest frame waits and older ones are dropped and counted. Outputs
without a subscriber are not computed, and without any subscriber the network does not run.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError, DepthError, ModelError, run_command
from depth_core.runtime import Predictor
from depth_ros.answer import Frame, FrameAnswerer
from depth_ros.arguments import CommandParser
from depth_ros.camera_info import CameraInfoStore
from depth_ros.diagnostics import FrameStatistics, Identity, status_message
from depth_ros.drops import DropReason
from depth_ros.memory import keep_freed_memory
from depth_ros.newest_frame import NewestFrameWorker
from depth_ros.outputs import Outputs
from depth_ros.parameter_fields import When
from depth_ros.parameters import declare_parameters
from depth_ros.process import StartableNode, run_node
from depth_ros.qos import DIAGNOSTICS_QOS, input_events, input_qos
from depth_ros.settings import BY_NAME, settings_from

NODE_NAME: Final = 'mono_depth'
SILENCE_PERIODS: Final = 3.0
"""An active node warns when no image came for so many periods of the diagnostics."""


class MonoDepthNode(StartableNode):
    """The lifecycle node: configure loads, activate subscribes, deactivate and cleanup undo it."""

    def __init__(self) -> None:
        """Declare the parameters and begin to publish diagnostics.

        Raises:
            ConfigError: A given parameter is unknown or wrong.
        """
        super().__init__(NODE_NAME)
        given = {name: entry.value for name, entry in self._parameter_overrides.items()}
        self._settings = settings_from(given)
        declare_parameters(self, self._settings)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._identity = Identity()
        self._statistics = FrameStatistics()
        self._predictor: Predictor | None = None
        self._outputs: Outputs | None = None
        self._answerer: FrameAnswerer | None = None
        self._worker: NewestFrameWorker[Frame] | None = None
        self._inputs: list[Any] = []
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', DIAGNOSTICS_QOS)
        self.create_timer(self._settings.diagnostics_period_s, self._publish_diagnostics)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings.autostart

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the model and create the publishers."""
        return self._attempt('configure', self._open, super().on_configure, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the publishers and release the model."""
        return self._attempt('cleanup', self._undo, super().on_cleanup, state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera and start the worker."""
        return self._attempt('activate', self._begin, super().on_activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the frame in work."""
        return self._attempt('deactivate', self._end, super().on_deactivate, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo whatever was done, from any state."""
        return self._attempt('shutdown', self._undo, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo whatever was done; the node can be configured again."""
        return self._attempt('undoing a failed transition', self._undo, super().on_error, state)

    def _attempt(
        self,
        what: str,
        step: Callable[[], None],
        managed: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
    ) -> TransitionCallbackReturn:
        """Run `step`, then the transition of the publishers; rclpy would hide an exception."""
        try:
            step()
        except DepthError as error:
            self.get_logger().error(f'{what} failed: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception:  # noqa: BLE001 rclpy would hide it
            self.get_logger().error(
                f'{what} failed with an internal error:\n{traceback.format_exc()}'
            )
            return TransitionCallbackReturn.FAILURE
        return managed(state)

    def _open(self) -> None:
        settings = self._settings
        path = settings.model_file()
        predictor = Predictor.open(
            path,
            backend=settings.backends,
            precision=settings.precision,
            strict=settings.strict_backend,
            threads=settings.threads or None,
        )
        manifest = predictor.manifest
        if manifest.output.kind is not DepthKind.METRIC:
            message = (
                f'model {manifest.name} ({path}) gives {manifest.output.kind} depth and this node '
                'publishes metres; choose a metric model.'
            )
            raise ModelError(message)
        settings.check(manifest.output)
        self._predictor = predictor
        self._statistics = FrameStatistics()
        self._outputs = Outputs(self, reliability=settings.output_reliability)
        self._identity = Identity(
            model=manifest.name,
            model_file=str(path),
            weights_sha256=manifest.weights_sha256,
            backend=predictor.backend,
            precision=settings.precision,
            scale_state=str(manifest.output.kind),
            image_topic=self._image_topic(settings.image_transport),
            transport=settings.image_transport,
        )
        self.get_logger().info(
            f'model {manifest.name}, {manifest.input.width}x{manifest.input.height}, depth from '
            f'{manifest.output.min_depth:g} to {manifest.output.max_depth:g} m'
        )

    def _close(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None
        self._predictor = None
        self._identity = Identity()

    def _begin(self) -> None:
        if self._predictor is None or self._outputs is None:
            message = 'the node is not configured; configure it before activating it.'
            raise ConfigError(message)
        self._end()  # what an activation that failed halfway may have left
        settings = self._settings
        info_topic = self.resolve_topic_name('camera_info')
        infos = CameraInfoStore(info_topic)
        self._answerer = FrameAnswerer(
            settings=settings,
            predictor=self._predictor,
            outputs=self._outputs,
            infos=infos,
            statistics=self._statistics,
            image_topic=self._identity.image_topic,
            clock=self.get_clock(),
            warn=self.get_logger().warning,
        )
        self._worker = NewestFrameWorker(self._answerer, name='mono_depth frames')
        compressed = settings.image_transport == 'compressed'
        qos = input_qos(settings.input_reliability, settings.queue_depth)
        for kind, topic, callback in (
            (CameraInfo, info_topic, infos.add),
            (
                CompressedImage if compressed else Image,
                self._identity.image_topic,
                self._on_image,
            ),
        ):
            events = input_events(topic, self.get_logger().warning)
            self._inputs.append(
                self.create_subscription(kind, topic, callback, qos, event_callbacks=events)
            )
        self._statistics.restart_clock()
        self.get_logger().info(f'subscribed to images on {self._identity.image_topic}')

    def _end(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._worker is not None and self._worker.stop() is not None:
            self._statistics.dropped(DropReason.DEACTIVATED)
        self._worker = self._answerer = None

    def _undo(self) -> None:
        self._end()
        self._close()

    def _on_image(self, message: Any) -> None:  # noqa: ANN401 Image or CompressedImage
        self._statistics.arrived()
        frame = Frame(message, time.monotonic())
        if self._worker is not None and self._worker.offer(frame) is not None:
            self._statistics.dropped(DropReason.SUPERSEDED)

    def _image_topic(self, transport: str) -> str:
        """Topic of the images; remapping `image` remaps its transports too."""
        if transport == 'raw':
            return str(self.resolve_topic_name('image'))
        own = f'image/{transport}'
        resolved = str(self.resolve_topic_name(own))
        if resolved != self.resolve_topic_name(own, only_expand=True):
            return resolved
        return f'{self.resolve_topic_name("image")}/{transport}'

    def _on_set_parameters(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        for change in changes:
            entry = BY_NAME.get(change.name)
            if entry and entry.when is When.CONFIGURE and self.state != 'unconfigured':
                reason = (
                    f'parameter {entry.name} takes effect with configure and the node is '
                    f'{self.state}; clean it up first.'
                )
                return SetParametersResult(successful=False, reason=reason)
        try:
            self._settings = settings_from(
                {change.name: change.value for change in changes if change.name in BY_NAME},
                base=self._settings,
                model=self._predictor.manifest.output if self._predictor is not None else None,
            )
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._answerer is not None:
            self._answerer.settings = self._settings
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        topic = self._identity.image_topic
        wanted = self._outputs.wanted() if self._outputs is not None else ()
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = [
            status_message(
                self.get_fully_qualified_name().lstrip('/'),
                replace(self._identity, state=self.state),
                self._statistics.snapshot(),
                publishers=self.count_publishers(topic) if topic else 0,
                wanted=[output.topic for output in wanted],
                silence_s=SILENCE_PERIODS * self._settings.diagnostics_period_s,
            )
        ]
        self._diagnostics.publish(array)


def main() -> None:
    """Turn the images of a camera into depth (ROS 2 lifecycle node)."""
    parser = CommandParser(prog='depth_ros.mono_depth_node', description=main.__doc__ or '')
    parser.parse_command(None)
    keep_freed_memory()
    run_node(MonoDepthNode)


if __name__ == '__main__':
    run_command(main)
