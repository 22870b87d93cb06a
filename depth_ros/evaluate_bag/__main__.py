# SPDX-License-Identifier: Apache-2.0
"""Score a model on recordings, by their lidar or depth images: `ros2 run depth_ros evaluate_bag`.

The recordings are read in code, with the predictor, the decoding and the fit of camera_info that
the node has; no ROS is needed. `--through_ros` asks the live node instead.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from depth_core.arguments import CommandParser, count, names, not_negative, positive, whole
from depth_core.errors import ConfigError, run_command
from depth_core.evaluate import ReportContext, check_output, write_report
from depth_core.evaluate.bags import BagRequest, evaluate_bags
from depth_core.evaluate.bags.executors import Execute, in_processes, in_this_process
from depth_core.evaluate.bags.part import open_model
from depth_core.evaluate.bags.ray_cluster import on_ray
from depth_core.evaluate.bags.request import PART_FRAMES
from depth_core.evaluate.frames import check_parquet
from depth_core.evaluate.run import Run, check_whole
from depth_core.evaluate.scaling import SPARSE_POINTS
from depth_core.evaluate.verdict import verdict
from depth_core.files import scratch_folder
from depth_core.metrics import ALIGNMENTS, PROTOCOLS, find_protocol
from depth_core.names import show_log
from depth_core.presets import MANIFEST_HELP
from depth_core.runtime import Precision
from depth_core.runtime.flip import FLIP_AVERAGES
from depth_core.shipped import MODEL_HELP, find_model
from depth_core.terminal import open_console, progress_bar
from depth_ros.evaluate_bag.record import check_record, mcap_file, recorded

_DATA: Final = (
    'image_topic', 'camera_info_topic', 'cloud_topic', 'depth_topic', 'depth_unit_m',
    'max_offset_s', 'rectified',
)  # fmt: skip
"""Options of `BagDataset`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_command(given)
    show_log(logging.WARNING)
    check_output(options.output)
    check_record(options.record)
    if options.parquet:
        check_parquet()
    request = _request(options)
    with contextlib.ExitStack() as stack:
        kept, execute = _running(options, stack)
        run = _evaluate(options, request, kept, execute)
        page = write_report(
            options.output, run, _context(given, options, request), parquet=options.parquet
        )
    console = open_console()
    for line in (*_notes(run), *verdict(run), f'Report: {page}'):
        console.print(line, soft_wrap=True)
    check_whole(run, 'Mend them and run again: what is done is kept.')


def _running(options: Namespace, stack: contextlib.ExitStack) -> tuple[Path, Execute]:
    """Where results of parts are kept, and where parts are evaluated.

    Raises:
        ConfigError: Options contradict each other, or a package is not installed.
    """
    if options.record or options.rerun:  # every image is predicted, whatever is kept
        execute = _watched(options, stack)
        return stack.enter_context(scratch_folder('evaluate_bag')), execute
    kept = options.output.with_name(f'{options.output.name}.parts')
    if options.through_ros:
        kept /= 'through_ros'
    return kept, _executor(options, kept)


def _evaluate(options: Namespace, request: BagRequest, kept: Path, execute: Execute) -> Run:
    """Evaluate with a bar of progress on a terminal."""
    with progress_bar() as progress:
        task = progress.add_task('parts', total=None)
        return evaluate_bags(
            options.bags,
            request,
            kept=kept,
            execute=execute,
            pictures=options.pictures,
            on_part=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _executor(options: Namespace, kept: Path) -> Execute:
    """Where parts are evaluated.

    Raises:
        ConfigError: Options contradict each other, or a package is not installed.
    """
    if options.through_ros:
        if options.workers > 1 or options.executor != 'pool':
            message = '--through_ros asks one live node; leave out --workers and --executor.'
            raise ConfigError(message)
        return _through_ros(kept)
    if options.executor == 'ray':
        return on_ray(options.workers, options.ray_address)
    return in_this_process if options.workers == 1 else in_processes(options.workers)


def _watched(options: Namespace, stack: contextlib.ExitStack) -> Execute:
    """Evaluate here, and write every scored image to the files asked for.

    Raises:
        ConfigError: Options contradict each other, or a package is not installed.
    """
    if options.through_ros or options.workers > 1 or options.executor != 'pool':
        message = (
            '--record and --rerun write what this process computes; leave out --through_ros, '
            '--workers and --executor.'
        )
        raise ConfigError(message)
    adds = list(stack.enter_context(mcap_file(options.record)))
    if options.rerun is not None:
        from depth_ros.evaluate_bag.rerun import rerun_adds  # noqa: PLC0415  needs ROS messages, rerun

        adds.append(stack.enter_context(rerun_adds(options.rerun)))
    return recorded(adds)


def _through_ros(folder: Path) -> Execute:
    try:
        from depth_ros.evaluate_bag.through_ros import through_node  # noqa: PLC0415  needs ROS
    except ImportError as error:
        message = f'--through_ros needs ROS 2 with rclpy ({error}); source its setup file.'
        raise ConfigError(message) from error
    return through_node(folder)


def _request(options: Namespace) -> BagRequest:
    data = {name: getattr(options, name) for name in _DATA}
    if data['rectified'] is not None:
        data['rectified'] = data['rectified'] == 'yes'
    return BagRequest(
        model=find_model(options.model),
        protocol=find_protocol(
            options.protocol, min_depth_m=options.min_depth_m, max_depth_m=options.max_depth_m
        ),
        manifest=options.manifest,
        backend=options.backend,
        precision=options.precision,
        assumed_hfov_deg=options.assumed_hfov_deg,
        threads=options.threads,
        align=options.align,
        flip_average=options.flip_average,
        camera_height_m=options.camera_height_m,
        sparse_points=options.sparse_points,
        data=tuple((name, value) for name, value in data.items() if value is not None),
        part_frames=options.part_frames,
    )


def _context(given: Sequence[str], options: Namespace, request: BagRequest) -> ReportContext:
    return ReportContext(
        command=shlex.join(['python', '-m', 'depth_ros.evaluate_bag', *given]),
        model=str(request.model),
        model_sha256=request.model_sha256,
        manifest=json.loads(open_model(request).manifest.to_json()),
        dataset='bag',
        data=', '.join(str(path) for path in options.bags),
        split=None,
        limit=None,
        options=dict(request.data)
        | {'precision': request.precision, 'threads': request.threads}
        | {'part_frames': request.part_frames},
    )


def _notes(run: Run) -> list[str]:
    """What was found wrong in recordings, one line each."""
    return [
        f'{item.path}: {said}'
        for item in run.recordings
        for said in (*item.notes, *([] if item.error is None else [item.error]))
    ]


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_ros.evaluate_bag',
        description='Evaluate a depth model on recordings and write a report folder. Depths are '
        'metres. Results of parts are kept beside it, in OUTPUT.parts: run again to go on.',
        epilog='protocols:\n'
        + '\n'.join(f'  {item.name:24} {item.description}' for item in PROTOCOLS.values()),
    )
    parser.add_argument('bags', nargs='+', type=Path, help='bag folders or files, ROS 2 or 1')
    add = parser.add_argument_group('model').add_argument
    add('--model', required=True, help=MODEL_HELP)
    add('--manifest', metavar='FILE|NAME', help=MANIFEST_HELP)
    add('--backend', type=names, help='the first that can run it is used')
    add('--precision', default='fp32', choices=get_args(Precision), help='computed in')
    add('--assumed_hfov_deg', type=positive, help='field of view where camera_info has none')
    _add_topics(parser)
    _add_scoring(parser)
    _add_running(parser)
    return parser


def _add_topics(parser: CommandParser) -> None:
    add = parser.add_argument_group('topics').add_argument
    add('--image_topic', help='images; the only camera of the bag when left out')
    add('--camera_info_topic', help='calibration; that beside the images when left out')
    add('--cloud_topic', help='lidar that is projected through tf')
    add('--depth_topic', help='true depth of the pixels of the camera, in place of lidar')
    add('--depth_unit_m', type=positive, help='metres in one unit of it; by REP-118 if left out')
    add('--max_offset_s', type=not_negative, help='most time between image and truth; 0.05 s')
    add('--rectified', choices=('yes', 'no'), help='images are; by topic and distortion if not')


def _add_scoring(parser: CommandParser) -> None:
    add = parser.add_argument_group('scoring').add_argument
    add('--protocol', required=True, help='which pixels are scored, see below')
    add('--min_depth_m', type=positive, help="smallest depth scored, protocol 'none' only, metres")
    add('--max_depth_m', type=positive, help="largest depth scored, protocol 'none' only, metres")
    add('--align', default='none', choices=ALIGNMENTS, help='how a prediction becomes metres')
    add('--camera_height_m', type=positive, help='ground_plane: height of the camera, metres')
    add('--sparse_points', type=count, default=SPARSE_POINTS, help='sparse: true depths an image')
    add('--flip_average', default='none', choices=FLIP_AVERAGES, help='second pass, mirrored')


def _add_running(parser: CommandParser) -> None:
    add = parser.add_argument_group('running').add_argument
    add('--output', type=Path, required=True, help='report folder; a former report is replaced')
    add('--pictures', type=whole, default=6, help='scored images to show in the report')
    add('--parquet', action='store_true', help='write frames.parquet too, beside frames.csv')
    add('--workers', type=count, default=1, help='processes; the numbers do not depend on it')
    add('--threads', type=count, default=1, help='CPU threads of the network in each process')
    add('--executor', default='pool', choices=('pool', 'ray'), help='processes here, or Ray')
    add('--ray_address', help='running Ray cluster, host:port; one is started here if left out')
    add('--through_ros', action='store_true', help='ask the live node over DDS, every image')
    add('--record', type=Path, metavar='FILE', help='also write all scored images (.mcap)')
    add('--rerun', type=Path, metavar='FILE', help='the same for the Rerun viewer (.rrd)')
    add('--part_frames', type=count, default=PART_FRAMES, help='images of a part that is kept')


if __name__ == '__main__':
    run_command(main)
