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
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from depth_core.arguments import CommandParser, count, names, positive, whole
from depth_core.contracts import Intrinsics
from depth_core.data import DATASETS, DepthDataset, detect_dataset, open_dataset
from depth_core.data.registry import evaluation_options
from depth_core.errors import ConfigError, run_command
from depth_core.evaluate.calibrate import Chosen, calibrate, check_calibration, halves, look
from depth_core.evaluate.cameras import TakenWith
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
from depth_core.evaluate.run import Calibrated, Run, evaluate_dataset
from depth_core.evaluate.scaling import SPARSE_POINTS, ScaleSource
from depth_core.evaluate.scoring import PredictsClasses, Scorer
from depth_core.evaluate.verdict import verdict
from depth_core.files import read_unchanged, sha256_of
from depth_core.focal_options import add_assumed_option
from depth_core.geometry import intrinsics_from_focal, intrinsics_from_hfov
from depth_core.metrics import (
    ALIGNMENTS,
    METRIC_NAMES,
    PROTOCOLS,
    ImageScore,
    Protocol,
    find_protocol,
)
from depth_core.names import show_log
from depth_core.presets import MANIFEST_HELP
from depth_core.runtime import Precision, Predictor
from depth_core.runtime.backends import describe_backends
from depth_core.runtime.flip import FLIP_AVERAGES
from depth_core.shipped import MODEL_HELP, find_model
from depth_core.terminal import open_console

_SYNTHETIC: Final = 'synthetic'
_SYNTHETIC_IMAGES: Final = 100
_VIEW: Final = 'hfov_deg'
"""What data sets that are rendered call their field of view."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    show_log(logging.INFO)
    protocol = find_protocol(
        options.protocol, min_depth_m=options.min_depth_m, max_depth_m=options.max_depth_m
    )
    check_output(options.output)
    if options.parquet:
        check_parquet()
    model = find_model(options.model)
    if options.calibrate is not None:
        check_calibration(model, options.calibrate)
    dataset, name = _open_data(options)
    with read_unchanged(model):
        model_sha256 = sha256_of(model)
        predictor = _opened(model, options)
    calibrated = None
    if options.calibrate is not None:
        dataset, calibrated = _calibrate(model, predictor, dataset, protocol, options)
        model = options.calibrate
        with read_unchanged(model):
            model_sha256 = sha256_of(model)
            predictor = _opened(model, argparse.Namespace(**vars(options) | {'manifest': None}))
    run = replace(_evaluate(predictor, dataset, protocol, options), calibrated=calibrated)
    context = ReportContext(
        command=shlex.join(['python', '-m', 'depth_core.evaluate', *given]),
        model=str(model),
        model_sha256=model_sha256,
        manifest=json.loads(predictor.manifest.to_json()),
        dataset=name,
        data=str(options.data),
        split=None if options.split is None else str(options.split),
        limit=options.limit,
        options=_data_options(options)
        | ({} if options.focal_px is None else {'focal_px': options.focal_px})
        | {'precision': options.precision},
    )
    page = write_report(options.output, run, context, parquet=options.parquet)
    _print_table(run, page)


def _opened(model: Path, options: argparse.Namespace) -> Predictor:
    return Predictor.open(
        model,
        manifest=options.manifest,
        backend=options.backend,
        precision=options.precision,
        assumed_hfov_deg=options.assumed_hfov_deg,
    )


def _calibrate(
    model: Path,
    predictor: Predictor,
    dataset: DepthDataset,
    protocol: Protocol,
    options: argparse.Namespace,
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
        opened, _ = _open_data(argparse.Namespace(**other))
        limited = choose_indices(len(opened), options.limit)
        held_out, scored = Chosen(opened, limited), Chosen(dataset, chosen)
        words = f'{other["data"]}' + (f', {other["split"]}' if other['split'] else '')
    before = _evaluate(predictor, scored, protocol, options).evaluation.uncertainty
    if before is None:
        message = f'{model} gives no sigma to calibrate; leave --calibrate out.'
        raise ConfigError(message)
    source = ScaleSource(
        align=options.align,
        camera_height_m=options.camera_height_m,
        sparse_points=options.sparse_points,
    )
    scorer = Scorer(predictor, protocol, source=source, flip_average=options.flip_average)
    found = calibrate(
        model,
        options.calibrate,
        look(scorer, held_out),
        data=words,
        images=len(held_out),
        before=before.pooled,
        manifest=None if options.manifest is None else predictor.manifest,
    )
    return scored, found


def _evaluate(
    predictor: Predictor, dataset: DepthDataset, protocol: Protocol, options: argparse.Namespace
) -> Run:
    """Score the data set, with a bar of progress on a terminal."""
    console = open_console(stderr=True)
    with Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
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


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is unknown (the nearest is named), missing or malformed.
    """
    return _parser().parse_command(arguments)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.evaluate',
        description='Evaluate a depth model and write a report folder. Depths are metres.',
        epilog='protocols:\n'
        + '\n'.join(f'  {item.name:24} {item.description}' for item in PROTOCOLS.values()),
    )
    group = parser.add_argument_group('model')
    add = group.add_mutually_exclusive_group(required=True).add_argument
    add('--model', help=MODEL_HELP)
    add('--checkpoint', dest='model', help='checkpoint of this package (.ckpt)')
    add('--onnx', dest='model', help='ONNX file with its manifest')
    add = group.add_argument
    add('--manifest', metavar='FILE|NAME', help=MANIFEST_HELP)
    add('--backend', type=names, help=f'the first that can run it is used: {describe_backends()}')
    add('--precision', default='fp32', choices=get_args(Precision), help='computed in')
    add_assumed_option(add)
    _add_data(parser)
    _add_scoring(parser)
    _add_calibration(parser)
    add = parser.add_argument_group('report').add_argument
    add('--output', type=Path, required=True, help='report folder; a former report is replaced')
    add('--pictures', type=whole, default=6, help='scored images to show in the report')
    add('--parquet', action='store_true', help='write frames.parquet too, beside frames.csv')
    return parser


def _add_data(parser: CommandParser) -> None:
    add = parser.add_argument_group('data').add_argument
    add('--data', required=True, help="folder or bag, or the word 'synthetic'")
    add('--dataset', default='auto', choices=('auto', *DATASETS), help='what it is; auto looks')
    add('--split', type=Path, help='list of the samples to take')
    add('--limit', type=count, help='take this many images, evenly spaced; for synthetic how many')
    add('--height', type=count, help='resize images to this height, pixels; native when left out')
    add('--width', type=count, help='resize images to this width, pixels; native when left out')
    add('--focal_px', type=positive, help='focal length of the camera of all images, pixels')
    for name, option in evaluation_options().items():
        others = '; others: of the camera of all images' if name == _VIEW else ''
        add(f'--{name}', type=option.kind, help=option.help + others)


def _add_scoring(parser: CommandParser) -> None:
    add = parser.add_argument_group('scoring').add_argument
    add('--protocol', required=True, help='which pixels are scored, see below')
    add('--min_depth_m', type=float, help="smallest depth scored, protocol 'none' only, metres")
    add('--max_depth_m', type=float, help="largest depth scored, protocol 'none' only, metres")
    add(
        '--align',
        default='none',
        choices=ALIGNMENTS,
        help='before scoring an image: nothing; scale it to the median of its ground truth '
        '(lower_median as packnet-sfm), by the ground seen in it (ground_plane), or by some true '
        'depths (sparse); or fit scale and shift of inverse depth',
    )
    add('--camera_height_m', type=positive, help='ground_plane: height of the camera, metres')
    add('--sparse_points', type=count, default=SPARSE_POINTS, help='sparse: true depths an image')
    add(
        '--flip_average',
        nargs='?',
        const='mean',
        default='none',
        choices=FLIP_AVERAGES,
        help='average with the mirrored image: mean of depths (when no value is given), blended '
        'towards each side, or blended_inverse, the same of inverse depths, by which networks '
        'trained without depth are scored',
    )
    add(
        '--semantic_weights',
        type=Path,
        help='checkpoint (.ckpt) of a guided network, or of depth_core.train.semantic: metrics by '
        'class then go by the classes it predicts, not by labels of the data',
    )


def _add_calibration(parser: CommandParser) -> None:
    add = parser.add_argument_group('calibration of sigma').add_argument
    add(
        '--calibrate',
        type=Path,
        metavar='FILE',
        help='write a copy of the model (.onnx or .ckpt, as it is) whose stated confidence comes '
        'true on held-out images, and score that; the first half of the data is held out, the '
        'second scored, unless other images are given',
    )
    add('--calibrate_data', help='images to calibrate on, of the same kind; --data when left out')
    add('--calibrate_split', type=Path, help='list of the images to calibrate on')


def _open_data(options: argparse.Namespace) -> tuple[DepthDataset, str]:
    name = options.dataset
    if name == 'auto':
        name = detect_dataset(Path(options.data))
    stated = [options.focal_px, None if _chooses_view(name) else options.hfov_deg]
    if None not in stated:
        message = '--focal_px and --hfov_deg say the same of a camera; give one of them.'
        raise ConfigError(message)
    dataset = _open(name, options)
    if stated == [None, None]:
        return dataset, name
    return TakenWith(dataset, partial(_camera, options)), name


def _chooses_view(name: str) -> bool:
    """Whether the images of a data set are made with the field of view that is asked for."""
    return _VIEW in DATASETS[name].options


def _camera(options: argparse.Namespace, height: int, width: int) -> Intrinsics:
    """The camera that the options state."""
    if options.focal_px is not None:
        return intrinsics_from_focal(options.focal_px, height=height, width=width)
    return intrinsics_from_hfov(float(options.hfov_deg), height=height, width=width)


def _open(name: str, options: argparse.Namespace) -> DepthDataset:
    data_options = _data_options(options)
    if not _chooses_view(name):
        data_options.pop(_VIEW, None)
    if name == _SYNTHETIC:
        data_options = {
            'seed': 1_000_000,
            'height': 480,
            'width': 640,
            'length': options.limit or _SYNTHETIC_IMAGES,
        } | data_options
        return open_dataset(name, split=options.split, **data_options)
    return open_dataset(name, root=options.data, split=options.split, **data_options)


def _labels(weights: Path | None) -> PredictsClasses | None:
    if weights is None:
        return None
    from depth_core.evaluate.labels import PredictedLabels  # noqa: PLC0415  needs training extras

    return PredictedLabels(weights)


def _data_options(options: argparse.Namespace) -> dict[str, Any]:
    """What goes to the data set as it is; it refuses an option that it does not take."""
    values = {name: getattr(options, name) for name in ('height', 'width', *evaluation_options())}
    return {name: value for name, value in values.items() if value is not None}


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
