# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that take messages only while there is room for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from depth_ros.middleware.executor import InvalidHandle


class Gate(CallbackGroup):
    """A group of callbacks that run only while it is open; meanwhile messages stay where they are.

    The thread of the executor never waits here: timers, services and the callbacks of other
    groups go on.
    """

    def __init__(self, *, is_open: Callable[[], bool]) -> None:
        """Guard callbacks.

        Args:
            is_open: Whether they may run now; called by the executor, so it must not wait. Where
                it becomes true without a callback of the node, `wake` has to follow.
        """
        super().__init__()
        self._is_open = is_open

    def can_execute(self, entity: object) -> bool:  # noqa: ARG002 the same for all of the group
        """Whether callbacks may run now."""
        return self._is_open()

    def beginning_execution(self, entity: object) -> bool:  # noqa: ARG002 as above
        """Whether a callback may begin now."""
        return self._is_open()

    def ending_execution(self, entity: object) -> None:
        """Nothing: they exclude nobody."""


def wake(node: Node) -> None:
    """Have the executor of a node look again which callbacks may run."""
    executor = node.executor
    if executor is not None:
        with contextlib.suppress(InvalidHandle):  # it ends in another thread
            executor.wake()
