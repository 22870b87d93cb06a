# SPDX-License-Identifier: Apache-2.0
"""Command lines of this package's ROS commands: those of depth_core beside ROS's own arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from depth_core import arguments as core
from depth_core.arguments import count, not_negative, positive

__all__ = ['CommandParser', 'count', 'not_negative', 'positive', 'without_ros_arguments']


class CommandParser(core.CommandParser):
    """A parser that leaves to ROS what stands between `--ros-args` and the end, or a lone `--`.

    Args:
        prog: Dotted name of the module that is run.
        description: What the command does.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=f'python -m {prog}', description=description)

    def parse_command(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse `arguments` (the process's own when None), without what belongs to ROS.

        Raises:
            ConfigError: They are not what the command takes.
        """
        given = sys.argv[1:] if arguments is None else list(arguments)
        return super().parse_command(without_ros_arguments(given))


def without_ros_arguments(arguments: Sequence[str]) -> list[str]:
    """Leave out every `--ros-args ... [--]` group."""
    kept: list[str] = []
    inside = False
    for argument in arguments:
        if argument == '--ros-args':
            inside = True
        elif inside:
            inside = argument != '--'
        else:
            kept.append(argument)
    return kept
