# SPDX-License-Identifier: Apache-2.0
"""The report folder: report.json with everything, report.html to look at, plots and pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np

from depth_core.errors import DataError
from depth_core.evaluate.frames import FrameTable, as_parquet
from depth_core.evaluate.page import Pictures, render_page
from depth_core.evaluate.panels import Panel
from depth_core.evaluate.pictures import draw_panel
from depth_core.evaluate.plots import draw_plots
from depth_core.evaluate.provenance import ReportContext, environment
from depth_core.evaluate.published import published_results
from depth_core.evaluate.run import Recording, Run
from depth_core.evaluate.verdict import verdict
from depth_core.files import check_writable, replaced_folder
from depth_core.manifest import plain
from depth_core.metrics import GIVEN, Evaluation, ImageScore

JSON_NAME: Final = 'report.json'
"""Everything, with the machine and the times."""
METRICS_NAME: Final = 'metrics.json'
"""The numbers alone: equal in two runs, byte for byte."""
FRAMES_NAME: Final = 'frames.csv'
"""One row an image."""
PARQUET_NAME: Final = 'frames.parquet'
"""The same, on request."""
HTML_NAME: Final = 'report.html'


def check_output(folder: Path) -> None:
    """Refuse, before any work, a folder that a report must not replace or cannot be written to.

    Raises:
        DataError: It is a file, or a folder of something else than a report.
        DepthError: No folder can be made there.
    """
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / JSON_NAME).is_file()
    ):
        message = (
            f'output {folder} exists and is not a report of this command; '
            'it is left alone: choose another folder.'
        )
        raise DataError(message)
    check_writable(folder)


def write_report(folder: Path, run: Run, context: ReportContext, *, parquet: bool = False) -> Path:
    """Write the report; `folder` is complete or as it was before.

    Args:
        folder: Where to; a former report there is replaced.
        run: The outcome.
        context: Where the numbers come from.
        parquet: Write the table of images as Parquet too.

    Returns:
        The path of the HTML page.

    Raises:
        DataError: The folder holds something else.
        DepthError: It cannot be written, for instance because the disk is full.
    """
    check_output(folder)
    content = report_content(run, context)
    drawn = {id(panel): draw_panel(panel, run.panel_scale) for panel in _shown(run)}
    pictures = Pictures(
        plots=draw_plots(run),
        panels=tuple(drawn[id(panel)] for panel in run.panels),
        worst=None if run.worst is None else drawn[id(run.worst)],
        best=None if run.best is None else drawn[id(run.best)],
    )
    files: dict[str, bytes] = {
        JSON_NAME: _json(content),
        METRICS_NAME: _json(metrics_content(run, context)),
        FRAMES_NAME: _frames(run),
        HTML_NAME: render_page(content, run, context, pictures).encode(errors='backslashreplace'),
    }
    if parquet:
        files[PARQUET_NAME] = as_parquet(files[FRAMES_NAME])
    files |= {f'{name}.png': plot for name, plot in pictures.plots.items()}
    files |= {f'image_{index}.jpg': picture for index, picture in enumerate(pictures.panels)}
    for name, picture in (('worst', pictures.worst), ('best', pictures.best)):
        if picture is not None:
            files[f'image_{name}.jpg'] = picture
    with replaced_folder(folder) as fresh:
        for name, written in files.items():
            (fresh / name).write_bytes(written)
    return folder / HTML_NAME


def report_content(run: Run, context: ReportContext) -> dict[str, Any]:
    """Everything the report says, as JSON can say it; what is not finite becomes null."""
    inference_s = np.array(run.inference_s)
    content = metrics_content(run, context)
    content |= plain(
        {
            'created_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'command': context.command,
            'timing': {
                'inference_median_s': float(np.median(inference_s)),
                'inference_p95_s': float(np.quantile(inference_s, 0.95)),
                'elapsed_s': run.elapsed_s,
                'frames_per_s': len(inference_s) / run.elapsed_s if run.elapsed_s else None,
            },
            'environment': environment(),
        }
    )
    return content


def metrics_content(run: Run, context: ReportContext) -> dict[str, Any]:
    """What is the same in every run: model, data, protocol and numbers."""
    evaluation = run.evaluation
    content: dict[str, Any] = plain(
        {
            'format': 1,
            'verdict': verdict(run),
            'model': {
                'path': context.model,
                'sha256': context.model_sha256,
                'backend': run.backend,
                'manifest': context.manifest,
            },
            'data': {
                'dataset': context.dataset,
                'path': context.data,
                'split': context.split,
                'limit': context.limit,
                'options': context.options,
            },
            'protocol': evaluation.protocol,
            'align': evaluation.align,
            'flip_average': run.flip_average,
            'scale': {
                'camera_height_m': run.source.camera_height_m,
                'sparse_points': run.source.sparse_points,
                'states': run.scale_states,
            },
            **_numbers(evaluation),
            'per_class': {
                'labels_from': run.labels_from,
                'mean': evaluation.class_mean,
                'classes': evaluation.by_class,
            },
            'calibrated': run.calibrated,
            'published': published_results(
                str((context.manifest or {}).get('family', '')), evaluation.protocol
            ),
            'is_partial': any(item.is_partial for item in run.recordings),
            'recordings': [_recording(item) for item in run.recordings],
            'images': [_image(score) for score in run.scores],
        },
        not_finite=lambda _: None,
    )
    return content


def _numbers(evaluation: Evaluation) -> dict[str, object]:
    return {
        'counts': {
            'images': evaluation.images,
            'images_scored': evaluation.images_scored,
            'images_without_ground_truth': evaluation.images_without_ground_truth,
            'images_without_prediction': evaluation.images_without_prediction,
            'images_without_scale': evaluation.images_without_scale,
            'pixels_with_ground_truth': evaluation.pixels,
            'coverage': evaluation.coverage,
        },
        'metrics': {
            'headline': 'pooled' if evaluation.protocol.pooled else 'mean',
            'mean': evaluation.mean,
            'pooled': evaluation.pooled,
        },
        'baseline': {
            'constant_depth_m': evaluation.constant_depth_m,
            'aligned': evaluation.align not in ('none', *GIVEN),
            'mean': evaluation.constant_mean,
        },
        'by_distance': evaluation.by_distance,
        'by_region': evaluation.by_region,
        'per_group': evaluation.by_group,
        'boundary': evaluation.boundary,
        'uncertainty': evaluation.uncertainty,
        'temporal': {'flicker': evaluation.flicker, 'pairs': evaluation.flicker_pairs},
    }


def _recording(item: Recording) -> dict[str, object]:
    return {
        'path': item.path,
        'is_partial': item.is_partial,
        'parts': item.parts,
        'parts_done': item.parts_done,
        'error': item.error,
        'notes': item.notes,
        'flicker': item.flicker,
        **({} if item.evaluation is None else _numbers(item.evaluation)),
    }


def _shown(run: Run) -> list[Panel]:
    """Every panel of the report once."""
    ends = [panel for panel in (run.worst, run.best) if panel is not None]
    return list({id(panel): panel for panel in (*run.panels, *ends)}.values())


def _frames(run: Run) -> bytes:
    """The table of single images."""
    if run.frames is not None:
        return run.frames.read_bytes()
    file = io.StringIO()
    FrameTable(file).add_all(run.scores)
    return file.getvalue().encode(errors='backslashreplace')


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + '\n').encode()


def _image(score: ImageScore) -> dict[str, object]:
    return {
        'key': score.key,
        'pixels_with_ground_truth': score.targets,
        'coverage': score.predicted / score.targets if score.targets else None,
        'scale': score.scale,
        'shift': score.shift,
        'metrics': None if score.sums is None else score.sums.metrics(),
    }
