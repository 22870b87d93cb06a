# SPDX-License-Identifier: Apache-2.0
"""Say what a data set holds: `python -m depth_core.data check PATH`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depth_core.arguments import CommandParser, count
from depth_core.data.check import Findings, check_dataset, save_sheet
from depth_core.data.registry import DATASETS, detect_dataset, open_dataset
from depth_core.data.remarks import lost_of
from depth_core.errors import ConfigError, DataError, run_command
from depth_core.names import printable, show_log

_ACTION = 'check'


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        DataError: Nothing has depth, a sample is damaged, or a recording was cut off.
    """
    options = _parser().parse_command(arguments)
    show_log(logging.WARNING)
    name = detect_dataset(options.path) if options.name == 'auto' else options.name
    given = dict(_option(text) for text in options.option)
    row = DATASETS.get(name)
    kinds = {} if row is None else {key: item.kind for key, item in row.options.items()}
    try:
        typed: dict[str, Any] = {key: kinds.get(key, str)(value) for key, value in given.items()}
    except ValueError as error:
        message = f'an option of data set {name!r} has the wrong kind: {error}.'
        raise ConfigError(message) from error
    dataset = open_dataset(name, root=options.path, split=options.split, **typed)
    found = check_dataset(dataset, samples=options.samples)
    sys.stdout.write(_report(name, options.path, found))
    if found.sheet is not None:
        save_sheet(options.sheet, found.sheet)
        sys.stdout.write(f'contact sheet  {printable(options.sheet)}\n')
    if not found.is_usable:
        message = f'{options.path} cannot be used as it is: {found.remarks[0]}'
        raise DataError(message)
    lost = lost_of(dataset)
    if lost is not None:
        message = f'only a part of {options.path} is there: {lost}'
        raise DataError(message)


def _report(name: str, path: Path, found: Findings) -> str:
    lines = [
        f'data set       {name} ({DATASETS[name].summary})',
        f'path           {path}',
        f'images         {found.images}',
        f'with depth     {found.with_depth}',
        f'samples read   {found.read}',
    ]
    sizes = ', '.join(f'{size} ({number})' for size, number in found.sizes)
    lines.append(f'sizes          {sizes or "none"}')
    if found.focal_px is not None:
        lines.append(f'fx             {found.focal_px[0]:.2f} .. {found.focal_px[1]:.2f} px')
    if found.depth_m:
        least, low, middle, high, most = found.depth_m
        lines += [
            f'valid pixels   {found.valid_share:.1%}',
            f'depth          median {middle:.2f} m, 1 % to 99 % {low:.2f} .. {high:.2f} m',
            f'extremes       {least:.2f} .. {most:.2f} m',
        ]
    lines += [f'remark         {remark}' for remark in found.remarks]
    return '\n'.join(map(printable, lines)) + '\n'


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition('=')
    if not (key and equals):
        message = f'--option {text!r} is no option; give name=value, as depth_unit_m=0.001.'
        raise ConfigError(message)
    return key, value


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.data',
        description='Say what a data set holds and what is missing: how many images have depth, '
        'how far it reaches, and a contact sheet of images beside their depth.',
    )
    add = parser.add_argument
    add('action', choices=(_ACTION,), help='what to do')
    add('path', type=Path, help='folder or bag')
    add('--name', default='auto', help='data set, one of docs/data.md; found by what is there')
    add('--split', type=Path, help='list of the samples to look at')
    add('--option', nargs='+', default=(), help='options of the data set, name=value')
    add('--samples', type=count, default=12, help='samples to read, evenly spaced')
    add('--sheet', type=Path, default=Path('data_check.png'), help='contact sheet to write')
    return parser


if __name__ == '__main__':
    run_command(main)
