# SPDX-License-Identifier: Apache-2.0
"""Turn a drive of KITTI raw or a sequence of KITTI odometry into a rosbag2.

Topics are /kitti/camera_*/image_rect (image_raw of unsynchronised drives) with camera_info,
/kitti/velo/points, /kitti/oxts/*, /kitti/odometry, /tf, /tf_static, and true depth as
/kitti/camera_*/velodyne_depth/image_rect and annotated_depth/image_rect. An interrupted
conversion goes on when the same command is run again.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from depth_core.arguments import CommandParser, count
from depth_core.data.bag.writing import STORAGES
from depth_core.data.kitti.recording import open_recording
from depth_core.data.kitti.rig import CAMERAS
from depth_core.errors import run_command
from depth_core.names import printable, show_log
from depth_core.processes import terminated_cleanly
from depth_core.terminal import progress_bar
from depth_ros.arguments import without_ros_arguments
from depth_ros.kitti_to_bag.conversion import IMAGES, TRUTHS, Settings, convert, plan, unasked

_LOG = logging.getLogger(__name__)
_FRAMES = re.compile(r'(\d{1,10})(?:-(\d{1,10}))?', re.ASCII)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = without_ros_arguments(sys.argv[1:] if arguments is None else list(arguments))
    options = _parser().parse_command(given)
    show_log(logging.INFO)
    settings = Settings(
        cameras=None if options.cameras is None else tuple(options.cameras),
        frames=None if options.frames is None else tuple(options.frames),
        images=options.images,
        truth=tuple(kind for kind in options.truth if kind != 'none'),
        depth_root=options.depth_root,
        lidar=not options.no_lidar,
        oxts=not options.no_oxts,
        storage=options.storage,
        part_bytes=options.part_mib << 20,
        workers=options.workers,
    )
    recording = open_recording(options.drive)
    chosen = plan(recording, settings)
    lacking = unasked(recording, settings)
    for remark in (*recording.remarks, *([] if lacking is None else [lacking])):
        _LOG.warning('%s', remark)
    started_s = time.monotonic()
    with terminated_cleanly(), progress_bar() as bar:
        task = bar.add_task('converts', total=len(chosen.events))
        written = convert(
            chosen,
            settings,
            options.output,
            progress=lambda events, _: bar.advance(task, events),
        )
    elapsed_s = time.monotonic() - started_s
    rate = written / 1e6 / max(elapsed_s, 1e-9)
    sys.stdout.write(
        f'{printable(options.output)}: {len(chosen.events)} measurements on '
        f'{len(chosen.topics)} topics; wrote '
        f'{written / 1e6:.1f} MB in {elapsed_s:.2f} s ({rate:.0f} MB/s)\n'
    )


def _camera(text: str) -> int:
    names = {name: number for number, name in CAMERAS.items()}
    numbers = {str(number): number for number in CAMERAS}
    found = {**names, **numbers}.get(text)
    if found is None:
        known = ', '.join(f'{number} or {name}' for number, name in CAMERAS.items())
        message = f'{text!r} is no camera of KITTI; give {known}'
        raise argparse.ArgumentTypeError(message)
    return found


def _frames(text: str) -> range:
    match = _FRAMES.fullmatch(text)
    span = None if match is None else range(int(match[1]), int(match[2] or match[1]) + 1)
    if not span:
        message = f'{text!r} names no frames; give a number as 12, or the first and last as 0-53'
        raise argparse.ArgumentTypeError(message)
    return span


def _parser() -> CommandParser:
    parser = CommandParser(prog='python -m depth_ros.kitti_to_bag', description=__doc__ or '')
    add = parser.add_argument
    add('drive', type=Path, help='folder of one drive (..._sync, ..._extract) or sequence')
    add('--output', type=Path, required=True, help='folder of the bag, a new one')
    add('--cameras', type=_camera, nargs='+', help='cameras by number or name; all there are')
    add('--frames', type=_frames, nargs='+', help='frames, as 12 or 0-53; all there are')
    add('--images', choices=IMAGES, default='compressed', help='image files as they are, or raw')
    add('--storage', choices=sorted(STORAGES), default='mcap', help='how the bag is stored')
    add('--truth', choices=(*TRUTHS, 'none'), nargs='+', default=TRUTHS, help='true depth')
    add('--depth_root', type=Path, help='folder of annotated depth; that of the days')
    add('--no_lidar', action='store_true', help='leave the clouds out')
    add('--no_oxts', action='store_true', help='leave GPS, inertial unit and odometry out')
    add('--part_mib', type=count, default=512, help='size of a storage file, MiB')
    workers = min(4, os.cpu_count() or 1)
    add('--workers', type=count, default=workers, help='threads that read and decode')
    return parser


if __name__ == '__main__':
    run_command(main)
