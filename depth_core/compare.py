# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.compare`: reports side by side, and which differ by chance.

Reports are compared on the images that all of them scored. How far a mean could have come out
otherwise is found by drawing the images again and again (bootstrap); neighbouring images of a
recording are much alike, so that blocks of them are drawn together.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from depth_core.arguments import CommandParser, count
from depth_core.documents import parse_json
from depth_core.errors import ConfigError, DataError, run_command
from depth_core.files import read_text, write_text_atomically
from depth_core.metrics import METRIC_NAMES
from depth_core.terminal import open_console

FRAMES: Final = 'frames.csv'
REPORT: Final = 'report.json'
_LARGER_IS_BETTER: Final = ('a1', 'a2', 'a3')
_BLOCK: Final = 10
"""Most neighbouring images drawn together."""
_BLOCKS: Final = 10
"""Least number of blocks that images are cut into, where there are as many."""
_LEAST: Final = 5
"""With fewer images nothing is called more than chance."""
_INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One report against the first, in one metric."""

    report: str
    metric: str
    mean: float
    """Over the images that all reports scored."""
    low: float
    """Lower end of the 95 % interval of `mean`."""
    high: float
    difference: float
    """`mean` less that of the first report; 0 for the first itself."""
    difference_low: float
    """Lower end of the 95 % interval of the difference, image by image."""
    difference_high: float
    verdict: str
    """`better`, `worse`, `may be chance`, or `first`."""


def compare(
    reports: Sequence[Path], metrics: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> tuple[int, list[Difference]]:
    """Compare reports.

    Args:
        reports: Report folders; the others are compared with the first.
        metrics: Names from `METRIC_NAMES`.
        draws: How often images are drawn again.
        seed: Of these draws.

    Returns:
        How many images all reports scored, and the differences by metric and report.

    Raises:
        ConfigError: There are fewer than two reports.
        DataError: A report has no table of images, protocols differ, or no image is common.
    """
    if len(reports) < 2:  # noqa: PLR2004  a pair
        message = f'{len(reports)} report given; give at least two to compare.'
        raise ConfigError(message)
    tables = [_frames(folder) for folder in reports]
    _check_protocols(reports)
    common = [key for key in tables[0] if all(key in table for table in tables[1:])]
    if not common:
        message = (
            f'no image was scored in all of {", ".join(map(str, reports))}; compare reports on '
            'the same data.'
        )
        raise DataError(message)
    places = _draws(len(common), draws, seed)
    found = []
    for metric in metrics:
        values = [np.array([table[key][metric] for key in common]) for table in tables]
        found += [
            _difference(str(folder), metric, own, values[0], places)
            for folder, own in zip(reports, values, strict=True)
        ]
    return len(common), found


def _difference(
    report: str,
    metric: str,
    own: NDArray[np.float64],
    first: NDArray[np.float64],
    places: NDArray[np.int64],
) -> Difference:
    low, high = np.percentile(own[places].mean(axis=1), _INTERVAL).tolist()
    apart = own - first
    apart_low, apart_high = np.percentile(apart[places].mean(axis=1), _INTERVAL).tolist()
    if own is first:
        verdict = 'first'
    elif len(own) < _LEAST or apart_low <= 0.0 <= apart_high:
        verdict = 'may be chance'
    else:
        verdict = 'better' if (apart_low > 0.0) == (metric in _LARGER_IS_BETTER) else 'worse'
    return Difference(
        report=report,
        metric=metric,
        mean=float(own.mean()),
        low=low,
        high=high,
        difference=float(apart.mean()),
        difference_low=apart_low,
        difference_high=apart_high,
        verdict=verdict,
    )


def _draws(images: int, draws: int, seed: int) -> NDArray[np.int64]:
    """[draws, images or a few less] which images are taken, in blocks of neighbours."""
    block = max(1, min(_BLOCK, images // _BLOCKS))
    source = np.random.default_rng(seed)
    starts = source.integers(0, images - block + 1, (draws, images // block))
    places: NDArray[np.int64] = starts[:, :, None] + np.arange(block)
    return places.reshape(draws, -1)


def _frames(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """The metrics of each scored image, by recording and name."""
    path = folder / FRAMES
    try:
        with path.open(encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
        return {
            (row['recording'], row['image']): {name: float(row[name]) for name in METRIC_NAMES}
            for row in rows
            if row['abs_rel']
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = (
            f'{folder} has no table of images that can be read ({path.name}: {error}); give '
            'folders that depth_core.evaluate or evaluate_bag wrote.'
        )
        raise DataError(message) from error


def _check_protocols(reports: Sequence[Path]) -> None:
    """Refuse to compare what was scored differently.

    Raises:
        DataError: As said.
    """
    said: dict[str, Path] = {}
    for folder in reports:
        try:
            content = parse_json(read_text(folder / 'metrics.json'))
            rule = {key: content[key] for key in ('protocol', 'align', 'flip_average')}
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f'{folder} is no report: metrics.json cannot be read ({error}).'
            raise DataError(message) from error
        said.setdefault(json.dumps(rule, sort_keys=True), folder)
    if len(said) > 1:
        first, second = list(said.values())[:2]
        message = (
            f'{first} and {second} were scored under different protocols or alignments; evaluate '
            'both alike to compare them.'
        )
        raise DataError(message)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(sys.argv[1:] if arguments is None else arguments)
    images, found = compare(options.reports, options.metrics, draws=options.draws)
    table = Table(title=f'{images} images that all reports scored, 95 % intervals')
    titles = (
        'metric',
        'report',
        'mean',
        'interval',
        'against the first',
        'verdict',
        'ms an image',
    )
    for title in titles:
        table.add_column(title, justify='left' if title in {'metric', 'report'} else 'right')
    for item in found:
        against = ''
        if item.verdict != 'first':
            ends = f'{item.difference_low:+.4f} to {item.difference_high:+.4f}'
            against = f'{item.difference:+.4f} ({ends})'
        interval = f'{item.low:.4f} to {item.high:.4f}'
        speed = _milliseconds(Path(item.report))
        row = (item.metric, item.report, f'{item.mean:.4f}', interval, against, item.verdict)
        table.add_row(*row, '' if speed is None else f'{speed:.1f}')
    console = open_console()
    console.print(table)
    if images < _LEAST:
        console.print(f'{images} images are too few to call a difference more than chance.')
    if options.output is not None:
        write_text_atomically(options.output, _json(images, found))


def _milliseconds(folder: Path) -> float | None:
    """Median time of the backend for an image as a report states it; None where it does not."""
    try:
        content = json.loads((folder / REPORT).read_text(encoding='utf-8'))
        return 1e3 * float(content['timing']['inference_median_s'])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _json(images: int, found: Sequence[Difference]) -> str:
    rows: list[Mapping[str, object]] = [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(item).items()
        }
        | {'inference_median_ms': _milliseconds(Path(item.report))}
        for item in found
    ]
    return json.dumps({'images': images, 'differences': rows}, indent=1) + '\n'


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.compare',
        description='Put reports side by side, with bootstrap intervals, and say which '
        'differences are more than chance.',
    )
    add = parser.add_argument
    add('reports', nargs='+', type=Path, help='report folders; the first is compared with')
    metrics = ('abs_rel', 'rmse', 'a1')
    add('--metrics', nargs='+', default=metrics, choices=METRIC_NAMES, help='what is compared')
    add('--draws', type=count, default=2000, help='how often images are drawn again')
    add('--output', type=Path, help='also write the numbers to this JSON file')
    return parser


if __name__ == '__main__':
    run_command(main)
