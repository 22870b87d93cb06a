# SPDX-License-Identifier: Apache-2.0
"""What fails around the node, or inside it, and how long it takes until depth comes again."""

from __future__ import annotations

import functools
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from depth_core.shipped import shipped_file
from depth_ros.demo.camera import CAMERA, IMAGE, INFO, RECORDED_HZ, RECORDING
from depth_ros.demo.children import Child
from depth_ros.health.watchdog import STEADY_ANSWERS
from depth_ros.stress.faulty_node import ANSWER, give_order
from depth_ros.stress.results import Check
from depth_ros.stress.stand import PERIOD_S, Stand

LIMIT_S: Final = 5.0
"""inference_limit_s of a node whose backend hangs; by default 10."""
STEADY: Final = STEADY_ANSWERS + 2
"""Answers after which a backend is taken for well, and more."""
JUMPS_S: Final = (3600.0, -3600.0, -1.7e9, 0.0)
"""How far the clock of the camera is ahead; the third is 1971 or so."""
FAULTY: Final = 'depth_ros.stress.faulty_node'


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What is asked of the node."""

    whole: bool
    """Whether everything is done, or what one node can take."""
    stopped_s: float
    """How long a node is stopped."""
    recovers_s: float = 30.0
    """In which depth comes again, whatever failed; a start included."""
    ends_s: float = 2.0
    """In which Ctrl-C ends a node whose backend hangs."""


def chaos(stand: Stand, demands: Demands) -> Iterator[Check]:
    """Do all of it; nothing else is demanded of times than that they are no longer than said."""
    yield from _backend(stand, demands)
    if demands.whole:
        yield from _node_killed(stand, demands)
        yield from _camera_killed(stand, demands)
        yield from _model_damaged(stand, demands)
        yield from _no_clock(stand, demands)


def _recovery(name: str, seconds: float, demands: Demands, said: str = '') -> Check:
    text = f'depth again after {seconds:.2f} s'
    return Check(
        part='chaos',
        name=name,
        found=f'{text}; diagnostics: {said}' if said else text,
        passed=seconds <= demands.recovers_s,
        values={'recovery_s': seconds, 'said': said},
    )


def _faulty(stand: Stand, **parameters: object) -> tuple[Child, Path]:
    orders = stand.subject.folder / 'orders'
    give_order(orders, ANSWER)
    child = stand.started(
        {'inference_limit_s': LIMIT_S, 'output_timeout_s': 0.5, **parameters},
        command=(FAULTY, str(orders)),
    )
    return child, orders


def _backend(stand: Stand, demands: Demands) -> Iterator[Check]:
    """A backend that hangs, fails, loses its thread; clocks that jump; a process that stops."""
    child, orders = _faulty(stand)
    for name, order in (
        (f'an inference hangs (inference_limit_s = {LIMIT_S:g})', 'any hang'),
        ('the thread of the backend ends', 'any end'),
    ):
        stand.film_until_answered(STEADY)
        reopened = stand.said.count('watchdog_reopened')
        give_order(orders, order)
        begun_s = time.monotonic()
        stand.film_until(
            functools.partial(_reopened, stand, reopened), 'a backend that is opened again'
        )
        problem = stand.said.values['watchdog_problem']
        stand.film_until_answered()
        yield _recovery(name, time.monotonic() - begun_s, demands, problem)
    for offset_s in JUMPS_S:
        stand.offset_s = offset_s
        seconds = stand.film_until_answered()
        stand.film_until_answered(STEADY)
        name = f'the clock of the camera jumps to {offset_s:+g} s'
        yield _recovery(name, seconds, demands, _told(stand))
    stand.film_until_answered(STEADY)
    child.signal(signal.SIGSTOP)
    begun_s = time.monotonic()
    stand.film_until(lambda: time.monotonic() - begun_s > demands.stopped_s, 'the time')
    child.signal(signal.SIGCONT)
    name = f'the node is stopped for {demands.stopped_s:g} s'
    yield _recovery(name, stand.film_until_answered(), demands)
    give_order(orders, 'any hang')
    stand.film_until(lambda: orders.read_text(encoding='utf-8') == ANSWER, 'a hang')
    seconds = stand.end(child)
    yield Check(
        part='chaos',
        name='Ctrl-C while an inference hangs',
        found=f'the process ended with status {child.status} after {seconds:.2f} s',
        passed=seconds <= demands.ends_s and child.status == 0,
        values={'ended_s': seconds, 'status': child.status},
    )


def _node_killed(stand: Stand, demands: Demands) -> Iterator[Check]:
    child = stand.started()
    stand.film_until_answered(STEADY)
    child.signal(signal.SIGKILL)
    stand.until(lambda: child.status is not None, 'the end of the node')
    child = stand.start()
    seconds = stand.film_until_answered()
    yield _recovery('the node is killed (-9) and started again', seconds, demands)
    stand.end(child)


def _camera_killed(stand: Stand, demands: Demands) -> Iterator[Check]:
    recording = shipped_file(f'{RECORDING}/metadata.yaml').parent
    speed = 1.0 / (PERIOD_S * RECORDED_HZ)
    camera = ('depth_ros.play_bag', str(recording), '--loop', '--restamp', '--rate', str(speed))
    quiet = ('--ros-args', '--disable-external-lib-logs')
    child = stand.started(
        {'image_transport': 'compressed'},
        remappings={
            'image/compressed': f'{CAMERA}/{IMAGE}',
            'camera_info': f'{CAMERA}/{INFO}',
        },
    )

    def came(count: int) -> float:
        begun_ns = time.time_ns()
        return stand.until(lambda: stand.answered_after(begun_ns) >= count, 'depth')

    first = stand.process('camera', (*camera, *quiet))
    came(STEADY)
    first.signal(signal.SIGKILL)
    stand.until(lambda: 'no image' in stand.said.message, 'diagnostics of silence')
    said = _told(stand)
    second = stand.process('camera', (*camera, *quiet))
    yield _recovery('the camera is killed (-9) and started again', came(1), demands, said)
    stand.end(second)
    stand.end(child)


def _model_damaged(stand: Stand, demands: Demands) -> Iterator[Check]:
    """Half of the file is lost: under a running node whose backend fails, and before a start."""
    whole = Path(stand.subject.model)
    copy = stand.subject.folder / 'model.onnx'
    shutil.copyfile(whole, copy)
    child, orders = _faulty(stand, model=copy)
    stand.film_until_answered(STEADY)
    content = whole.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    answered = stand.film_until_answered(STEADY)
    yield Check(
        part='chaos',
        name='the model file is damaged under a running node',
        found=f'{STEADY} images answered meanwhile, in {answered:.2f} s',
        passed=True,
        values={'answered': STEADY},
    )
    give_order(orders, 'any fail')
    stand.film_until(lambda: 'cannot be opened' in stand.said.message, 'a refused model')
    said = _told(stand)
    give_order(orders, ANSWER)
    copy.write_bytes(content)
    seconds = stand.film_until_answered()
    yield _recovery('backend fails, model file damaged, then whole again', seconds, demands, said)
    stand.end(child)

    copy.write_bytes(content[: len(content) // 2])
    child = stand.start({'model': copy})
    seconds = stand.until(lambda: child.status is not None, 'the end of a node without model')
    log = child.log.read_text(encoding='utf-8', errors='replace')
    yield Check(
        part='chaos',
        name='start with a damaged model file',
        found=f'refused with status {child.status} after {seconds:.2f} s: {child.last_line()}',
        passed=bool(child.status) and 'Traceback' not in log,
        values={'ended_s': seconds, 'status': child.status},
    )


def _no_clock(stand: Stand, demands: Demands) -> Iterator[Check]:
    """The node takes its time from /clock: none comes, then one that goes back."""
    child = stand.started({'use_sim_time': 'true'})
    seconds = stand.film_until_answered()
    stand.film_until(lambda: 'no time came on /clock' in stand.said.message, 'a word on /clock')
    yield _recovery('use_sim_time, and no /clock', seconds, demands, _told(stand))
    for time_s in (1000, 10):
        stand.tell_time(time_s)
        seconds = stand.film_until_answered()
        yield _recovery(f'/clock jumps to {time_s} s', seconds, demands)
    stand.end(child)


def _reopened(stand: Stand, known: int) -> bool:
    return stand.said.count('watchdog_reopened') > known


def _told(stand: Stand) -> str:
    return f'{("OK", "WARN", "ERROR", "STALE")[stand.said.level]}, {stand.said.message}'
