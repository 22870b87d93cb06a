# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node as a process: start, spin, and an end without traceback on a signal."""

from __future__ import annotations

import logging
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import FrameType
from typing import Final

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from depth_ros.session import parameter_errors, start_ros

SIGNAL_CHECK_S: Final = 0.1
"""How long a signal may wait while nothing else happens."""

START_FAILED: Final = 2
"""Exit status when the node could not be made, configured or activated."""


class StartableNode(LifecycleNode, ABC):
    """A lifecycle node that may start itself."""

    @property
    def state(self) -> str:
        """Name of the lifecycle state."""
        return str(self._state_machine.current_state[1])

    @property
    @abstractmethod
    def autostart(self) -> bool:
        """Whether to configure and activate at start."""


class _NodeLog(logging.Handler):
    """Passes the log of depth_core on to the logger of the node."""

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(logging.INFO)
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


def run_node(make: Callable[[], StartableNode]) -> None:
    """Run a node until SIGINT or SIGTERM, then shut it down in order and return.

    The signals only set a flag, so that a frame in work is finished, the lifecycle reaches
    `finalized` and the shared memory of Fast DDS is given back.

    Args:
        make: Makes the node.

    Raises:
        ConfigError: The ROS arguments or the parameters are wrong.
        SystemExit: An autostart failed; the node has logged why.
    """
    ended: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    start_ros()
    try:
        with parameter_errors():
            node = make()
        handler = _NodeLog(node)
        core_log = logging.getLogger('depth_core')
        core_log.setLevel(logging.INFO)
        core_log.addHandler(handler)
        try:
            started = _autostart(node)
            executor = SingleThreadedExecutor()
            try:
                executor.add_node(node)
                while started and not ended:
                    executor.spin_once(timeout_sec=SIGNAL_CHECK_S)
            finally:
                executor.shutdown()  # else it may be collected later than rclpy: a traceback
            if node.state != 'finalized':
                node.trigger_shutdown()
        finally:
            core_log.removeHandler(handler)
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
    if not started:
        sys.exit(START_FAILED)


def _autostart(node: StartableNode) -> bool:
    if not node.autostart:
        return True
    done = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == done and node.trigger_activate() == done
