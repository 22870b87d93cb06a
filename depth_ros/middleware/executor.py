# SPDX-License-Identifier: Apache-2.0
"""An executor whose thread goes on while a transition of the lifecycle takes its time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from rclpy.callback_groups import CallbackGroup
from rclpy.executors import Executor, ShutdownException, TimeoutException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.task import Task

InvalidHandle: Final[type[Exception]] = rclpy_implementation.InvalidHandle

SERVICE_THREADS: Final = 3
"""For a transition, a shutdown that waits for its end, and questions meanwhile."""


class LifecycleExecutor(Executor):
    """Runs callbacks in the thread that spins, except those of one group: they get threads.

    The callbacks of images then cost and behave as in an executor of one thread.
    """

    def __init__(self, services: CallbackGroup, *, before_each: Callable[[], object]) -> None:
        """Start no thread yet.

        Args:
            services: The group of the lifecycle services.
            before_each: Called before each callback, in the thread that spins.
        """
        super().__init__()
        self._services = services
        self._before_each = before_each
        self._threads = ThreadPoolExecutor(SERVICE_THREADS, thread_name_prefix='lifecycle')
        self._aside: list[Task[Any]] = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback, and run it or have it run.

        Raises:
            Exception: What the callback raised, or one that had been given to a thread.
        """
        for task in [task for task in self._aside if task.done()]:
            self._aside.remove(task)
            task.result()
        try:
            task, entity, _ = self.wait_for_ready_callbacks(timeout_sec)
        except (ShutdownException, TimeoutException):
            return
        except InvalidHandle:  # a transition in another thread has just destroyed a topic
            return
        self._before_each()
        if getattr(entity, 'callback_group', None) is self._services:
            self._threads.submit(task)
            self._aside.append(task)
        else:
            task()
            task.result()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Take no more callbacks, and wait for those in work."""
        done = bool(super().shutdown(timeout_sec))
        self._threads.shutdown()
        return done
