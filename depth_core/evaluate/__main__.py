# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.evaluate`."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from depth_core.data import DepthDataset
from depth_core.data.remarks import lost_of
from depth_core.errors import ConfigError, run_command
from depth_core.evaluate.arguments import data_options, open_data, open_model, parse, scale_source
from depth_core.evaluate.calibrate import Chosen, calibrate, check_calibration, halves, look
from depth_core.evaluate.frames import check_parquet
from depth_core.evaluate.page import (
    LABELS,
    describe_baseline,
    describe_counts,
    describe_options,
    format_metrics,
)
from depth_core.evaluate.panels import choose_indices
from depth_core.evaluate.provenance import ReportContext
from depth_core.evaluate.report import check_output, write_report
from depth_core.evaluate.run import Calibrated, Recording, Run, check_whole, evaluate_dataset
from depth_core.evaluate.scoring import PredictsClasses, Scorer
from depth_core.evaluate.verdict import verdict
from depth_core.files import FileState, read_unchanged, sha256_of, state_of
from depth_core.metrics import (
    METRIC_NAMES,
    ImageScore,
    Protocol,
    find_protocol,
)
from depth_core.names import show_log
from depth_core.runtime import Predictor
from depth_core.shipped import find_model
from depth_core.terminal import open_console, progress_bar


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    show_log(logging.INFO)
    run, page = evaluate(options, given)
    _print_table(run, page)
    check_whole(run, 'What its recording lost is said above.')


def evaluate(options: argparse.Namespace, given: Sequence[str]) -> tuple[Run, Path]:
    """Score a model and write the report.

    Args:
        options: From `parse`.
        given: What they were read from, which the report states.

    Returns:
        The outcome, and the page of the report.

    Raises:
        DepthError: An option, the model or the data cannot be used, or nothing can be written.
    """
    protocol = find_protocol(
        options.protocol, min_depth_m=options.min_depth_m, max_depth_m=options.max_depth_m
    )
    check_output(options.output)
    if options.parquet:
        check_parquet()
    model = find_model(options.model)
    if options.calibrate is not None:
        check_calibration(model, options.calibrate)
    dataset, name = open_data(options)
    state = state_of(model)
    with read_unchanged(model, state):
        model_sha256 = sha256_of(model)
        predictor = open_model(model, options)
    calibrated = None
    if options.calibrate is not None:
        dataset, calibrated = _calibrate(model, predictor, dataset, protocol, options, state=state)
        model = options.calibrate
        with read_unchanged(model):
            model_sha256 = sha256_of(model)
            predictor = open_model(model, argparse.Namespace(**vars(options) | {'manifest': None}))
    run = _evaluate(predictor, dataset, protocol, options)
    lost = lost_of(dataset)
    if lost is not None:
        run = replace(run, recordings=(_partial(str(options.data), run, lost),))
    run = replace(run, calibrated=calibrated)
    context = ReportContext(
        command=shlex.join(['python', '-m', 'depth_core.evaluate', *given]),
        model=str(model),
        model_sha256=model_sha256,
        manifest=json.loads(predictor.manifest.to_json()),
        dataset=name,
        data=str(options.data),
        split=None if options.split is None else str(options.split),
        limit=options.limit,
        options=data_options(options)
        | ({} if options.focal_px is None else {'focal_px': options.focal_px})
        | {'precision': options.precision},
    )
    return run, write_report(options.output, run, context, parquet=options.parquet)


def _partial(path: str, run: Run, lost: str) -> Recording:
    """The one recording that was scored, marked as a part of itself."""
    return Recording(
        path=path, evaluation=run.evaluation, flicker=None, parts=1, parts_done=1, error=lost
    )


def _calibrate(
    model: Path,
    predictor: Predictor,
    dataset: DepthDataset,
    protocol: Protocol,
    options: argparse.Namespace,
    *,
    state: FileState | None,
) -> tuple[DepthDataset, Calibrated]:
    """Write the model with a calibrated sigma; return the images that are left to be scored."""
    chosen = choose_indices(len(dataset), options.limit)
    if options.calibrate_data is None and options.calibrate_split is None:
        held_out, scored = halves(dataset, chosen)
        words = f'the first half of {options.data}'
    else:
        other = vars(options) | {
            'data': options.calibrate_data or options.data,
            'split': options.calibrate_split,
        }
        opened, _ = open_data(argparse.Namespace(**other))
        limited = choose_indices(len(opened), options.limit)
        held_out, scored = Chosen(opened, limited), Chosen(dataset, chosen)
        words = f'{other["data"]}' + (f', {other["split"]}' if other['split'] else '')
    before = _evaluate(predictor, scored, protocol, options).evaluation.uncertainty
    if before is None:
        message = f'{model} gives no sigma to calibrate; leave --calibrate out.'
        raise ConfigError(message)
    scorer = Scorer(
        predictor, protocol, source=scale_source(options), flip_average=options.flip_average
    )
    found = calibrate(
        model,
        options.calibrate,
        look(scorer, held_out),
        data=words,
        images=len(held_out),
        before=before.pooled,
        manifest=None if options.manifest is None else predictor.manifest,
        state=state,
    )
    return scored, found


def _evaluate(
    predictor: Predictor, dataset: DepthDataset, protocol: Protocol, options: argparse.Namespace
) -> Run:
    """Score the data set, with a bar of progress on a terminal."""
    with progress_bar() as progress:
        total = len(choose_indices(len(dataset), options.limit))
        task = progress.add_task('evaluating', total=total)

        def count_image(_: ImageScore) -> None:
            progress.advance(task)

        return evaluate_dataset(
            predictor,
            dataset,
            protocol=protocol,
            align=options.align,
            flip_average=options.flip_average,
            camera_height_m=options.camera_height_m,
            sparse_points=options.sparse_points,
            labels=_labels(options.semantic_weights),
            limit=options.limit,
            panels=options.pictures,
            on_image=count_image,
        )


def _labels(weights: Path | None) -> PredictsClasses | None:
    if weights is None:
        return None
    from depth_core.evaluate.labels import PredictedLabels  # noqa: PLC0415  needs training extras

    return PredictedLabels(weights)


def _print_table(run: Run, page: Path) -> None:
    evaluation = run.evaluation
    table = Table(title=f'{evaluation.protocol.name}: {evaluation.protocol.description}')
    table.add_column('')
    columns = []
    for title, metrics in (
        ('mean over images', evaluation.mean),
        ('pooled', evaluation.pooled),
        (describe_baseline(run), evaluation.constant_mean),
    ):
        if metrics is not None:
            table.add_column(title, justify='right')
            columns.append(format_metrics(metrics))
    for name, *values in zip(METRIC_NAMES, *columns, strict=True):
        table.add_row(LABELS[name], *values)
    console = open_console()
    console.print(table)
    lines = [describe_options(run), describe_counts(run)]
    if evaluation.class_mean is not None:
        each = ', '.join(f'{item.name} {item.metrics.abs_rel:.3f}' for item in evaluation.by_class)
        source = '' if run.labels_from is None else f', as predicted by {run.labels_from}'
        mean = evaluation.class_mean.abs_rel
        lines.append(f'AbsRel by class{source}: mean {mean:.3f} ({each}).')
    lines += verdict(run)
    if evaluation.uncertainty is not None:
        pooled = evaluation.uncertainty.pooled
        curve = evaluation.uncertainty.sparsification['abs_rel']
        lines.append(
            f'Uncertainty: within a factor 1.25 stated {pooled.expected_within:.3f}, observed '
            f'{pooled.observed_within:.3f}; AUSE {curve.ause:.4f}, AURG {curve.aurg:.4f} (AbsRel).'
        )
    lines.append(f'Report: {page}')
    for line in lines:
        console.print(line, soft_wrap=True)


if __name__ == '__main__':
    run_command(main)
