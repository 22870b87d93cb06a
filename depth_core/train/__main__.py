# SPDX-License-Identifier: Apache-2.0
"""The training command: `python -m depth_core.train --config config/train/….yaml`."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence

from rich.logging import RichHandler

from depth_core.errors import ConfigError, run_command
from depth_core.names import show_log
from depth_core.shipped import shipped_file
from depth_core.terminal import open_console
from depth_core.train.command_line import parse, values_of
from depth_core.train.loop import train
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings


def main(arguments: Sequence[str] | None = None) -> RunFolder:
    """Read the settings and train; `arguments` are those of the process when None."""
    return _train(parse(sys.argv[1:] if arguments is None else arguments))


def train_with(
    recipe: str,
    arguments: Sequence[str] | None = None,
    *,
    command: str,
    purpose: str,
    default_config: str | None = None,
) -> RunFolder:
    """Train with the command of one recipe; see `read_settings`."""
    given = sys.argv[1:] if arguments is None else arguments
    return _train(
        read_settings(
            recipe, given, command=command, purpose=purpose, default_config=default_config
        )
    )


def read_settings(
    recipe: str,
    arguments: Sequence[str],
    *,
    command: str,
    purpose: str,
    default_config: str | None = None,
) -> TrainSettings:
    """Read the settings of the command of one recipe.

    Args:
        recipe: Name of the recipe.
        arguments: What stands after the command.
        command: The command, as a user calls it.
        purpose: What it is for, for its help.
        default_config: The shipped file that is taken where no configuration is given.

    Raises:
        ConfigError: The configuration is for another recipe, or as `parse`.
    """
    given = list(arguments)
    if default_config is not None and not values_of('config', given):
        given = ['--config', str(shipped_file(default_config)), *given]
    settings = parse(given, command=command, purpose=purpose, recipe=recipe)
    if settings.recipe.name != recipe:
        message = (
            f'recipe.name is {settings.recipe.name!r}, and {command} takes the recipe {recipe}; '
            'use python -m depth_core.train for others.'
        )
        raise ConfigError(message)
    return settings


def _train(settings: TrainSettings) -> RunFolder:
    console = open_console(stderr=True)
    handler = (
        RichHandler(console=console, show_path=False, log_time_format='[%X]')
        if console.is_terminal  # it would wrap the lines of a log file
        else logging.StreamHandler()
    )
    show_log(logging.WARNING, handler=handler)
    logging.getLogger('depth_core').setLevel(logging.INFO)
    if not sys.warnoptions:
        # They are for the programmers of other packages, not for users.
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
    return train(settings, console=console)


if __name__ == '__main__':
    run_command(main)
