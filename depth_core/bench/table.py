# SPDX-License-Identifier: Apache-2.0
"""The table that people read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from depth_core.bench.result import BenchResult
from depth_core.bench.statistics import spread

_Cell: TypeAlias = Callable[[BenchResult], str]
_NOTHING: Final = '-'


def table(results: Sequence[BenchResult]) -> str:
    """Lay out results in columns: milliseconds, frames a second, megabytes, seconds, joules.

    Columns that no row has are left out.
    """
    columns = _columns(results)
    cells = [[head, *(cell(result) for result in results)] for head, cell in columns]
    kept = [column for column in cells if set(column[1:]) != {_NOTHING}]
    widths = [max(map(len, column)) for column in kept]
    lines = []
    for row in zip(*kept, strict=True):
        first, *others = row
        text = first.ljust(widths[0])
        for cell, width in zip(others, widths[1:], strict=True):
            text += '  ' + cell.rjust(width)
        lines.append(text)
    return '\n'.join(lines) + '\n'


def legend(results: Sequence[BenchResult]) -> str:
    """What the columns mean, as far as it is not plain."""
    said = ['milliseconds of one call; pre, infer and post are medians']
    if any(result.copy_ms is not None for result in results):
        said[0] = 'milliseconds of one call; pre, copy, compute and post are medians'
    if any(result.cpu_ms is not None for result in results):
        said.append('cpu: milliseconds of CPU time of one call, on all threads together')
    if any(result.round_p50_ms[1:] for result in results):
        said.append('spread: how far the p50 of the rounds lie apart')
    if any(result.start_cold_s is not None for result in results):
        said.append(
            'cold, cached: seconds from the start of a process to its first answer, with empty '
            'caches of engines and compiled models and with filled ones'
        )
    if any(result.energy_j for result in results):
        said.append('J: joules of one image, all that the machine does meanwhile included')
    if any(result.ratio is not None for result in results):
        said.append(
            'ratio: time over that of the reference, median of the rounds; chance: that of the '
            'reference to itself, so that ratios within are no difference'
        )
    return '\n'.join(said) + '\n'


def _columns(results: Sequence[BenchResult]) -> list[tuple[str, _Cell]]:
    split = any(result.copy_ms is not None for result in results)
    meters = sorted({name for result in results for name in result.energy_j})
    return [
        ('backend', lambda one: one.label or one.backend),
        ('precision', lambda one: one.precision),
        ('p50', lambda one: f'{one.p50_ms:.2f}'),
        ('p90', lambda one: f'{one.p90_ms:.2f}'),
        ('p99', lambda one: f'{one.p99_ms:.2f}'),
        ('min', lambda one: f'{one.min_ms:.2f}'),
        ('spread', lambda one: f'{spread(one.round_p50_ms):.1%}' if one.round_p50_ms[1:] else '-'),
        ('pre', lambda one: _number(one.preprocess_ms, 2)),
        *_inference_columns(split=split),
        ('post', lambda one: _number(one.postprocess_ms, 2)),
        ('cpu', lambda one: _number(one.cpu_ms, 2)),
        ('fps', lambda one: f'{one.frames_per_s:.1f}'),
        ('MB', lambda one: f'{one.peak_memory_mb:.0f}'),
        ('GPU MB', lambda one: _number(one.gpu_memory_mb, 0)),
        ('cold', lambda one: _number(one.start_cold_s, 2)),
        ('cached', lambda one: _number(one.start_cached_s, 2)),
        *((f'J {name}', _energy(name)) for name in meters),
        ('ratio', lambda one: _number(one.ratio and one.ratio.value, 3)),
        ('chance', _chance),
    ]


def _inference_columns(*, split: bool) -> list[tuple[str, _Cell]]:
    if not split:
        return [('infer', lambda one: f'{one.inference_ms:.2f}')]
    return [
        ('copy', lambda one: _number(one.copy_ms, 2)),
        ('compute', lambda one: _number(one.compute_ms or one.inference_ms, 2)),
    ]


def _energy(name: str) -> _Cell:
    return lambda one: _number(one.energy_j.get(name), 3)


def _chance(result: BenchResult) -> str:
    if result.ratio is None:
        return _NOTHING
    return f'{result.ratio.null_low:.3f}-{result.ratio.null_high:.3f}'


def _number(value: float | None, digits: int) -> str:
    return _NOTHING if value is None else f'{value:.{digits}f}'
