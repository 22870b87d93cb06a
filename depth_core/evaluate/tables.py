# SPDX-License-Identifier: Apache-2.0
"""Tables of the report page: what authors published, what sigma is worth, what calibration did."""

from __future__ import annotations

from collections.abc import Iterable

from depth_core.evaluate.provenance import ReportContext
from depth_core.evaluate.published import published_results
from depth_core.evaluate.run import Run
from depth_core.metrics import UncertaintyResult
from depth_core.names import printable_html


def published_table(run: Run, context: ReportContext) -> str:
    """Ours beside what the authors of the family published on such data; empty without any."""
    rows = published_results(
        str((context.manifest or {}).get('family', '')), run.evaluation.protocol
    )
    ours = run.evaluation.headline
    if not rows or ours is None:
        return ''
    images = run.evaluation.images_scored
    lines = [
        (
            context.model,
            f'{context.data}, {images} images',
            ours.abs_rel,
            ours.rmse,
            ours.a1,
            'here',
        ),
        *((row.network, row.data, row.abs_rel, row.rmse, row.a1, row.source) for row in rows),
    ]
    body = ''.join(
        f'<tr class="{"headline" if place == 0 else "other"}">'
        + cells([name, data, f'{abs_rel:.3f}', f'{rmse:.3f}', f'{a1:.3f}', source])
        + '</tr>'
        for place, (name, data, abs_rel, rmse, a1, source) in enumerate(lines)
    )
    note = (
        'Published numbers are of the whole test set and of the networks of the papers; they are '
        'comparable with ours as far as images, truth and protocol are the same.'
    )
    titles = ['published beside ours', 'data', 'AbsRel', 'RMSE, m', 'δ1', 'source']
    return table(titles, body) + f'<p class="soft">{note}</p>'


def uncertainty_table(uncertainty: UncertaintyResult) -> str:
    """Calibration and sparsification in numbers."""
    pooled = uncertainty.pooled
    curves = uncertainty.sparsification
    calibration = [
        ('stated to be within a factor 1.25', f'{pooled.expected_within:.3f}'),
        ('really within it', f'{pooled.observed_within:.3f}'),
        ('calibration error, pooled', f'{pooled.calibration_error:.3f}'),
        ('calibration error, mean over images', f'{uncertainty.calibration_error:.3f}'),
        ('Laplace NLL, pooled', f'{pooled.nll:.3f}'),
        ('Laplace NLL, mean over images', f'{uncertainty.nll:.3f}'),
    ]
    first = ''.join(f'<tr>{cells(row)}</tr>' for row in calibration)
    second = ''.join(
        f'<tr>{cells([name, f"{curve.ause:.4f}", f"{curve.aurg:.4f}"])}</tr>'
        for name, curve in curves.items()
    )
    return (
        f'<div class="plots">{table(["calibration", ""], first)}'
        f'{table(["sparsification of", "AUSE (0 is best)", "AURG (above 0)"], second)}</div>'
    )


def calibration_table(run: Run, uncertainty: UncertaintyResult) -> str:
    """What calibration changed, on the images of the fit and on those that are scored."""
    found = run.calibrated
    if found is None:
        return ''
    rows = [
        (f'fitted on: {found.data}, {found.images} images, before', found.fitted_before),
        ('the same, after', found.fitted_after),
        ('scored here, before', found.scored_before),
        ('scored here, after', uncertainty.pooled),
    ]
    body = ''.join(
        f'<tr class="{"headline" if name == rows[-1][0] else "other"}">'
        + cells(
            [
                name,
                f'{metrics.expected_within:.3f}',
                f'{metrics.observed_within:.3f}',
                f'{metrics.calibration_error:.3f}',
            ]
        )
        + '</tr>'
        for name, metrics in rows
    )
    law = f'sigma / depth became {found.factor:.3g} (sigma / depth) ^ {found.power:.3g}'
    return (
        f'<p class="soft">{printable_html(law)}, written to {printable_html(found.output)}.</p>'
        + table(['calibration', 'stated within 1.25', 'observed', 'calibration error'], body)
    )


def table(titles: Iterable[str], body: str) -> str:
    """A table whose rows are given as HTML."""
    head = ''.join(f'<th>{printable_html(title)}</th>' for title in titles)
    return f'<div class="card"><table><tr>{head}</tr>{body}</table></div>'


def cells(values: Iterable[str]) -> str:
    """The cells of a row, as text."""
    return ''.join(f'<td>{printable_html(value)}</td>' for value in values)
