# SPDX-License-Identifier: Apache-2.0
"""The life of a command's ROS node: up, used, and gone without traces however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException, ROSInterruptException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from depth_core.errors import ConfigError
from depth_core.processes import terminated_cleanly, uninterrupted


@contextlib.contextmanager
def ros_node(
    name: str, *, namespace: str = '', arguments: Sequence[str] | None = None
) -> Iterator[Node]:
    """Give a node that is destroyed, and ROS shut down, when the block ends.

    SIGINT stays Python's KeyboardInterrupt and SIGTERM becomes SystemExit, so that both run the
    `finally` blocks of the caller and Fast DDS gives its shared memory back.

    Args:
        name: The node's name, unless the ROS arguments say otherwise.
        namespace: The node's namespace, unless the ROS arguments say otherwise.
        arguments: Command line with the ROS arguments; None takes the process's own.

    Raises:
        ConfigError: The ROS arguments cannot be understood.
    """
    with terminated_cleanly(), contextlib.ExitStack() as stack:
        with signals_held():
            start_ros(arguments)
            stack.callback(rclpy.try_shutdown)
            with parameter_errors():
                node = Node(name, namespace=namespace)
        try:
            yield node
        except ROSInterruptException:
            raise KeyboardInterrupt from None
        finally:
            # Ctrl-C in a terminal reaches a process of launch twice: once from each of them.
            stack.enter_context(uninterrupted())
            stack.callback(rclpy.try_shutdown)
            stack.callback(node.destroy_node)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the end of a block that calls rclpy.

    rclpy turns messages into C and back by calling Python from C. An exception that a signal
    raises there comes out as another one, or as a crash, and Ctrl-C would end in a traceback.
    """
    received: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    former = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def leave_at_once() -> NoReturn:
    """End the process with status 0, for commands that have loaded PyTorch.

    What Python takes down after `main` takes a second of work then. On a busy machine that is
    longer than launch waits before it kills a process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def start_ros(arguments: Sequence[str] | None = None) -> None:
    """Initialise rclpy without its signal handlers.

    Args:
        arguments: Command line with the ROS arguments; None takes the process's own.

    Raises:
        ConfigError: The ROS arguments cannot be understood.
    """
    try:
        rclpy.init(
            args=None if arguments is None else list(arguments),
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except Exception as error:
        # rclpy answers a bad argument with one of several private exceptions.
        message = f'the ROS arguments cannot be used: {error}'
        raise ConfigError(message) from error


@contextlib.contextmanager
def parameter_errors() -> Iterator[None]:
    """Refuse wrong values of the parameters that each node of rclpy has, such as use_sim_time.

    Raises:
        ConfigError: The block made a node and rclpy refused a parameter.
    """
    try:
        yield
    except ParameterException as error:
        refusal = str(error).partition(': ')[0]
        message = f'a parameter cannot be used: {refusal}; give a value of that type.'
        raise ConfigError(message) from error
