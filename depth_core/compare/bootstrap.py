# SPDX-License-Identifier: Apache-2.0
"""Reports side by side, and which differences are more than chance.

Reports are compared on the images that all of them scored. How far a mean could have come out
otherwise is found by drawing the images again and again (bootstrap); neighbouring images of a
recording are much alike, so that blocks of them are drawn together.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.compare.subjects import FRAMES, METRICS, Subject
from depth_core.documents import parse_json
from depth_core.errors import ConfigError, DataError
from depth_core.files import read_text
from depth_core.metrics import METRIC_NAMES

_LARGER_IS_BETTER: Final = ('a1', 'a2', 'a3')
_BLOCK: Final = 10
"""Most neighbouring images drawn together."""
_BLOCKS: Final = 10
"""Least number of blocks that images are cut into, where there are as many."""
LEAST: Final = 5
"""With fewer images nothing is called more than chance."""
_INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class Common:
    """An image that all reports scored."""

    recording: str
    image: str
    rows: tuple[int, ...]
    """Place in the table of each report, from 0."""
    abs_rel: tuple[float, ...]
    """Of each report."""


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
    subjects: Sequence[Subject], metrics: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> tuple[list[Common], list[Difference]]:
    """Compare reports.

    Args:
        subjects: Reports; the others are compared with the first.
        metrics: Names from `METRIC_NAMES`.
        draws: How often images are drawn again.
        seed: Of these draws.

    Returns:
        The images that all reports scored, and the differences by metric and report.

    Raises:
        ConfigError: There are fewer than two reports.
        DataError: A report has no table of images, protocols differ, or no image is common.
    """
    if len(subjects) < 2:  # noqa: PLR2004  a pair
        message = f'{len(subjects)} report given; give at least two to compare.'
        raise ConfigError(message)
    tables = [_frames(subject.report) for subject in subjects]
    _check_protocols(subjects)
    common = [
        Common(
            recording=key[0],
            image=key[1],
            rows=tuple(table[key][0] for table in tables),
            abs_rel=tuple(table[key][1]['abs_rel'] for table in tables),
        )
        for key in tables[0]
        if all(key in table for table in tables[1:])
    ]
    if not common:
        message = (
            f'no image was scored in all of {", ".join(item.name for item in subjects)}; compare '
            'reports on the same data.'
        )
        raise DataError(message)
    places = _draws(len(common), draws, seed)
    found = []
    for metric in metrics:
        values = [
            np.array([table[item.recording, item.image][1][metric] for item in common])
            for table in tables
        ]
        found += [
            _difference(subject.name, metric, own, values[0], places)
            for subject, own in zip(subjects, values, strict=True)
        ]
    return common, found


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
    elif len(own) < LEAST or apart_low <= 0.0 <= apart_high:
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


def _frames(folder: Path) -> dict[tuple[str, str], tuple[int, dict[str, float]]]:
    """Row and metrics of each scored image, by recording and name."""
    path = folder / FRAMES
    try:
        with path.open(encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
        return {
            (row['recording'], row['image']): (
                place,
                {name: float(row[name]) for name in METRIC_NAMES},
            )
            for place, row in enumerate(rows)
            if row['abs_rel']
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = (
            f'{folder} has no table of images that can be read ({path.name}: {error}); give '
            'folders that depth_core.evaluate or evaluate_bag wrote.'
        )
        raise DataError(message) from error


def _check_protocols(subjects: Sequence[Subject]) -> None:
    """Refuse to compare what was scored differently.

    Raises:
        DataError: As said.
    """
    said: dict[str, str] = {}
    for subject in subjects:
        try:
            content = parse_json(read_text(subject.report / METRICS))
            rule = {key: content[key] for key in ('protocol', 'align', 'flip_average')}
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f'{subject.report} is no report: {METRICS} cannot be read ({error}).'
            raise DataError(message) from error
        said.setdefault(json.dumps(rule, sort_keys=True), subject.name)
    if len(said) > 1:
        first, second = list(said.values())[:2]
        message = (
            f'{first} and {second} were scored under different protocols or alignments; evaluate '
            'both alike to compare them.'
        )
        raise DataError(message)
