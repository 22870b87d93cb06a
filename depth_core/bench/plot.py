# SPDX-License-Identifier: Apache-2.0
"""The picture of a run: where the time goes, and how it varies."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depth_core.bench.machine import Machine
from depth_core.bench.result import BenchResult

_STAGES: Final[tuple[tuple[str, str, Callable[[BenchResult], float | None]], ...]] = (
    ('preprocess', '#8a939e', lambda one: one.preprocess_ms),
    ('copy', '#d9822b', lambda one: one.copy_ms),
    ('compute', '#2563ab', lambda one: one.compute_ms or one.inference_ms),
    ('postprocess', '#3a8f5c', lambda one: one.postprocess_ms),
)
_PERCENTILES: Final = (('p50', '|'), ('p90', 'd'), ('p99', 'x'))
_LETTERS: Final = 100
"""Of a line of the title."""


def draw(results: Sequence[BenchResult], machine: Machine, title: str) -> bytes:
    """A PNG: the stages of each row beside its percentiles, and the distribution of its times."""
    figure = Figure(figsize=(11.0, 3.2 + 0.4 * len(results)), layout='constrained')
    stages, times = figure.subplots(1, 2)
    _draw_stages(stages, results)
    _draw_times(times, results)
    for axes, columns in ((stages, 4), (times, 2)):
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles,
            labels,
            loc='upper center',
            bbox_to_anchor=(0.5, -0.55 / figure.get_figheight() - 0.05),
            ncols=columns,
            frameon=False,
            fontsize=8,
        )
    lines = (*textwrap.wrap(title, _LETTERS), *textwrap.wrap(str(machine), _LETTERS))
    figure.suptitle('\n'.join(lines), fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    return buffer.getvalue()


def _draw_stages(axes: Axes, results: Sequence[BenchResult]) -> None:
    places = np.arange(len(results))
    left = np.zeros(len(results))
    for name, colour, stage in _STAGES:
        widths = np.array([stage(result) or 0.0 for result in results])
        if widths.any():
            axes.barh(places, widths, left=left, color=colour, label=name)
        left += widths
    for name, marker in _PERCENTILES:
        values = [getattr(result, f'{name}_ms') for result in results]
        axes.plot(values, places, marker, color='black', markersize=6, label=name)
    axes.set_yticks(places, [result.label for result in results])
    axes.invert_yaxis()
    axes.set_xlim(left=0.0)
    axes.set_xlabel('milliseconds of one call')


def _draw_times(axes: Axes, results: Sequence[BenchResult]) -> None:
    for result in results:
        times = np.sort(result.latencies_ms)
        share = np.arange(1, len(times) + 1) / len(times)
        axes.step(times, share, where='post', label=result.label)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel('milliseconds of one call')
    axes.set_ylabel('share of calls that are as fast')
