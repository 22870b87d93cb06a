# SPDX-License-Identifier: Apache-2.0
"""`mono_depth`: a lifecycle node that answers each camera image with depth.

    python -m depth_ros.mono_depth_node --ros-args -p model:=/path/to/model.onnx
        -r image:=/camera/image_raw -r camera_info:=/camera/camera_info     (one line)

A public graph takes `-p manifest:=depth_anything_3_metric`, or another preset.

The executor takes messages, services and timers; one worker converts, predicts, converts and
publishes. While it works the newest frame waits and older ones are dropped and counted. Outputs
without a subscriber are not computed, and without any subscriber the network does not run.
Opening the model, which may build an engine for minutes, blocks nothing.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from depth_core.errors import ConfigError, DepthError, run_command
from depth_core.runtime import Predictor
from depth_core.runtime.engine import BuildCancelledError
from depth_ros.arguments import CommandParser
from depth_ros.diagnostics import status_message
from depth_ros.frame_statistics import FrameStatistics
from depth_ros.identity import Identity
from depth_ros.memory import keep_freed_memory
from depth_ros.opening import Opening
from depth_ros.outputs import Outputs
from depth_ros.parameter_fields import When
from depth_ros.parameters import declare_parameters
from depth_ros.process import StartableNode, run_node
from depth_ros.qos import DIAGNOSTICS_QOS
from depth_ros.served_model import described, identity_of, open_model
from depth_ros.serving import Serving
from depth_ros.settings import BY_NAME, settings_from
from depth_ros.topics import transport_topic

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
        self._ending = threading.Event()
        self._changing = threading.RLock()
        """Held while outputs, inputs and identity change; never while a model is opened."""
        self._opening: Opening[Predictor] | None = None
        self._predictor: Predictor | None = None
        self._outputs: Outputs | None = None
        self._serving: Serving | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', DIAGNOSTICS_QOS)
        self.create_timer(self._settings.diagnostics_period_s, self._publish_diagnostics)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings.autostart

    @property
    def configures_only(self) -> bool:
        """Whether an engine is to be built or checked, and that is all."""
        return self._settings.build_only

    @property
    def left_behind(self) -> bool:
        """Whether a model is still being opened that nobody waits for."""
        return self._opening is not None and self._opening.is_running

    def give_up(self) -> None:
        """Cancel the opening of a model; the node ends."""
        self._ending.set()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the model and create the publishers."""
        return self._attempt('configure', self._configure, super().on_configure, state)

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
        except BuildCancelledError as error:
            self.get_logger().info(f'{what} {error}')
        except DepthError as error:
            self._fail(f'{what} failed: {error}')
        except Exception:  # noqa: BLE001 rclpy would hide it
            self._fail(f'{what} failed with an internal error:\n{traceback.format_exc()}')
        else:
            return managed(state)
        return TransitionCallbackReturn.FAILURE

    def _fail(self, failure: str) -> None:
        self._identity = replace(self._identity, failure=failure)
        self.get_logger().error(failure)

    def _configure(self) -> None:
        settings = self._settings
        path = settings.model_file()
        self._identity = Identity(model_file=str(path))
        self._opening = Opening(
            lambda options: open_model(path, settings, options),
            settings.engine.options,
            cancelled=self._ending,
        )
        log = self.get_logger().info
        try:
            predictor = self._opening.model(lambda text: log(f'{path}: {text}'))
        finally:
            if not self._opening.is_running:
                self._opening = None
        with self._changing:
            self._settings.check(predictor.manifest)  # live ones may have changed
            self._statistics = FrameStatistics()
            topic = transport_topic(self, 'image', settings.image_transport)
            self._identity = identity_of(predictor, settings, topic)
            if settings.build_only and predictor.engine is not None:
                predictor.engine.check_kept()
            if not settings.build_only:
                self._outputs = Outputs(self, reliability=settings.output_reliability)
                self._predictor = predictor
        for line in described(self._identity, predictor.manifest):
            log(line)

    def _close(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None
        self._predictor = None
        self._identity = Identity()

    def _begin(self) -> None:
        with self._changing:
            if self._predictor is None or self._outputs is None:
                message = 'the node is not configured; configure it before activating it.'
                raise ConfigError(message)
            self._end()  # what an activation that failed halfway may have left
            self._serving = Serving(
                self,
                settings=self._settings,
                predictor=self._predictor,
                outputs=self._outputs,
                statistics=self._statistics,
                image_topic=self._identity.image_topic,
            )

    def _end(self) -> None:
        with self._changing:
            if self._serving is not None:
                self._serving.stop()
            self._serving = None

    def _undo(self) -> None:
        with self._changing:
            self._end()
            self._close()

    def _on_set_parameters(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        for change in changes:
            entry = BY_NAME.get(change.name)
            if entry and entry.when is When.CONFIGURE and self.state != 'unconfigured':
                reason = (
                    f'parameter {entry.name} takes effect with configure and the node is '
                    f'{self.state}; clean it up first.'
                )
                return SetParametersResult(successful=False, reason=reason)
        with self._changing:
            try:
                self._settings = settings_from(
                    {change.name: change.value for change in changes if change.name in BY_NAME},
                    base=self._settings,
                    model=self._predictor.manifest if self._predictor else None,
                )
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if self._serving is not None:
                self._serving.settings = self._settings
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        with self._changing:
            array = DiagnosticArray(status=[self._status()])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _status(self) -> DiagnosticStatus:
        topic = self._identity.image_topic
        wanted = self._outputs.wanted() if self._outputs is not None else ()
        opening = self._opening if self.state == 'configuring' else None
        progress = opening.progress if opening is not None and opening.is_running else None
        identity = replace(self._identity, state=self.state, progress=progress)
        if self._serving is not None:
            identity = self._serving.described(identity)
        return status_message(
            self.get_fully_qualified_name().lstrip('/'),
            identity,
            self._statistics.snapshot(),
            publishers=self.count_publishers(topic) if topic else 0,
            wanted=[output.topic for output in wanted],
            silence_s=SILENCE_PERIODS * self._settings.diagnostics_period_s,
        )


def main() -> None:
    """Turn the images of a camera into depth (ROS 2 lifecycle node)."""
    parser = CommandParser(prog='depth_ros.mono_depth_node', description=main.__doc__ or '')
    parser.parse_command(None)
    keep_freed_memory()
    run_node(MonoDepthNode)


if __name__ == '__main__':
    run_command(main)
