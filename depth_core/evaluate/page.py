# SPDX-License-Identifier: Apache-2.0
"""The HTML page of a report: one file, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from depth_core.evaluate.panels import Panel
from depth_core.evaluate.provenance import ReportContext
from depth_core.evaluate.run import Run
from depth_core.evaluate.tables import (
    calibration_table,
    cells,
    published_table,
    table,
    uncertainty_table,
)
from depth_core.metrics import (
    GIVEN,
    METRIC_NAMES,
    ClassMetrics,
    DepthMetrics,
    GroupMetrics,
)
from depth_core.names import printable_html

LABELS: Final = {
    'abs_rel': 'AbsRel',
    'sq_rel': 'SqRel, m',
    'rmse': 'RMSE, m',
    'rmse_log': 'RMSE log',
    'log10': 'log10',
    'silog': 'SILog',
    'a1': 'δ1',
    'a2': 'δ2',
    'a3': 'δ3',
}
"""Column titles of the metrics."""

_CAPTIONS: Final = {
    'error_by_distance': 'Relative error and bias by true depth, all scored pixels.',
    'error_by_image': 'AbsRel of each image, sorted, against a prediction that ignores the image.',
    'error_by_region': 'AbsRel by where in the image, all scored pixels.',
    'latency': 'Time inside the backend for each image.',
    'calibration': 'Does the stated confidence come true? On the diagonal it does.',
    'sparsification': 'Error of what remains when the least certain pixels are removed.',
}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #5c6773; --line: #d9dfe6;
  --back: #f5f7f9; --card: #ffffff; --accent: #2563ab; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --soft: #9aa5b1; --line: #333c46;
  --back: #14181d; --card: #1d232a; --accent: #6fa8e6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 32px 24px 64px; background: var(--back);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 12px; }
p { margin: 4px 0; } .soft { color: var(--soft); } code { font-size: 13px; word-break: break-all; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 20px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; overflow-x: auto; }
.tile b { display: block; font-size: 26px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr:last-child td { border-bottom: 0; }
tr.headline td { font-weight: 650; color: var(--accent); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 16px; }
figure { margin: 0 0 16px; background: #ffffff; color: #1c2530; border: 1px solid var(--line);
  border-radius: 10px; padding: 10px; } figure img { width: 100%; display: block; }
figcaption { font-size: 13px; color: #5c6773; padding: 4px 4px 0; }
details { margin: 12px 0; } pre { overflow-x: auto; font-size: 12px; }
"""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The encoded images of a page."""

    plots: Mapping[str, bytes]
    """PNG files by name."""
    panels: tuple[bytes, ...]
    """A JPEG file for each of `Run.panels`."""
    worst: bytes | None
    """A JPEG file of `Run.worst`."""
    best: bytes | None = None
    """A JPEG file of `Run.best`."""


def render_page(
    content: Mapping[str, Any], run: Run, context: ReportContext, pictures: Pictures
) -> str:
    """Render the page.

    Args:
        content: What report.json says.
        run: The outcome.
        context: Where the numbers come from.
        pictures: The images to embed.
    """
    evaluation = run.evaluation
    several = len(run.recordings) > 1
    data = f'{len(run.recordings)} recordings' if several else Path(context.data).name
    title = f'{Path(context.model).name} on {data}'
    protocol = evaluation.protocol
    rule = f'<b>{printable_html(protocol.name)}</b>: {printable_html(protocol.description)}'
    parts = [
        f'<h1>{printable_html(title)}</h1>',
        f'<p class="soft">{printable_html(content["created_utc"])} · protocol {rule}</p>',
        f'<p>{printable_html(describe_options(run))}</p>',
        _tiles(run),
        '<h2>Verdict</h2>',
        f'<ul>{"".join(f"<li>{printable_html(item)}</li>" for item in content["verdict"])}</ul>',
        '<h2>Depth</h2>',
        _metrics_table(run),
        f'<p class="soft">{printable_html(describe_counts(run))}</p>',
        published_table(run, context),
    ]
    if run.recordings:
        parts += ['<h2>Recordings</h2>', _recording_table(run)]
    if evaluation.by_group or evaluation.by_class:
        heading = 'By class' if evaluation.by_class else 'By what is seen'
        parts += [f'<h2>{heading}</h2>', _class_table(run), _group_note(run)]
        if run.labels_from is not None:
            source = f'Classes are those that the semantic network of {run.labels_from} predicts.'
            parts.append(f'<p class="soft">{printable_html(source)}</p>')
    if evaluation.uncertainty is not None:
        parts += ['<h2>Uncertainty</h2>', uncertainty_table(evaluation.uncertainty)]
        parts.append(calibration_table(run, evaluation.uncertainty))
    parts += ['<h2>Where the errors are</h2>', '<div class="plots">']
    parts += [figure(plot, 'png', _CAPTIONS[name]) for name, plot in pictures.plots.items()]
    parts += ['</div>', *(['<h2>Images</h2>'] if run.panels else [])]
    parts += [
        figure(picture, 'jpeg', _describe_panel(panel))
        for panel, picture in zip(run.panels, pictures.panels, strict=True)
    ]
    for heading, picture, panel in (
        ('Worst image', pictures.worst, run.worst),
        ('Best image', pictures.best, run.best),
    ):
        if picture is not None and panel is not None:
            parts += [f'<h2>{heading}</h2>', figure(picture, 'jpeg', _describe_panel(panel))]
    parts += [
        '<h2>How it was made</h2>',
        f'<p><code>{printable_html(context.command)}</code></p>',
        _details('Model', content['model']),
        _details('Data', content['data']),
        _details('Protocol', content['protocol']),
        _details('Machine', content['environment'] | content['timing']),
    ]
    return document(f'Depth evaluation: {title}', parts)


def document(title: str, parts: Sequence[str]) -> str:
    """Put the parts of a page together, with the style of reports."""
    body = '\n'.join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{printable_html(title)}</title>\n'
        f'<style>{_STYLE}</style>\n</head>\n'
        f'<body>\n{body}\n</body>\n</html>\n'
    )


def describe_options(run: Run) -> str:
    """One sentence on what was done to the predictions before scoring."""
    protocol = run.evaluation.protocol
    scale = {
        'none': 'Predictions are scored as they are, in metres',
        'median': "Each prediction is scaled to the median of its image's ground truth",
        'lower_median': "Each prediction is scaled to the lower median of its image's ground "
        'truth',
        'ground_plane': 'Each prediction is scaled by the ground seen in it and the height of the '
        f'camera, {run.source.camera_height_m} m',
        'sparse': f'Each prediction is scaled by {run.source.sparse_points} true depths of its '
        'image, which are not scored',
        'affine_inverse': 'Scale and shift of each inverse depth are fitted to its ground truth',
    }[run.evaluation.align]
    flip = {
        'none': 'one pass an image',
        'mean': 'averaged with the pass on the mirrored image',
        'blended': 'blended with the pass on the mirrored image, each border from one pass',
        'blended_inverse': 'inverse depth blended with that of the mirrored image, each border '
        'from one pass',
    }[run.flip_average]
    reduction = 'over all pixels of the set' if protocol.pooled else 'the mean over images'
    swapped = (
        ' AbsRel and SqRel are divided by the prediction, as the official script does.'
        if protocol.swapped
        else ''
    )
    return f'{scale}; {flip}. The headline is {reduction}.{swapped}'


def describe_counts(run: Run) -> str:
    """One sentence on what was scored and what was not."""
    evaluation = run.evaluation
    return (
        f'{evaluation.images} images: {evaluation.images_scored} scored, '
        f'{evaluation.images_without_ground_truth} without ground truth under this protocol, '
        f'{evaluation.images_without_prediction} without a usable prediction'
        f'{_describe_scales(run)}. '
        f'{evaluation.pixels} pixels with ground truth, {evaluation.coverage:.2%} of them '
        'predicted; the others are in no number.'
    )


def _describe_scales(run: Run) -> str:
    if not run.scale_states:
        return ''
    states = ', '.join(f'{count} {state}' for state, count in sorted(run.scale_states.items()))
    return f', {run.evaluation.images_without_scale} without a scale (scales: {states})'


def format_metrics(metrics: DepthMetrics) -> list[str]:
    """The nine numbers as text, in the order of `METRIC_NAMES`."""
    values = asdict(metrics)
    return [f'{values[name]:.2f}' if name == 'silog' else f'{values[name]:.3f}' for name in LABELS]


def describe_baseline(run: Run) -> str:
    """What the baseline row of the tables is."""
    if run.evaluation.align not in ('none', *GIVEN):
        return "each image's median"
    return f'constant {run.evaluation.constant_depth_m:.2f} m'


def _tiles(run: Run) -> str:
    evaluation = run.evaluation
    headline = evaluation.headline
    assert headline is not None  # noqa: S101  a run without scored images is refused
    shown = [
        (f'{headline.abs_rel:.3f}', 'AbsRel, 0 is best'),
        (f'{headline.rmse:.2f} m', 'RMSE'),
        (f'{headline.a1:.1%}', 'δ1: within a factor 1.25'),
        (f'{evaluation.coverage:.1%}', 'coverage'),
        (f'{evaluation.images_scored} / {evaluation.images}', 'images scored'),
    ]
    if evaluation.flicker is not None:
        shown.append((f'{evaluation.flicker:.1%}', 'flicker under the known motion'))
    if evaluation.uncertainty is not None:
        error = evaluation.uncertainty.pooled.calibration_error
        shown.append((f'{error:.3f}', 'calibration error, 0 is best'))
    tiles = (
        f'<div class="card tile"><b>{printable_html(value)}</b>'
        f'<span>{printable_html(name)}</span></div>'
        for value, name in shown
    )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _metrics_table(run: Run) -> str:
    evaluation = run.evaluation
    rows = [
        ('mean over images', evaluation.mean, not evaluation.protocol.pooled),
        ('all pixels pooled', evaluation.pooled, evaluation.protocol.pooled),
        (f'baseline: {describe_baseline(run)}', evaluation.constant_mean, False),
    ]
    body = ''.join(
        f'<tr class="{"headline" if headline else "other"}">'
        f'{cells([name, *format_metrics(metrics)])}</tr>'
        for name, metrics, headline in rows
        if metrics is not None
    )
    return table(['', *(LABELS[name] for name in METRIC_NAMES)], body)


def _class_table(run: Run) -> str:
    """Each group and class over all its pixels, and the mean of the classes."""
    evaluation = run.evaluation
    items: Sequence[GroupMetrics | ClassMetrics] = (*evaluation.by_group, *evaluation.by_class)
    rows = [
        [item.name, str(item.images), str(item.pixels), *format_metrics(item.metrics)]
        for item in items
    ]
    body = ''.join(f'<tr>{cells(row)}</tr>' for row in rows)
    if evaluation.class_mean is not None:
        mean = ['mean of the classes', '', '', *format_metrics(evaluation.class_mean)]
        body = f'<tr class="headline">{cells(mean)}</tr>{body}'
    return table(['', 'images', 'pixels', *(LABELS[name] for name in METRIC_NAMES)], body)


def _group_note(run: Run) -> str:
    """How the groups were found."""
    by_labels = run.labels_from is not None or bool(run.evaluation.by_class)
    text = (
        'Groups are those of the labels.'
        if by_labels
        else 'Without labels: ground and obstacle by the plane fitted to the truth (obstacles are '
        'more than 0.3 m above it), thin by both sides being farther.'
    )
    return f'<p class="soft">{text} Edge: neighbouring truths differ by more than 10 %.</p>'


def _recording_table(run: Run) -> str:
    rows = []
    for item in run.recordings:
        found = item.evaluation
        said = '; '.join(filter(None, (item.error, *item.notes)))
        state = 'partial' if item.is_partial else 'whole'
        if item.parts_done < item.parts:
            state += f', {item.parts_done} of {item.parts} parts'
        numbers = ['', '', '', '']
        if found is not None and found.headline is not None:
            numbers = [
                f'{found.images_scored} / {found.images}',
                f'{found.headline.abs_rel:.3f}',
                f'{found.headline.rmse:.2f}',
                f'{found.headline.a1:.3f}',
            ]
        flicker = '' if found is None or found.flicker is None else f'{found.flicker:.4f}'
        change = '' if item.flicker is None else f'{item.flicker:.4f}'
        rows.append([Path(item.path).name, state, *numbers, flicker, change, said])
    body = ''.join(f'<tr>{cells(row)}</tr>' for row in rows)
    titles = ['', 'state', 'images', 'AbsRel', 'RMSE, m', 'δ1', 'flicker', 'change of scale']
    note = (
        'Flicker: median change of depth between neighbouring images beyond the known motion; '
        'change of scale: of the mean of ln(prediction / truth), from image to image.'
    )
    return table([*titles, 'what was found'], body) + f'<p class="soft">{note}</p>'


def figure(content: bytes, kind: str, caption: str) -> str:
    """Embed an encoded image, `jpeg` or `png`, with its caption."""
    data = base64.b64encode(content).decode('ascii')
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" alt="{printable_html(caption)}">'
        f'<figcaption>{printable_html(caption)}</figcaption></figure>'
    )


def _describe_panel(panel: Panel) -> str:
    metrics = panel.sums.metrics()
    return (
        f'{panel.score.key}: AbsRel {metrics.abs_rel:.3f}, RMSE {metrics.rmse:.2f} m, '
        f'δ1 {metrics.a1:.3f}, {panel.score.targets} pixels with ground truth'
    )


def _details(title: str, content: object) -> str:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    summary = f'<summary>{printable_html(title)}</summary>'
    lines = '\n'.join(printable_html(line) for line in text.splitlines())
    return f'<details class="card">{summary}<pre>{lines}</pre></details>'
