# SPDX-License-Identifier: Apache-2.0
"""The plots of a report, as encoded images."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depth_core.evaluate.run import Run, scored_abs_rel
from depth_core.metrics import Evaluation, UncertaintyResult
from depth_core.metrics.regions import COLUMNS, REGIONS, ROWS

_BLUE: Final = '#2563ab'
_ORANGE: Final = '#d9822b'
_GREY: Final = '#8a939e'
_COLOURS: Final = (_BLUE, _ORANGE, '#3a8f5c')
_TITLES: Final = {'abs_rel': 'AbsRel', 'rmse': 'RMSE, m', 'a1': '1 - δ1'}


def draw_plots(run: Run) -> Mapping[str, bytes]:
    """PNG files by name, in the order of the report."""
    evaluation = run.evaluation
    drawn = {
        'error_by_distance': _png(partial(_by_distance, evaluation=evaluation)),
        'error_by_image': _png(partial(_by_image, run=run)),
    }
    if evaluation.by_region:
        drawn['error_by_region'] = _png(partial(_by_region, evaluation=evaluation))
    drawn['latency'] = _png(partial(_latency, run=run))
    if evaluation.uncertainty is not None:
        uncertainty = evaluation.uncertainty
        drawn['calibration'] = _png(partial(_calibration, uncertainty=uncertainty))
        drawn['sparsification'] = _png(partial(_sparsification, uncertainty=uncertainty))
    return drawn


def encode(figure: Figure, kind: str) -> bytes:
    """The bytes of a figure as 'png' or 'jpg'."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def _by_distance(axes: Axes, *, evaluation: Evaluation) -> None:
    bins = evaluation.by_distance
    places = np.arange(len(bins))
    names = [
        f'{item.from_m:g}+' if math.isinf(item.to_m) else f'{item.from_m:g}-{item.to_m:g}'
        for item in bins
    ]
    axes.bar(places, [item.abs_rel for item in bins], color=_BLUE, label='AbsRel')
    axes.plot(places, [item.bias for item in bins], 'o-', color=_ORANGE, label='bias (+ too far)')
    axes.axhline(0.0, color=_GREY, linewidth=0.8)
    axes.set_xticks(places, names, rotation=45, ha='right')
    axes.set_xlabel('true depth, m')
    axes.set_ylabel('relative error')
    axes.legend(frameon=False)


def _by_image(axes: Axes, *, run: Run) -> None:
    values = sorted(scored_abs_rel(run))
    axes.plot(np.linspace(0.0, 1.0, len(values)), values, color=_BLUE, label='images, sorted')
    evaluation = run.evaluation
    if evaluation.mean is not None:
        axes.axhline(evaluation.mean.abs_rel, color=_ORANGE, label='mean')
    if evaluation.constant_mean is not None:
        label = 'best constant depth' if evaluation.align == 'none' else "each image's median"
        axes.axhline(evaluation.constant_mean.abs_rel, color=_GREY, linestyle='--', label=label)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel('fraction of the images')
    axes.set_ylabel('AbsRel')
    axes.legend(frameon=False)


def _by_region(axes: Axes, *, evaluation: Evaluation) -> None:
    values = np.full((len(ROWS), len(COLUMNS)), np.nan)
    for item in evaluation.by_region:
        values.flat[REGIONS.index(item.name)] = item.abs_rel
    axes.imshow(values, cmap='inferno', vmin=0.0, vmax=max(0.5, float(np.nanmax(values))))
    for place, value in np.ndenumerate(values):
        text = 'no truth' if np.isnan(value) else f'{value:.3f}'
        axes.text(place[1], place[0], text, ha='center', va='center', color=_BLUE,
                  bbox={'color': 'white', 'alpha': 0.85, 'pad': 2})  # fmt: skip
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    axes.set_yticks(range(len(ROWS)), ROWS)


def _latency(axes: Axes, *, run: Run) -> None:
    milliseconds = np.array(run.inference_s) * 1e3
    axes.hist(milliseconds, bins=40, color=_BLUE)
    for share, style in ((0.5, '-'), (0.95, '--')):
        value = float(np.quantile(milliseconds, share))
        label = f'p{share * 100:.0f}: {value:.1f} ms'
        axes.axvline(value, color=_ORANGE, linestyle=style, label=label)
    axes.set_xlabel('time inside the backend, ms')
    axes.set_ylabel('images')
    axes.legend(frameon=False)


def _calibration(axes: Axes, *, uncertainty: UncertaintyResult) -> None:
    pooled = uncertainty.pooled
    used = [index for index, share in enumerate(pooled.bin_share) if share > 0.0]
    width = 1.0 / len(pooled.bin_share)
    centres = (np.arange(len(pooled.bin_share)) + 0.5) * width
    axes.bar(centres, pooled.bin_share, width * 0.9, color='#d5dde6', label='share of pixels')
    axes.plot((0.0, 1.0), (0.0, 1.0), '--', color=_GREY, label='calibrated')
    stated = [pooled.bin_confidence[index] for index in used]
    observed = [pooled.bin_observed[index] for index in used]
    axes.plot(stated, observed, 'o-', color=_BLUE, label='observed')
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel('stated probability to be within a factor 1.25')
    axes.set_ylabel('fraction')
    axes.legend(frameon=False)


def _sparsification(axes: Axes, *, uncertainty: UncertaintyResult) -> None:
    for (name, curve), colour in zip(uncertainty.sparsification.items(), _COLOURS, strict=True):
        removed = np.linspace(0.0, 1.0, len(curve.by_sigma))
        whole = curve.by_sigma[0] or 1.0
        title = f'{_TITLES[name]}: AUSE {curve.ause:.3f}, AURG {curve.aurg:.3f}'
        axes.plot(removed, np.array(curve.by_sigma) / whole, color=colour, label=title)
        axes.plot(removed, np.array(curve.by_error) / whole, ':', color=colour)
    axes.axhline(1.0, color=_GREY, linewidth=0.8)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel('fraction of pixels removed: by sigma (lines), by true error (dots)')
    axes.set_ylabel('error relative to all pixels')
    axes.legend(fontsize=8, framealpha=0.85, edgecolor='none')


def _png(draw: Callable[[Axes], None]) -> bytes:
    figure = Figure(figsize=(5.4, 3.6), dpi=120, layout='constrained')
    axes = figure.subplots()
    axes.spines[['top', 'right']].set_visible(False)
    draw(axes)
    return encode(figure, 'png')
