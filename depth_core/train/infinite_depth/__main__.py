# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.train.infinite_depth`, for any configuration of `selfsup`."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from typing import Final

from rich.table import Table

from depth_core.arguments import CommandParser, positive, whole
from depth_core.errors import ConfigError, run_command, unknown_name
from depth_core.names import show_log
from depth_core.terminal import open_console
from depth_core.train.command_line import explain, parse
from depth_core.train.infinite_depth.holes import HoleSettings
from depth_core.train.infinite_depth.stages import InfiniteDepthResult, train_infinite_depth

_MOVING: Final = ('abs_rel', 'bias', 'holes')
_COMMAND: Final = 'python -m depth_core.train.infinite_depth'
_OF_HOLES: Final = '--hole'
"""What begins so is meant for the holes, misspelt or not: no setting of training does."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    console = open_console(stderr=True)
    show_log(logging.WARNING)
    logging.getLogger('depth_core').setLevel(logging.INFO)
    holes, rest = read_holes(sys.argv[1:] if arguments is None else arguments)
    settings = parse(rest, command=_COMMAND)
    _print(train_infinite_depth(settings, holes, console=console))


class _Parser(CommandParser):
    """Explains the settings of training too."""

    def format_help(self) -> str:
        """Return the help of the holes, then that of training with the recipe selfsup."""
        training = explain('selfsup', command=_COMMAND, purpose='Settings of both stages.')
        return f'{super().format_help()}\nSettings of training:\n\n{training}'


def read_holes(arguments: Sequence[str]) -> tuple[HoleSettings, list[str]]:
    """Take the settings of the holes out of a command line; the rest is that of training.

    Raises:
        ConfigError: A setting of the holes is unknown, its value is missing, of another type or
            out of range.
    """
    default = HoleSettings()
    parser = _Parser(
        prog=_COMMAND,
        description='Train, drop the frames with something predicted below the '
        'ground, and train again from scratch on the others. All settings of python -m '
        'depth_core.train are taken too.',
        epilog='example: --config config/train/selfsup_synthetic.yaml --holes.max_pixels 10',
    )
    add = parser.add_argument
    add(
        '--holes.camera_height_m', dest='camera_height_m', type=positive,
        default=default.camera_height_m,
        help='height of the camera above the ground, metres',
    )  # fmt: skip
    add(
        '--holes.below_m', dest='below_m', type=positive, default=default.below_m,
        help='how far below the ground a pixel is clearly below it, metres',
    )  # fmt: skip
    add(
        '--holes.max_pixels', dest='max_pixels', type=whole, default=default.max_pixels,
        help='with more such pixels than this a frame is dropped',
    )  # fmt: skip
    known = [f'--holes.{item.name}' for item in dataclasses.fields(HoleSettings)]
    for name in (argument.partition('=')[0] for argument in arguments):
        if name.startswith(_OF_HOLES) and name not in known:
            raise ConfigError(unknown_name('option', name, known))
    holes, rest = parser.parse_known_args(list(arguments))
    return HoleSettings(**vars(holes)), rest


def _print(result: InfiniteDepthResult) -> None:
    console = open_console()
    dropped = sum(not verdict.kept for verdict in result.verdicts)
    table = Table(title=f'{dropped} of {len(result.verdicts)} frames dropped: {result.frames}')
    for column in ('', 'AbsRel', *(f'{key}, moving with the camera' for key in _MOVING)):
        table.add_column(column)
    if result.comparison is not None:
        content = json.loads(result.comparison.read_text(encoding='utf-8'))
        for name, numbers in content.items():
            mean, moving = numbers['mean'] or {}, numbers['with_camera'] or {}
            values = (mean.get('abs_rel'), *(moving.get(key) for key in _MOVING))
            table.add_row(name, *('-' if item is None else f'{item:.3f}' for item in values))
    console.print(table)
    console.print(f'Network: {result.second.last}', soft_wrap=True)


if __name__ == '__main__':
    run_command(main)
