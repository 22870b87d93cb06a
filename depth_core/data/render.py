# SPDX-License-Identifier: Apache-2.0
"""Fill a folder with rendered scenes to train on: `python -m depth_core.data.render`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from depth_core.arguments import CommandParser
from depth_core.data.rendered import SIZES, RenderSettings, fill
from depth_core.errors import ConfigError, run_command
from depth_core.names import printable


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.data.render',
        description='Render scenes with exact depth into a folder to train on. It may be stopped '
        'at any moment and started again, by several processes at once; what is complete can be '
        'trained on meanwhile (data set `rendered`, root = OUTPUT/HEIGHTxWIDTH).',
    )
    add = parser.add_argument
    add('--output', type=Path, required=True, help='folder, made if missing')
    add('--frames', type=int, default=10000, help='samples of all sizes together')
    add('--seed', type=int, default=1000, help='of the scenes: from 1000 on for training')
    add('--scenes', default='varied', help='varied, near, indoor, outdoor or a scene class')
    add(
        '--sizes',
        nargs='+',
        default=[f'{height}x{width}' for height, width in SIZES],
        help='HEIGHTxWIDTH of the images, pixels',
    )
    add('--part', type=int, default=100, help='samples that are completed together')
    add('--textures', type=Path, default=None, help='folder of photographs for print and screens')
    return parser


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if found is None:
        message = f'size {text!r} is not HEIGHTxWIDTH in pixels, as 288x384.'
        raise ConfigError(message)
    return int(found[1]), int(found[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _parser().parse_command(arguments)
    torch.set_num_threads(1)
    settings = RenderSettings(
        seed=options.seed,
        scenes=options.scenes,
        sizes=tuple(_size(text) for text in options.sizes),
        part=options.part,
        textures=None if options.textures is None else str(options.textures.resolve()),
    )
    started_s = time.monotonic()

    def report(done: int, total: int) -> None:
        elapsed_s = time.monotonic() - started_s
        sys.stdout.write(f'{done} of {total} samples, {elapsed_s:.0f} s\n')
        sys.stdout.flush()

    stored = fill(options.output, settings, frames=options.frames, progress=report)
    sys.stdout.write(f'{printable(options.output)} holds {stored} samples in complete parts\n')


if __name__ == '__main__':
    run_command(main)
