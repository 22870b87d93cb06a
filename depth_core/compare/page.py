# SPDX-License-Identifier: Apache-2.0
"""What a comparison is written as: a page that stands alone, a sheet of pictures, the numbers."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from depth_core.compare.bootstrap import Common, Difference
from depth_core.compare.pictures import Pictures
from depth_core.compare.speed import Speed
from depth_core.compare.subjects import Subject
from depth_core.evaluate.page import LABELS, document, figure
from depth_core.evaluate.tables import cells, table
from depth_core.names import printable_html

JSON_NAME: Final = 'compare.json'
PAGE_NAME: Final = 'compare.html'
SHEET_NAME: Final = 'compare.png'
REPORTS: Final = 'reports'
"""The folder of those that were made for the comparison."""
TITLES: Final = (
    'metric',
    'report',
    'mean',
    'interval',
    'against the first',
    'verdict',
    'ms an image',
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that was found."""

    subjects: Sequence[Subject]
    common: Sequence[Common]
    differences: Sequence[Difference]
    speeds: Mapping[str, Speed]
    speed_meaning: str
    """What the times are, in words."""
    pictures: Pictures
    command: Sequence[str]
    """The words of the command."""

    @property
    def title(self) -> str:
        """Of the table."""
        return f'{len(self.common)} images that all reports scored, 95 % intervals'

    def rows(self) -> list[tuple[str, ...]]:
        """The table, as `TITLES` has it."""
        rows: list[tuple[str, ...]] = []
        for item in self.differences:
            against = ''
            if item.verdict != 'first':
                ends = f'{item.difference_low:+.4f} to {item.difference_high:+.4f}'
                against = f'{item.difference:+.4f} ({ends})'
            interval = f'{item.low:.4f} to {item.high:.4f}'
            speed = self.speeds.get(item.report)
            words = '' if speed is None else speed.words
            mean = f'{item.mean:.4f}'
            rows.append((item.metric, item.report, mean, interval, against, item.verdict, words))
        return rows

    def notes(self) -> list[str]:
        """What stands below the table."""
        return [*([self.speed_meaning] if self.speeds else []), *self.pictures.left_out]


def as_json(found: Comparison) -> str:
    """The numbers; what is not finite becomes null."""
    rows = [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(item).items()
        }
        for item in found.differences
    ]
    content = {
        'command': shlex.join(['python', '-m', 'depth_core.compare', *found.command]),
        'images': len(found.common),
        'reports': {
            item.name: f'{REPORTS}/{item.report.name}' if item.evaluated_here else str(item.report)
            for item in found.subjects
        },
        'differences': rows,
        'speed': {name: asdict(speed) for name, speed in found.speeds.items()},
        'speed_meaning': found.speed_meaning,
    }
    return json.dumps(content, indent=1) + '\n'


def as_page(found: Comparison) -> str:
    """One HTML file with its pictures in it."""
    body = ''.join(
        f'<tr>{cells([LABELS.get(metric, metric), *row])}</tr>' for metric, *row in found.rows()
    )
    names = ', '.join(item.name for item in found.subjects)
    parts = [
        f'<h1>{printable_html(names)}</h1>',
        f'<p class="soft">{printable_html(found.title)}</p>',
        table(list(TITLES), body),
        *(f'<p class="soft">{printable_html(note)}</p>' for note in found.notes()),
    ]
    if found.pictures.drawn:
        parts.append('<h2>The same images</h2>')
        parts.append(
            '<p class="soft">Above: the image, and the depth of each model in one range of '
            'colours. Below: the truth, and |depth - truth| / truth.</p>'
        )
    parts += [figure(picture, 'png', name) for name, picture in found.pictures.drawn.items()]
    command = shlex.join(['python', '-m', 'depth_core.compare', *found.command])
    parts += ['<h2>How it was made</h2>', f'<p><code>{printable_html(command)}</code></p>']
    return document(f'Depth compared: {names}', parts)


def write(folder: Path, found: Comparison) -> Path:
    """Write page, sheet and numbers into a folder that is there.

    Returns:
        The path of the page.
    """
    sheet = found.pictures.sheet()
    files = {
        JSON_NAME: as_json(found).encode(errors='backslashreplace'),
        PAGE_NAME: as_page(found).encode(errors='backslashreplace'),
    }
    if sheet is not None:
        files[SHEET_NAME] = sheet
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / PAGE_NAME
