# SPDX-License-Identifier: Apache-2.0
"""Command lines of this package's ROS commands: the standard library, and nothing silently."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from depth_core.errors import ConfigError, unknown_name


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Says the default of an option that has one worth saying."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, ()):
            return action.help
        return super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that answers wrong input with a `ConfigError`.

    Options are never abbreviated, an unknown one is answered with the nearest known one, and
    what stands between `--ros-args` and the end (or a lone `--`) is left to ROS.
    """

    def __init__(self, *, description: str, prog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        unknown = re.match(r'unrecognized arguments: (--\S+)', message)
        if unknown:
            known = (name for name in self._option_string_actions if name.startswith('--'))
            message = unknown_name('option', unknown[1].split('=')[0], known)
        text = f'{message}. See python -m {self.prog} --help.'
        raise ConfigError(text)

    def parse_command(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse `arguments` (the process's own when None), without what belongs to ROS."""
        given = sys.argv[1:] if arguments is None else list(arguments)
        return self.parse_args(without_ros_arguments(given))


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


def positive(text: str) -> float:
    """An argparse type: a finite number above 0."""
    return _number(text, float, 'above 0', lambda value: 0.0 < value < math.inf)


def not_negative(text: str) -> float:
    """An argparse type: a finite number, at least 0."""
    return _number(text, float, 'of at least 0', lambda value: 0.0 <= value < math.inf)


def count(text: str) -> int:
    """An argparse type: a whole number, at least 1."""
    return int(_number(text, int, 'of at least 1', lambda value: value >= 1))


def _number(text: str, kind: type[float], rule: str, accepted: Callable[[float], bool]) -> float:
    message = f'{text!r} is not a {"whole " if kind is int else ""}number {rule}'
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None
    if not accepted(value):
        raise argparse.ArgumentTypeError(message)
    return value
