# SPDX-License-Identifier: Apache-2.0
"""What the numbers come to, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from depth_core.evaluate.run import Calibrated, Run
from depth_core.metrics import Evaluation

_WORSE: Final = 1.5
"""From this ratio of errors on, one group is called worse than another."""
_MISSTATED: Final = 0.05
"""From this difference on, stated and observed confidence are called different."""
_COVERED: Final = 0.95
_BIASED: Final = 0.1
_FEW_PIXELS: Final = 100


def verdict(run: Run) -> list[str]:
    """Say what the numbers come to, one sentence a finding, the protocol first."""
    return list(_sentences(run))


def _sentences(run: Run) -> Iterator[str]:
    evaluation = run.evaluation
    metrics = evaluation.headline
    if metrics is None:
        return
    aligned = '' if evaluation.align == 'none' else f', aligned by {evaluation.align}'
    yield (
        f'Under {evaluation.protocol.name}{aligned}, depth is off by {metrics.abs_rel:.1%} on '
        f'average (AbsRel {metrics.abs_rel:.3f}), and {metrics.a1:.1%} of it is within a factor '
        f'of 1.25, on {evaluation.images_scored} images.'
    )
    yield from _against_baseline(evaluation)
    yield from _surroundings(evaluation)
    yield from _distances(evaluation)
    if evaluation.boundary is not None and evaluation.boundary.f1 == evaluation.boundary.f1:
        found = evaluation.boundary
        yield (
            f'Of the depth edges it shows {found.precision:.0%} are true, and it shows '
            f'{found.recall:.0%} of the true ones.'
        )
    yield from _confidence(run)
    if evaluation.coverage < _COVERED:
        yield f'Only {evaluation.coverage:.1%} of the pixels with truth have an estimate.'
    if evaluation.flicker is not None:
        yield (
            f'Between neighbouring images depth flickers by {evaluation.flicker:.1%} beyond the '
            f'known motion of the camera (median over pixels, mean of {evaluation.flicker_pairs} '
            'pairs).'
        )
    flickers = [item.flicker for item in run.recordings if item.flicker is not None]
    if flickers:
        yield (
            'From one scored image to the next the scale of depth changes by '
            f'{sum(flickers) / len(flickers):.1%} on average beyond what is true.'
        )
    partial = [item for item in run.recordings if item.is_partial]
    if partial:
        yield (
            f'These numbers are partial: {len(partial)} of {len(run.recordings)} recordings could '
            'not be evaluated whole.'
        )


def _against_baseline(evaluation: Evaluation) -> Iterator[str]:
    mean, constant = evaluation.mean, evaluation.constant_mean
    if mean is None or constant is None:
        return
    what = 'the best constant depth' if evaluation.align == 'none' else 'a flat image'
    if mean.abs_rel < constant.abs_rel:
        less = 1.0 - mean.abs_rel / constant.abs_rel
        yield f'That is {less:.0%} less error than {what} (AbsRel {constant.abs_rel:.3f}).'
    else:
        yield (
            f'That is no better than {what} (AbsRel {constant.abs_rel:.3f}): on this data the '
            'model tells nothing of distance.'
        )


def _surroundings(evaluation: Evaluation) -> Iterator[str]:
    groups = {item.name: item.metrics.abs_rel for item in evaluation.by_group}
    few = {item.name for item in evaluation.by_group if item.pixels < _FEW_PIXELS}
    shown = [name for name in ('ground', 'obstacle', 'thin') if name in groups.keys() - few]
    if not shown:
        return
    yield (
        'AbsRel by what is seen: '
        + ', '.join(f'{name} {groups[name]:.3f}' for name in shown)
        + '.'
    )
    if {'ground', 'obstacle'} <= set(shown) and groups['obstacle'] > _WORSE * groups['ground']:
        yield (
            f'Obstacles are {groups["obstacle"] / groups["ground"]:.1f} times worse than the '
            'ground: the mean flatters it.'
        )


def _distances(evaluation: Evaluation) -> Iterator[str]:
    bins = [item for item in evaluation.by_distance if item.pixels >= _FEW_PIXELS]
    if not bins:
        return
    pixels = sum(item.pixels for item in bins)
    bias = sum(item.bias * item.pixels for item in bins) / pixels
    if abs(bias) > _BIASED:
        side = 'far' if bias > 0.0 else 'near'
        yield f'It sees things {abs(bias):.0%} too {side} on average.'
    worst = max(bins, key=lambda item: item.abs_rel)
    end = f'{worst.to_m:g} m' if worst.to_m < evaluation.protocol.max_depth_m else 'the end'
    yield f'Errors are largest from {worst.from_m:g} m to {end} (AbsRel {worst.abs_rel:.3f}).'


def _calibration(found: Calibrated, error: float) -> Iterator[str]:
    before = found.scored_before.calibration_error
    yield (
        f'Sigma was calibrated on {found.images} other images ({found.data}): on those scored '
        f'here the calibration error was {before:.3f} and is {error:.3f}.'
    )
    if error >= _MISSTATED:
        yield (
            'Calibration makes sigma larger or smaller by one law for all images; what is left '
            'comes from images on which the model errs in another way than on those it was '
            'calibrated on. More such images there, or training on them, would help.'
        )


def _confidence(run: Run) -> Iterator[str]:
    evaluation = run.evaluation
    if evaluation.uncertainty is None:
        return
    pooled = evaluation.uncertainty.pooled
    stated, observed = pooled.expected_within, pooled.observed_within
    if abs(stated - observed) < _MISSTATED:
        yield f'Its confidence comes true: {stated:.0%} stated, {observed:.0%} observed.'
    else:
        which = 'overconfident' if stated > observed else 'too cautious'
        yield f'Its confidence is {which}: {stated:.0%} stated, {observed:.0%} observed.'
    if run.calibrated is not None:
        yield from _calibration(run.calibrated, pooled.calibration_error)
    gain = evaluation.uncertainty.sparsification['abs_rel'].aurg
    if gain <= 0.0:
        yield f'Its sigma does not sort errors: removing uncertain pixels gains {gain:.4f} (AURG).'
