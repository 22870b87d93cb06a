# SPDX-License-Identifier: Apache-2.0
"""The report folder: report.json with everything, report.html to look at, plots and pictures."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np

from depth_core.errors import DataError, DepthError
from depth_core.evaluate.page import Pictures, render_page
from depth_core.evaluate.pictures import draw_panel
from depth_core.evaluate.plots import draw_plots
from depth_core.evaluate.provenance import ReportContext, environment
from depth_core.evaluate.run import Run
from depth_core.manifest import plain
from depth_core.metrics import GIVEN, ImageScore

JSON_NAME: Final = 'report.json'
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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.'):
            pass
    except OSError as error:
        raise DepthError(_cannot_write(folder, error)) from error


def write_report(folder: Path, run: Run, context: ReportContext) -> Path:
    """Write the report; `folder` is complete or as it was before.

    Args:
        folder: Where to; a former report there is replaced.
        run: The outcome.
        context: Where the numbers come from.

    Returns:
        The path of the HTML page.

    Raises:
        DataError: The folder holds something else.
        DepthError: It cannot be written, for instance because the disk is full.
    """
    check_output(folder)
    content = report_content(run, context)
    panels = tuple(draw_panel(panel, run.panel_scale) for panel in run.panels)
    worst = next(
        (jpeg for jpeg, panel in zip(panels, run.panels, strict=True) if panel is run.worst), None
    )
    if worst is None and run.worst is not None:
        worst = draw_panel(run.worst, run.panel_scale)
    pictures = Pictures(plots=draw_plots(run), panels=panels, worst=worst)
    files: dict[str, bytes] = {
        JSON_NAME: (json.dumps(content, indent=1, allow_nan=False) + '\n').encode(),
        HTML_NAME: render_page(content, run, context, pictures).encode(errors='backslashreplace'),
    }
    files |= {f'{name}.png': plot for name, plot in pictures.plots.items()}
    files |= {f'image_{index}.jpg': picture for index, picture in enumerate(pictures.panels)}
    if pictures.worst is not None:
        files['image_worst.jpg'] = pictures.worst
    _write_folder(folder, files)
    return folder / HTML_NAME


def report_content(run: Run, context: ReportContext) -> dict[str, Any]:
    """Everything the report says, as JSON can say it; what is not finite becomes null."""
    evaluation = run.evaluation
    inference_s = np.array(run.inference_s)
    content: dict[str, Any] = plain(
        {
            'format': 1,
            'created_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'command': context.command,
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
            'per_group': evaluation.by_group,
            'per_class': {
                'labels_from': run.labels_from,
                'mean': evaluation.class_mean,
                'classes': evaluation.by_class,
            },
            'uncertainty': evaluation.uncertainty,
            'timing': {
                'inference_median_s': float(np.median(inference_s)),
                'inference_p95_s': float(np.quantile(inference_s, 0.95)),
                'elapsed_s': run.elapsed_s,
            },
            'environment': environment(),
            'images': [_image(score) for score in run.scores],
        },
        not_finite=lambda _: None,
    )
    return content


def _image(score: ImageScore) -> dict[str, object]:
    return {
        'key': score.key,
        'pixels_with_ground_truth': score.targets,
        'coverage': score.predicted / score.targets if score.targets else None,
        'scale': score.scale,
        'shift': score.shift,
        'metrics': None if score.sums is None else score.sums.metrics(),
    }


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a new folder beside `folder`, then let it take its place."""
    fresh = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'.{folder.name}.'))
        for name, content in files.items():
            with (fresh / name).open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        former = fresh.with_name(f'{fresh.name}.former')
        if folder.exists():
            folder.rename(former)
        fresh.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise DepthError(_cannot_write(folder, error)) from error
    finally:
        if fresh is not None and fresh.exists():
            shutil.rmtree(fresh, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f'cannot write report {folder}: {error.strerror or error}. '
        'A former report is untouched; free space or choose another folder.'
    )
