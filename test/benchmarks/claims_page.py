# SPDX-License-Identifier: Apache-2.0
"""What compared trainings come to: differences with intervals, a section of the page, a JSON file.

Variants of one seed see the same images in the same order, so that they are compared seed by seed:
a difference is settled when 0 lies outside its 95 % interval by Student's t.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final

from depth_core.files import write_text_atomically

if TYPE_CHECKING:
    from test.benchmarks.compare_trainings import Comparison, Question

_STUDENT_95: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t for 1, 2, 3 … degrees of freedom."""
_NORMAL_95: Final = 1.96

_COLUMNS: Final = (
    'metric',
    'held out, mean ± standard error',
    'seeds',
    'more than the first (95 %)',
    'the first is',
)

Scores = Mapping[str, Mapping[str, Sequence[Sequence[float]]]]
"""Of each question and variant, seed by seed, the metrics of the question."""


def write(page: Path, comparison: Comparison, scores: Scores) -> None:
    """Write the section of the page, and the numbers into results/<file>.json beside it."""
    done = [item for item in comparison.questions if all(scores[item.name].values())]
    found = {item.name: summary(item.metrics, scores[item.name]) for item in done}
    content = {item.name: {'steps': item.steps, **found[item.name]} for item in done}
    results = page.parent / 'results' / f'{comparison.name}.json'
    results.parent.mkdir(exist_ok=True)
    write_text_atomically(results, json.dumps(content, indent=1) + '\n')
    parts = [part for item in done for part in part_of(item, found[item.name])]
    text = '\n\n'.join((f'## {comparison.name}', comparison.about.strip(), *parts)) + '\n'
    _renew(page, comparison.name, text)


def summary(
    metrics: Sequence[str], scores: Mapping[str, Sequence[Sequence[float]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each metric the variants' scores and how much worse each is than the first."""
    found = {}
    for place, metric in enumerate(metrics):
        by_variant = {name: [row[place] for row in rows] for name, rows in scores.items()}
        first = next(iter(by_variant.values()))
        found[metric] = {
            name: {
                'scores': [round(value, 4) for value in values],
                **({} if values is first else compared(first, values)),
            }
            for name, values in by_variant.items()
        }
    return found


def compared(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """How much more theirs is than ours, seed by seed; less is better.

    Returns:
        `more`: the mean; `within`: half of its 95 % interval, None with one seed; `ours`: better,
        worse, not settled, or one seed.
    """
    differences = [their - our for our, their in zip(ours, theirs, strict=True)]
    more, freedom = fmean(differences), len(differences) - 1
    if not freedom:
        return {'more': round(more, 4), 'within': None, 'ours': 'one seed'}
    quantile = _STUDENT_95[freedom - 1] if freedom <= len(_STUDENT_95) else _NORMAL_95
    within = quantile * stdev(differences) / math.sqrt(len(differences))
    said = 'not settled' if abs(more) <= within else 'better' if more > 0.0 else 'worse'
    return {'more': round(more, 4), 'within': round(within, 4), 'ours': said}


def part_of(question: Question, found: Mapping[str, Any]) -> Iterator[str]:
    """What the page says of one question: claim, table, limits."""
    yield f'### {question.asks}'
    if question.claim:
        yield f'Claim: {question.claim.strip()}'
    head = (f'{question.steps} steps each', *_COLUMNS)
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for metric, variants in found.items():
        lines += [row_of(name, metric, row) for name, row in variants.items()]
    yield '\n'.join(lines)
    if question.limits:
        yield f'Cannot be settled here: {question.limits.strip()}'


def row_of(name: str, metric: str, row: Mapping[str, Any]) -> str:
    """One line of the table."""
    scores = row['scores']
    mean = f'{fmean(scores):.4f}'
    if len(scores) > 1:
        mean += f' ± {stdev(scores) / math.sqrt(len(scores)):.4f}'
    more, said = '', ''
    if 'more' in row:
        within = '' if row['within'] is None else f' ± {row["within"]:.4f}'
        more, said = f'{row["more"]:+.4f}{within}', row['ours']
    return f'| {name} | {metric} | {mean} | {len(scores)} | {more} | {said} |'


def _renew(page: Path, title: str, text: str) -> None:
    """Put a section into the page, in the place of the one of that title, or at the end.

    A page that has the section more than once, as a merge leaves it, has it once afterwards: the
    others would stay behind with the numbers of before.
    """
    content = page.read_text(encoding='utf-8') if page.is_file() else '# Claims, measured again\n'
    head, *sections = re.split(r'^(?=## )', content, flags=re.MULTILINE)
    ours = [section.partition('\n')[0].rstrip() == f'## {title}' for section in sections]
    parts = [section for section, own in zip(sections, ours, strict=True) if not own]
    parts.insert(ours.index(True) if any(ours) else len(parts), text)
    joined = '\n\n'.join(part.strip() for part in (head, *parts))
    write_text_atomically(page, f'{joined}\n')
