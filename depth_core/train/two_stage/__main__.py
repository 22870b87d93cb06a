# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.train.two_stage`, for any configuration of `selfsup`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from depth_core.errors import run_command
from depth_core.train.command_line import parse
from depth_core.train.two_stage.holes import HoleSettings
from depth_core.train.two_stage.stages import TwoStageResult, train_two_stages

_MOVING: Final = ('abs_rel', 'bias', 'holes')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    console = Console(stderr=True)
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('depth_core').setLevel(logging.INFO)
    holes, rest = read_holes(sys.argv[1:] if arguments is None else arguments)
    _print(train_two_stages(parse(rest), holes, console=console))


def read_holes(arguments: Sequence[str]) -> tuple[HoleSettings, list[str]]:
    """Take the settings of the holes out of a command line; the rest is that of training.

    Raises:
        ConfigError: A value is out of range.
    """
    default = HoleSettings()
    parser = argparse.ArgumentParser(
        prog='python -m depth_core.train.two_stage',
        description='Train, drop the frames in which the network sees something below the '
        'ground, and train again from scratch on the others. All settings of python -m '
        'depth_core.train are taken too; its --help explains them.',
        allow_abbrev=False,
        epilog='example: --config config/train/selfsup_synthetic.yaml --holes.max_pixels 10',
    )
    add = parser.add_argument
    add(
        '--holes.camera_height_m', dest='camera_height_m', type=float,
        default=default.camera_height_m,
        help='height of the camera above the ground, metres (default %(default)s)',
    )  # fmt: skip
    add(
        '--holes.below_m', dest='below_m', type=float, default=default.below_m,
        help='how far below the ground a pixel is clearly below it, metres (default %(default)s)',
    )  # fmt: skip
    add(
        '--holes.max_pixels', dest='max_pixels', type=int, default=default.max_pixels,
        help='with more such pixels than this a frame is dropped (default %(default)s)',
    )  # fmt: skip
    known, rest = parser.parse_known_args(list(arguments))
    return HoleSettings(**vars(known)), rest


def _print(result: TwoStageResult) -> None:
    console = Console()
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
    console.print(f'Network: {result.second.last}', highlight=False, soft_wrap=True)


if __name__ == '__main__':
    run_command(main)
