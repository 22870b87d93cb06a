# SPDX-License-Identifier: Apache-2.0
"""`mono_depth`: a lifecycle node that answers each camera image with depth.

    python -m depth_ros.mono_depth_node --ros-args -p model:=/path/to/model.onnx
        -r image:=/camera/image_raw -r camera_info:=/camera/camera_info     (one line)

A public graph takes `-p manifest:=depth_anything_3_metric`, or another preset.

The executor takes messages, services and timers; one worker converts, predicts, converts and
publishes. While it works the newest frame of each camera waits and older ones are dropped and
counted. The parameter cameras has several cameras served, by the one model (`cameras.py`). Outputs
without a subscriber are not computed, and without any subscriber the network does not run.
Opening the model, which may build an engine for minutes, blocks nothing.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from depth_core.errors import ConfigError, DepthError, run_command
from depth_core.names import printable
from depth_core.processes import keep_freed_memory
from depth_core.runtime import Predictor
from depth_core.runtime.engine import BuildCancelledError
from depth_ros.arguments import CommandParser
from depth_ros.cameras import ActiveCameras, Camera
from depth_ros.health.diagnostics import status_messages
from depth_ros.health.identity import Identity, namesakes_text
from depth_ros.health.watchdog import CHECK_S, MOST_LEFT_BEHIND, Watchdog, first_line
from depth_ros.middleware.process import StartableNode, run_node
from depth_ros.middleware.qos import DIAGNOSTICS_QOS, input_qos
from depth_ros.middleware.qos_overrides import QosOverrides, Role
from depth_ros.model.opening import Opening
from depth_ros.model.served_model import backends_left, described, identity_of, open_model
from depth_ros.options.fields import When
from depth_ros.parameters import declare_parameters
from depth_ros.scale.inputs import TRANSFORM_QOS, check_scale_inputs
from depth_ros.services import create_reset_services
from depth_ros.settings import BY_NAME, settings_from

NODE_NAME: Final = 'mono_depth'
DIAGNOSTICS: Final = '/diagnostics'
STANDSTILL: Final = 3.0
"""Times inference_limit_s: after so long without a turn of Python the process is ended."""


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
        self._cameras = [Camera(self, name) for name in self._settings.cameras.names]
        self._qos = QosOverrides(given)
        topics = {(topic, role): usual for topic, role, usual in self._topics()}
        self._qos.check(topics)
        for (topic, role), usual in topics.items():  # cameras may share one
            self._qos.declare(self, topic, role, usual)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._identity = Identity()
        self._namesakes = 0
        self._ending = threading.Event()
        self._changing = threading.RLock()
        """Held while outputs, inputs and identity change; never while a model is opened."""
        self._opening: Opening[Predictor] | None = None
        self._predictor: Predictor | None = None
        self._active: ActiveCameras | None = None
        self._watchdog: Watchdog | None = None
        self._ended: list[ActiveCameras | Watchdog] = []
        """Former ones with a thread that hangs, or still opens a backend."""
        create_reset_services(self, statistics=self._reset_statistics, scale=self._reset_scale)
        topic = self.resolve_topic_name(DIAGNOSTICS)
        qos = self._qos.profile(topic, 'publisher', DIAGNOSTICS_QOS)
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS, qos)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on without /clock
        period_s = self._settings.diagnostics_period_s
        self.create_timer(period_s, self._publish_diagnostics, clock=steady)
        self.create_timer(CHECK_S, self._watch, clock=steady)
        if not (self.autostart or self.configures_only):
            self.get_logger().info(
                'unconfigured, as autostart is false: configure and activate the node (ros2 '
                f'lifecycle set {self.get_fully_qualified_name()} configure)'
            )

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
        """Whether a model is still being opened or at work that nobody waits for."""
        opening = self._opening is not None and self._opening.is_running
        reopening = self._watchdog is not None and self._watchdog.left_behind
        return opening or reopening or any(former.left_behind for former in self._ended)

    @property
    def standstill_limit_s(self) -> float:
        """How long Python may stand still before the process is ended, seconds; 0 = any time.

        Only while frames are answered: loading a library holds the lock of the interpreter too.
        """
        watchdog = self._watchdog
        if self._active is None or watchdog is None or watchdog.is_busy:
            return 0.0
        return STANDSTILL * self._settings.health.inference_limit_s

    def _topics(self) -> Iterator[tuple[str, Role, QoSProfile]]:
        """The resolved topics, what the node is there, and the usual QoS."""
        settings = self._settings
        for camera in self._cameras:
            yield from camera.qos_topics(settings)
        taken = input_qos(settings.input_reliability, settings.queue_depth)
        yield self.resolve_topic_name('odometry'), 'subscription', taken
        for topic, usual in TRANSFORM_QOS.items():
            yield self.resolve_topic_name(topic), 'subscription', usual
        yield self.resolve_topic_name(DIAGNOSTICS), 'publisher', DIAGNOSTICS_QOS

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
        except Exception as error:  # noqa: BLE001 rclpy would hide it
            self._fail(f'{what} failed with an internal error: {first_line(error)}')
            self.get_logger().error(traceback.format_exc())
        else:
            self._identity = replace(self._identity, failure='')
            return managed(state)
        return TransitionCallbackReturn.FAILURE

    def _fail(self, failure: str) -> None:
        self._identity = replace(self._identity, failure=failure)
        self.get_logger().error(failure)

    def _configure(self) -> None:
        settings = self._settings
        check_scale_inputs(settings)
        path = settings.model_file()
        self._identity = Identity(model_file=str(path))
        self._opening = Opening(
            lambda options: open_model(path, settings, options),
            settings.engine.options,
            cancelled=self._ending,
        )
        log = self.get_logger().info
        try:
            predictor = self._opening.model(lambda text: log(printable(f'{path}: {text}')))
        finally:
            if not self._opening.is_running:
                self._opening = None
        with self._changing:
            self._settings.check(predictor.manifest)  # live ones may have changed
            self._identity = identity_of(predictor, settings)
            if settings.build_only and predictor.engine is not None:
                predictor.engine.check_kept()
            for camera in self._cameras:
                camera.configure(settings, self._qos.profile)
            if not settings.build_only:
                self._predictor = predictor
                self._watchdog = Watchdog(
                    lambda name, options: open_model(path, settings.on_backend(name), options),
                    settings.engine.options,
                    backend=predictor.backend,
                    chain=backends_left(path, predictor, settings),
                    cancelled=self._ending,
                    log=log,
                    complain=self.get_logger().error,
                )
        for line in described(self._identity, predictor.manifest):
            log(line)

    def _close(self) -> None:
        for camera in self._cameras:
            camera.close()
        if self._watchdog is not None and self._watchdog.left_behind:
            self._ended.append(self._watchdog)
        self._predictor = self._watchdog = None
        self._identity = Identity()

    def _begin(self) -> None:
        with self._changing:
            if self._predictor is None:
                message = 'the node is not configured; configure it before activating it.'
                raise ConfigError(message)
            self._end()  # what an activation that failed halfway may have left
            self._active = ActiveCameras(
                self,
                self._cameras,
                settings=self._settings,
                predictor=self._predictor,
                profile=self._qos.profile,
            )
            if self._watchdog is not None and self._watchdog.is_busy:
                self._active.pause()  # the backend is as bad as when the node was deactivated

    def _end(self) -> None:
        with self._changing:
            if self._active is not None:
                self._active.stop()
                former = (*self._ended, self._active)
                self._ended = [ended for ended in former if ended.left_behind]
            self._active = None

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
            if self._active is not None:
                self._active.change(self._settings)
        return SetParametersResult(successful=True)

    def _watch(self) -> None:
        """Have the backend opened again where it hangs or fails, and use it once it is open."""
        with self._changing:
            active, watchdog = self._active, self._watchdog
            if active is None or watchdog is None or self._ending.is_set():
                return
            active.take_latched()
            if not watchdog.is_busy:
                watchdog.steady(active.record.answered)
                if trouble := active.trouble(self._settings):
                    active.pause()
                    watchdog.report(trouble)
            elif not self._given_up and (predictor := watchdog.opened()) is not None:
                self._predictor = predictor
                self._identity = identity_of(predictor, self._settings)
                self.beat()  # the first inference may hang
                active.resume(predictor, self._settings)

    @property
    def _given_up(self) -> bool:
        """Whether so many threads hang that no other is begun."""
        return self._active is not None and self._active.left_behind >= MOST_LEFT_BEHIND

    def _reset_statistics(self) -> str:
        for camera in self._cameras:
            camera.statistics.reset()
        return 'counts, rates and latencies begin anew'

    def _reset_scale(self) -> str:
        with self._changing:
            done = self._active is not None and self._active.reset_scale()
        return 'the scale found so far is forgotten' if done else ''

    def _publish_diagnostics(self) -> None:
        array = DiagnosticArray()
        self._count_namesakes()
        with self._changing:
            identity = self._running()
            for camera in self._cameras:
                full = self._active is not None and self._active.is_full(camera)
                seen = camera.observed(identity, self._settings, full=full)
                array.status += status_messages(camera.status_name, seen)
                camera.log_silence(seen.silence)
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _count_namesakes(self) -> None:
        """Look for other nodes of the same full name; the log says when one comes."""
        own = self.get_name(), self.get_namespace()
        count = max(0, self.get_node_names_and_namespaces().count(own) - 1)
        if count > self._namesakes:
            self.get_logger().warning(namesakes_text(count))
        self._namesakes = count

    def _running(self) -> Identity:
        """What is running, for all cameras."""
        opening = self._opening if self.state == 'configuring' else None
        progress = opening.progress if opening is not None and opening.is_running else None
        identity = replace(
            self._identity, state=self.state, progress=progress, namesakes=self._namesakes
        )
        if self._watchdog is not None:
            record = self._active.record if self._active is not None else None
            watch = self._watchdog.state(record, given_up=self._given_up)
            identity = replace(identity, watch=watch)
        return identity


def main() -> None:
    """Turn the images of a camera into depth (ROS 2 lifecycle node)."""
    parser = CommandParser(prog='depth_ros.mono_depth_node', description=main.__doc__ or '')
    parser.parse_command(None)
    keep_freed_memory()
    run_node(MonoDepthNode)


if __name__ == '__main__':
    run_command(main)
