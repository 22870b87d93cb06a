# SPDX-License-Identifier: Apache-2.0
"""Command lines of commands that run where little is installed: the standard library only."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from depth_core.errors import ConfigError, unknown_name


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """States the default of each option that has one, and keeps the lines of a list."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if '\n' in text:
            return '\n'.join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ('', ()):
            return action.help
        return super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that answers wrong input with a `ConfigError`.

    Options are never abbreviated, and an unknown one is answered with the nearest known one.
    """

    def __init__(self, *, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        text = f'{message}. See {self.prog} --help.'
        raise ConfigError(text)

    def parse_command(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse `arguments`, the process's own when None.

        Raises:
            ConfigError: They are not what the command takes.
        """
        given = sys.argv[1:] if arguments is None else list(arguments)
        # First of all, since argparse would rather complain of what the misspelt option left out.
        known = [name for name in self._option_string_actions if name.startswith('--')]
        for argument in given[: given.index('--')] if '--' in given else given:
            name = argument.partition('=')[0]
            if name.startswith('--') and name not in known:
                self.error(unknown_name('option', name, known))
        return self.parse_args(given)


def positive(text: str) -> float:
    """Read a finite number above 0; an argparse type."""
    return _number(text, float, 'above 0', lambda value: 0.0 < value < math.inf)


def not_negative(text: str) -> float:
    """Read a finite number, at least 0; an argparse type."""
    return _number(text, float, 'of at least 0', lambda value: 0.0 <= value < math.inf)


def count(text: str) -> int:
    """Read a whole number, at least 1; an argparse type."""
    return int(_number(text, int, 'of at least 1', lambda value: value >= 1))


def whole(text: str) -> int:
    """Read a whole number, at least 0; an argparse type."""
    return int(_number(text, int, 'of at least 0', lambda value: value >= 0))


def names(text: str) -> tuple[str, ...]:
    """Read names separated by commas; an argparse type."""
    found = tuple(name.strip() for name in text.split(',') if name.strip())
    if not found:
        message = f'{text!r} holds no name; separate names by commas'
        raise argparse.ArgumentTypeError(message)
    return found


def _number(text: str, kind: type[float], rule: str, accepted: Callable[[float], bool]) -> float:
    message = f'{text!r} is not a {"whole " if kind is int else ""}number {rule}'
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None
    if not accepted(value):
        raise argparse.ArgumentTypeError(message)
    return value
