# SPDX-License-Identifier: Apache-2.0
"""The command line of `python -m depth_core.compare`."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.table import Table

from depth_core.arguments import CommandParser, count, names, whole
from depth_core.bench.machine import describe_machine
from depth_core.compare.bootstrap import LEAST, compare
from depth_core.compare.page import (
    JSON_NAME,
    PAGE_NAME,
    REPORTS,
    TITLES,
    Comparison,
    as_json,
    write,
)
from depth_core.compare.pictures import Pictures, draw
from depth_core.compare.speed import SOURCES, speeds
from depth_core.compare.subjects import gather, words_of
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.arguments import add_data, add_scoring
from depth_core.files import (
    check_file_writable,
    check_writable,
    replaced_folder,
    scratch_folder,
    write_text_atomically,
)
from depth_core.metrics import METRIC_NAMES
from depth_core.names import show_log
from depth_core.runtime.backends import describe_backends
from depth_core.terminal import open_console

_NUMBERS: Final = '.json'
_MEANINGS: Final = {
    'report': 'ms an image: median time inside the backend, as each report states it.',
    'measure': 'ms an image: median of Predictor.predict, all models in turns, on this machine.',
    'none': '',
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser, of_models = _parser()
    options = parser.parse_command(given)
    show_log(logging.WARNING)
    rule = _rule(parser, options, of_models)
    machine = describe_machine()
    with _folder(options.output) as folder:
        subjects = gather(
            options.subjects,
            rule,
            folder / REPORTS,
            stated=options.output / REPORTS if _is_folder(options.output) else None,
            backend=options.backend,
            say=_say,
        )
        common, differences = compare(subjects, options.metrics, draws=options.draws)
        found = Comparison(
            subjects=subjects,
            common=common,
            differences=differences,
            speeds=speeds(subjects, options.speed, machine=machine, say=_say),
            speed_meaning=_MEANINGS[options.speed],
            pictures=draw(subjects, common, options.pictures)
            if _is_folder(options.output)
            else Pictures(drawn={}, left_out=()),
            command=given,
        )
        if options.output is not None and not _is_folder(options.output):
            write_text_atomically(options.output, as_json(found))
        elif options.output is not None:
            write(folder, found)
    _print(found)
    if _is_folder(options.output):
        open_console().print(f'Page: {options.output / PAGE_NAME}', soft_wrap=True)


def _say(line: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f'{line}\n')


def _is_folder(output: Path | None) -> bool:
    return output is not None and output.suffix != _NUMBERS


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    """Where everything is written before it is whole: the asked folder, else a temporary one.

    Raises:
        DataError: The folder holds something else than a comparison.
        DepthError: It cannot be written.
    """
    if output is None or not _is_folder(output):
        if output is not None:
            check_file_writable(output)
        with scratch_folder('compare') as folder:
            yield folder
        return
    other = output.is_dir() and any(output.iterdir()) and not (output / JSON_NAME).is_file()
    if other or output.is_file():
        message = (
            f'output {output} exists and is not a comparison of this command; it is left alone: '
            'choose another folder, or a name that ends in .json for the numbers alone.'
        )
        raise DataError(message)
    check_writable(output)
    with replaced_folder(output) as folder:
        yield folder


def _rule(parser: CommandParser, options: argparse.Namespace, of_models: set[str]) -> list[str]:
    """The options of data and scoring as words, both or neither of the necessary ones given."""
    words = words_of(parser, options, of_models)
    if words and (options.data is None or options.protocol is None):
        message = (
            f'{shlex.join(words)} is given for the models that are evaluated here, which needs '
            '--data and --protocol; give both, or neither to evaluate as the report beside them.'
        )
        raise ConfigError(message)
    return words


def _print(found: Comparison) -> None:
    table = Table(title=found.title)
    for title in TITLES:
        table.add_column(title, justify='left' if title in {'metric', 'report'} else 'right')
    for row in found.rows():
        table.add_row(*row)
    console = open_console()
    console.print(table)
    for note in found.notes():
        console.print(note, soft_wrap=True)
    if len(found.common) < LEAST:
        console.print(
            f'{len(found.common)} images are too few to call a difference more than chance.'
        )


def _parser() -> tuple[CommandParser, set[str]]:
    """The parser, and the names of the options that are about data and scoring."""
    parser = CommandParser(
        prog='python -m depth_core.compare',
        description='Put reports and models side by side, with bootstrap intervals, and say '
        'which differences are more than chance. Models are evaluated first: on --data under '
        '--protocol, or as the first report was.',
    )
    before = set(vars(parser.parse_args([])))
    add_data(parser, required=False)
    add_scoring(parser, required=False)
    of_models = set(vars(parser.parse_args([]))) - before
    add = parser.add_argument
    add(
        'subjects',
        nargs='+',
        metavar='REPORT|MODEL',
        help='report folders, checkpoints (.ckpt), graphs (.onnx) and names of shipped models; '
        'the first is compared with',
    )
    add('--backend', type=names, help=f'of the models: {describe_backends()}')
    metrics = ('abs_rel', 'rmse', 'a1')
    add('--metrics', nargs='+', default=metrics, choices=METRIC_NAMES, help='what is compared')
    add('--draws', type=count, default=2000, help='how often images are drawn again')
    add('--pictures', type=whole, default=4, help='images that are drawn side by side')
    add(
        '--speed',
        default='report',
        choices=SOURCES,
        help='of each model: what its report states, or measured here in turns as '
        'depth_core.bench does; neither is told while others compute on this machine',
    )
    add(
        '--output',
        type=Path,
        help='folder for compare.html, compare.png, compare.json and the reports of the models; '
        'or a file that ends in .json, for the numbers alone',
    )
    return parser, of_models
