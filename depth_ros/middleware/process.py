# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node as a process: start, spin, and an end without traceback on a signal."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any, Final

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.node import Node

from depth_core.errors import FAILED
from depth_core.names import PrintableFormatter
from depth_core.processes import INTERRUPTED, TERMINATED, end_at_the_latest
from depth_ros.middleware.executor import LifecycleExecutor
from depth_ros.middleware.guardian import Guardian, guarded
from depth_ros.middleware.session import parameter_errors, start_ros

SIGNAL_CHECK_S: Final = 0.1
"""How long a signal may wait while nothing else happens."""

END_S: Final = 8.0
"""How long the rest may take once all is done. Fast DDS hangs for ever, with the lock of the
interpreter, where it takes itself down while it hears of the endpoints of another process."""

_SHUTDOWNS: Final = (
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    Transition.TRANSITION_INACTIVE_SHUTDOWN,
    Transition.TRANSITION_ACTIVE_SHUTDOWN,
)


class StartableNode(LifecycleNodeMixin, Node, ABC):
    """A lifecycle node that may start itself, and whose transitions block nothing else.

    Configuring may take minutes. Meanwhile timers, parameters and the other lifecycle services
    are answered, and a shutdown interrupts it.
    """

    def __init__(self, name: str) -> None:
        """Make the node with its lifecycle services."""
        Node.__init__(self, name)
        self.services_group = ReentrantCallbackGroup()
        """Of the lifecycle services; `LifecycleExecutor` runs them apart from everything else."""
        LifecycleNodeMixin.__init__(self, callback_group=self.services_group)
        self.in_transition = threading.Lock()
        """Held while a transition runs."""
        self.guardian: Guardian | None = None
        """Of the process, while the node spins."""
        self._rclpy_change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state

    @property
    def state(self) -> str:
        """Name of the lifecycle state."""
        return str(self._state_machine.current_state[1])

    @property
    @abstractmethod
    def autostart(self) -> bool:
        """Whether to configure and activate at start."""

    @property
    @abstractmethod
    def configures_only(self) -> bool:
        """Whether the process configures at start and then ends."""

    @property
    @abstractmethod
    def left_behind(self) -> bool:
        """Whether a thread that cannot be stopped is still at work."""

    @property
    def standstill_limit_s(self) -> float:
        """How long Python may stand still before the process is ended, seconds; 0 = any time."""
        return 0.0

    def beat(self) -> None:
        """Tell the guardian that Python runs, and the limit from now on: in the spinning thread.

        Whatever changes the limit and sets native code to work in one callback does so between.
        """
        if self.guardian is not None:
            self.guardian.beat(self.standstill_limit_s)

    @abstractmethod
    def give_up(self) -> None:
        """Make a configuration that is going on fail soon, and any later one at once."""

    def start(self, ended: Callable[[], bool]) -> bool:
        """Configure, and activate unless the process `configures_only`; whether that succeeded.

        Args:
            ended: Whether the process is to end; then the node is not activated any more.
        """
        done = TransitionCallbackReturn.SUCCESS
        with self.in_transition:
            if self.trigger_configure() != done:
                return False
            return self.configures_only or ended() or self.trigger_activate() == done

    def _on_change_state(self, request: Any, response: Any) -> Any:  # noqa: ANN401 of ChangeState
        """Answer the service; rclpy itself would refuse a shutdown during another transition."""
        transition = request.transition
        shutdown = transition.label == 'shutdown' or (
            not transition.label and transition.id in _SHUTDOWNS
        )
        if shutdown and self.state == 'configuring':
            self.give_up()
            with self.in_transition:
                response.success = self.trigger_shutdown() == TransitionCallbackReturn.SUCCESS
            return response
        if not self.in_transition.acquire(blocking=False):
            return self._rclpy_change_state(request, response)  # it refuses, and logs why
        try:
            return self._rclpy_change_state(request, response)
        finally:
            self.in_transition.release()


class _NodeLog(logging.Handler):
    """Passes the log of depth_core on to the logger of the node."""

    def __init__(self, node: Node) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(PrintableFormatter())
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log `record` at the nearest of rclpy's levels."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


@contextlib.contextmanager
def _log_of_core(node: Node) -> Iterator[None]:
    """Let the log of depth_core be the node's."""
    handler = _NodeLog(node)
    core_log = logging.getLogger('depth_core')
    core_log.setLevel(logging.INFO)
    core_log.addHandler(handler)
    try:
        yield
    finally:
        core_log.removeHandler(handler)


def run_node(make: Callable[[], StartableNode]) -> None:
    """Run a node until SIGINT or SIGTERM, then shut it down in order and return.

    The signals only set a flag, so that a frame in work is finished, a configuration is given
    up, the lifecycle reaches `finalized` and the shared memory of Fast DDS is given back.

    Args:
        make: Makes the node.

    Raises:
        ConfigError: The ROS arguments or the parameters are wrong.
        KeyboardInterrupt: SIGINT came before a node that only configures had done so.
        SystemExit: A start failed and the node has logged why, or SIGTERM came as above.
    """
    ended: list[int] = []
    with guarded() as guardian:

        def end(number: int, _frame: FrameType | None) -> None:
            ended.append(number)
            guardian.noticed()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        node, started = _lived(make, ended, guardian)
    for number in (signal.SIGINT, signal.SIGTERM):
        # A terminal and launch both send Ctrl-C. Python at its end would let the second one kill.
        signal.signal(number, signal.SIG_IGN)
    status = _status(started=started, configures_only=node.configures_only, ended=ended)
    if node.left_behind:
        # Native code at work in that thread would meet what the end of Python takes down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        sys.exit(status)


def _lived(
    make: Callable[[], StartableNode], ended: list[int], guardian: Guardian
) -> tuple[StartableNode, bool]:
    """Make the node and let it work until the end; whether its start succeeded."""
    start_ros()
    try:
        with parameter_errors():
            node = make()
        try:
            with _log_of_core(node):
                started = _spin(node, ended, guardian)
                if node.state != 'finalized':
                    node.trigger_shutdown()
            only = node.configures_only
            end_at_the_latest(END_S, _status(started=started, configures_only=only, ended=ended))
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return node, started


def _spin(node: StartableNode, ended: list[int], guardian: Guardian) -> bool:
    """Start the node and handle its events until the end; False when its start failed."""
    node.guardian = guardian
    executor = LifecycleExecutor(node.services_group, before_each=node.beat)
    starting: Future[bool] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix='start') as starter:
        try:
            executor.add_node(node)
            if node.autostart or node.configures_only:
                starting = starter.submit(node.start, lambda: bool(ended))
            while not ended and not _is_over(node, starting):
                executor.spin_once(timeout_sec=SIGNAL_CHECK_S)
                node.beat()
        finally:
            node.guardian = None
            guardian.beat(0.0)
            node.give_up()
            executor.shutdown()  # else it may be collected later than rclpy: a traceback
    if starting is None or starting.result():
        return True
    return node.state == 'finalized' and not node.configures_only  # shut down while it started


def _is_over(node: StartableNode, starting: Future[bool] | None) -> bool:
    """Whether the process ends by itself: its start failed, or was all it had to do."""
    if starting is None or not starting.done():
        return False
    return node.configures_only or not starting.result()


def _status(*, started: bool, configures_only: bool, ended: list[int]) -> int:
    """Exit status; a signal is the usual end of a node, but not before its only work is done."""
    if started:
        return 0
    if not ended:
        return FAILED  # it could not be configured or activated
    if not configures_only:
        return 0
    return INTERRUPTED if ended[0] == signal.SIGINT else TERMINATED
