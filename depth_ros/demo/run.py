# SPDX-License-Identifier: Apache-2.0
"""Run a camera through `mono_depth` and show what comes out.

The camera is a recording that comes with this package, or the synthetic camera it was made with.
Camera and node are processes of their own, as on a robot; this one listens to both, compares
depth with the camera's truth, and draws a picture of the last image at the end.
"""

from __future__ import annotations

import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rclpy.executors import SingleThreadedExecutor
from rich.live import Live
from rich.table import Table

from depth_core.errors import DepthError
from depth_core.manifest import read_manifest
from depth_core.preview import scale_for
from depth_core.processes import keep_freed_memory, terminated_cleanly
from depth_core.runtime.backends import AUTO
from depth_core.terminal import open_console
from depth_ros.arguments import CommandParser, count, positive
from depth_ros.demo.camera import (
    CAMERA,
    IMAGE,
    INFO,
    RECORDED_HZ,
    add_camera_options,
    camera_command,
    check_camera,
)
from depth_ros.demo.children import Child, children_ended, free_domain_id
from depth_ros.demo.monitor import Monitor, Score
from depth_ros.frames.outputs import DEPTH
from depth_ros.middleware.fastdds import fitting_profile, profile_variable
from depth_ros.middleware.session import ros_node, signals_held
from depth_ros.pictures.answered import Answered
from depth_ros.pictures.rerun_file import HELP, check_rerun, rerun_file
from depth_ros.settings import BY_NAME, Settings

PROCESSES: Final = 3
"""Camera, node and this one."""

SUFFICIENT: Final = 0.8
"""The demo fails when less than this part of the images expected at this rate has come through."""

TABLE_PERIOD_S: Final = 0.25
LINE_PERIOD_S: Final = 2.0
WAITING_PERIOD_S: Final = 10.0
RECORD_PERIOD_S: Final = 1.0
"""Time between two answers in the file for Rerun, of which each takes megabytes."""
LAST_ANSWERS_S: Final = 2.0
"""How long answers to the last images are waited for."""

_QUIET: Final = ('--ros-args', '--disable-external-lib-logs')
"""ROS arguments that keep log files out of the home folder."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    keep_freed_memory()
    options = _parser().parse_command(arguments)
    check_camera(options)
    check_rerun(options.rerun)
    model = Settings(model=options.model).model_file()
    make_folder(options.output_dir)
    profile = fitting_profile(options.output_dir, processes=PROCESSES)
    environment = one_machine_environment(options.domain_id or free_domain_id(), profile)
    os.environ.update(environment)
    display = Display(options)
    with terminated_cleanly():
        with children_ended() as children, rerun_file(options.rerun) as record:
            start(children, options, model, environment)
            monitor, score = measure(options, children, display, Recorder(record))
        display.finish(monitor, score)
        draw(options, model, monitor, score)
        check_flow(score, options, children)


def make_folder(path: Path) -> None:
    """Make the folder of picture and logs.

    Raises:
        DepthError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f'cannot make the folder {path}: {error.strerror}; choose another --output_dir.'
        raise DepthError(message) from error


def one_machine_environment(domain_id: int, profile: Path) -> dict[str, str]:
    """The environment of ROS processes that talk to one another on this machine alone."""
    environment = dict(os.environ)
    environment.pop('ROS_DISCOVERY_SERVER', None)
    environment[profile_variable()] = str(profile)
    environment.update(
        RMW_IMPLEMENTATION='rmw_fastrtps_cpp',
        ROS_DOMAIN_ID=str(domain_id),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        PYTHONUNBUFFERED='1',
    )
    return environment


def start(
    children: list[Child], options: Namespace, model: Path, environment: Mapping[str, str]
) -> None:
    """Start node and camera and put them into `children`."""
    camera = camera_command(options)
    node = (
        'depth_ros.mono_depth_node',
        *_QUIET,
        *('-r', f'image/compressed:={CAMERA}/{IMAGE}', '-r', f'camera_info:={CAMERA}/{INFO}'),
        *('-p', 'image_transport:=compressed'),
        *('-p', f'model:={model}', '-p', f'backend:={options.backend}'),
    )
    for name, command in (
        ('mono_depth', node),
        (camera[0].rpartition('.')[2], (*camera, *_QUIET)),
    ):
        log = options.output_dir / f'{name}.log'
        children.append(Child(name, command, log=log, environment=environment))


def measure(
    options: Namespace, children: Sequence[Child], display: Display, recorder: Recorder
) -> tuple[Monitor, Score]:
    """Listen until everything flows, then count for the time asked for.

    A slow machine renders and loads for a while: the start fails when camera and node log
    nothing any more, not when it takes long.
    """
    with ros_node('demo', arguments=['demo', *_QUIET]) as node, display:
        with signals_held():
            monitor = Monitor(node)
            executor = SingleThreadedExecutor()
            executor.add_node(node)

        def listen() -> None:
            with signals_held():
                executor.spin_once(timeout_sec=0.05)
            for child in children:
                child.check()

        logged_s, logged = time.monotonic(), 0
        while monitor.complete is None or not monitor.diagnostics.get('backend'):
            display.waiting(monitor, children)
            size = sum(child.log_size() for child in children)
            if size > logged:
                logged_s, logged = time.monotonic(), size
            if time.monotonic() - logged_s > options.ready_timeout_s:
                raise DepthError(_not_ready(monitor, children, options.ready_timeout_s))
            listen()
        score = monitor.begin(options.duration_s)
        end_s = time.monotonic() + options.duration_s
        while time.monotonic() < end_s:
            listen()
            recorder.offer(monitor)
            display.show(monitor, score)
        last_s = time.monotonic() + LAST_ANSWERS_S
        while score.drops > 0 and time.monotonic() < last_s:
            listen()
        executor.shutdown()
    return monitor, score


def check_flow(score: Score, options: Namespace, children: Sequence[Child]) -> None:
    """Say what is wrong when too few frames came through.

    Raises:
        DepthError: Fewer than `SUFFICIENT` of the expected images or answers arrived.
    """
    expected = options.duration_s * options.rate_hz
    least = SUFFICIENT * expected
    found = f'{score.inputs} images and {score.outputs} depth maps in {options.duration_s:g} s'
    rule = (
        f'at {options.rate_hz:g} Hz {expected:.0f} are expected, at least {least:.0f} are needed'
    )
    if score.inputs < least:
        cause = 'the machine is too busy for the camera; lower --rate_hz or end other programs'
        message = f'frames did not flow: {found}; {rule}: {cause}. {children[1].last_lines()}'
        raise DepthError(message)
    if score.outputs < least:
        cause = (
            'the node cannot keep pace; try --backend openvino, a smaller --model or a lower '
            '--rate_hz'
        )
        message = f'frames did not flow: {found}; {rule}: {cause}. {children[0].last_lines()}'
        raise DepthError(message)


def draw(options: Namespace, model: Path, monitor: Monitor, score: Score) -> None:
    """Write the picture of the last image that everything arrived of."""
    answer = monitor.answer()
    if answer is None:
        return
    from depth_ros.pictures.picture import draw_answer  # noqa: PLC0415 a second of imports, not before

    path = options.output_dir / 'demo.png'
    scale = scale_for(read_manifest(model).output) if model.suffix == '.onnx' else None
    draw_answer(answer, title=line(monitor, score), path=path, scale=scale)
    sys.stdout.write(f'picture: {path}\n')


class Recorder:
    """Passes an answer on every now and then, of the images of which everything has arrived."""

    def __init__(self, record: Callable[[Answered], None] | None) -> None:
        self._record = record
        self._next_s = -math.inf

    def offer(self, monitor: Monitor) -> None:
        """Record the latest answer when it is time again."""
        if self._record is None or time.monotonic() < self._next_s:
            return
        answer = monitor.answer()
        if answer is not None:
            self._record(answer)
            self._next_s = time.monotonic() + RECORD_PERIOD_S


class Display:
    """A live table on a terminal, a line every now and then elsewhere."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._console = open_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._shown_s = -math.inf

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def waiting(self, monitor: Monitor, children: Sequence[Child]) -> None:
        """Say what is not there yet, and what camera and node are doing."""
        doing = '; '.join(f'{child.name}: {child.last_line()}' for child in children)
        missing = ''
        if monitor.seen:
            topics = ', '.join(monitor.missing) or 'all topics for one image'
            missing = f'; nothing yet from {topics}'
        self._put(f'starting ({doing}){missing}', WAITING_PERIOD_S)

    def show(self, monitor: Monitor, score: Score) -> None:
        """Show the counts."""
        if self._console.is_terminal:
            self._put(table(monitor, score, self._options), TABLE_PERIOD_S)
        else:
            self._put(line(monitor, score), LINE_PERIOD_S)

    def finish(self, monitor: Monitor, score: Score) -> None:
        """Leave the table of the whole time."""
        self._console.print(table(monitor, score, self._options, whole=True))

    def _put(self, what: Table | str, period_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s < period_s:
            return
        self._shown_s = now_s
        if self._console.is_terminal:
            self._live.update(what, refresh=True)
        else:
            sys.stdout.write(f'{what}\n')
            sys.stdout.flush()


def table(monitor: Monitor, score: Score, options: Namespace, *, whole: bool = False) -> Table:
    """Everything that is measured; rates of late, or over the whole time."""
    seconds = options.duration_s
    rate_in = score.inputs / seconds if whole else monitor.rate_hz(IMAGE)
    rate_out = score.outputs / seconds if whole else monitor.rate_hz(DEPTH)
    p50, p95 = score.latency_ms()
    metrics = score.metrics()
    values = monitor.diagnostics
    camera = 'synthetic camera' if options.live else 'recording'
    rows = Table(title=f'{camera} -> mono_depth', show_header=False, title_style='bold')
    rows.add_row('input', f'{rate_in:.1f} Hz, {score.inputs} images of {options.rate_hz:g} Hz')
    rows.add_row('output', f'{rate_out:.1f} Hz, {score.outputs} depth maps')
    rows.add_row('latency', f'p50 {p50:.1f} ms, p95 {p95:.1f} ms, image stamp to depth received')
    rows.add_row('drops', f'{score.drops}')
    rows.add_row('backend', f'{values.get("backend")}, {values.get("precision")}')
    rows.add_row('model', f'{values.get("model")}')
    if metrics is not None:
        rows.add_row('AbsRel', f'{metrics.abs_rel:.3f} against the truth of the camera')
        rows.add_row('delta1', f'{metrics.a1:.3f} of the pixels within a factor of 1.25')
    if not whole:
        rows.add_row('time', f'{_elapsed_s(score):.0f} of {seconds:g} s')
        rows.add_row('to look in', f'ROS_DOMAIN_ID={os.environ["ROS_DOMAIN_ID"]}')
    return rows


def line(monitor: Monitor, score: Score) -> str:
    """The same in one line."""
    p50, p95 = score.latency_ms()
    metrics = score.metrics()
    quality = '' if metrics is None else f', AbsRel {metrics.abs_rel:.3f}, delta1 {metrics.a1:.3f}'
    seconds = _elapsed_s(score)
    rate_hz = score.outputs / max(seconds, 1e-3)
    return (
        f'{seconds:.0f} s: {score.inputs} images, {score.outputs} depth maps ({rate_hz:.1f} Hz), '
        f'latency p50 {p50:.1f} p95 {p95:.1f} ms, {score.drops} drops, '
        f'{monitor.diagnostics.get("backend")}{quality}'
    )


def _elapsed_s(score: Score) -> float:
    return min(time.time_ns(), score.end_ns) * 1e-9 - score.begin_ns * 1e-9


def _not_ready(monitor: Monitor, children: Sequence[Child], timeout_s: float) -> str:
    missing = ', '.join(monitor.missing)
    found = f'nothing came from {missing}' if missing else 'images are lost on their way'
    logs = '\n'.join(child.last_lines() for child in children)
    return (
        f'{found}, and the logs were silent for {timeout_s:g} s; they may say why, or wait '
        f'longer with --ready_timeout_s.\n{logs}'
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='depth_ros.demo',
        description='Play a recording through mono_depth and show what comes out.',
    )
    add = parser.add_argument
    add('--duration_s', type=positive, default=10.0, help='how long it is measured, s')
    add('--rate_hz', type=positive, default=RECORDED_HZ, help='images a second')
    add('--model', default='', help=BY_NAME['model'].sentence)
    add('--backend', default=AUTO, help=BY_NAME['backend'].sentence)
    add('--output_dir', type=Path, default=Path('demo_output'), help='folder of picture and logs')
    add('--domain_id', type=count, help='ROS domain; one that is free when absent')
    add('--ready_timeout_s', type=positive, default=60.0, help='longest silence at the start, s')
    add('--rerun', type=Path, metavar='FILE', help=f'{HELP}; an answer a second')
    add_camera_options(parser)
    return parser
