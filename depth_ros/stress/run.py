# SPDX-License-Identifier: Apache-2.0
"""Try what `mono_depth` withstands, and state it as a table and as JSON.

    python -m depth_ros.stress                         all of it, 13 minutes
    python -m depth_ros.stress --short                 a part of it, in less than a minute
    python -m depth_ros.stress --parts soak --soak_s 600

Nodes are real ones, in processes and a ROS domain of their own. The same seed sends the same
messages. The status is 2 when something did not hold.
"""

from __future__ import annotations

import json
import math
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from depth_core.errors import DepthError
from depth_core.files import scratch_folder, write_text_atomically
from depth_core.processes import keep_freed_memory, terminated_cleanly
from depth_core.runtime.backends import AUTO
from depth_core.terminal import open_console
from depth_ros.arguments import CommandParser, count, positive
from depth_ros.demo.children import children_ended, free_domain_id
from depth_ros.demo.run import one_machine_environment
from depth_ros.middleware.fastdds import fitting_profile
from depth_ros.middleware.session import ros_node
from depth_ros.settings import BY_NAME, Settings
from depth_ros.stress.chaos import Demands, chaos
from depth_ros.stress.fuzz import fuzz
from depth_ros.stress.results import Check, as_json, machine, table
from depth_ros.stress.soak import MOST_GROWTH, soak
from depth_ros.stress.stand import Stand, Subject

PARTS: Final = ('fuzz', 'soak', 'chaos')
PROCESSES: Final = 4
"""Node, its former one, camera and this one."""

MESSAGES: Final = 10_000
SOAK_S: Final = 600.0
DEMANDS: Final = Demands(whole=True, stopped_s=5.0)
SHORT_MESSAGES: Final = 100
SHORT_SOAK_S: Final = 3.0
SHORT_GROWTH: Final = 0.10
SHORT_DEMANDS: Final = Demands(whole=False, stopped_s=0.5, recovers_s=math.inf, ends_s=math.inf)
"""Times are measured and not judged: tests run on busy machines."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        DepthError: Something did not hold; the table says what.
    """
    keep_freed_memory()
    options = _parser().parse_command(arguments)
    options.model = str(Settings(model=options.model).model_file())
    busy = machine()
    with terminated_cleanly(), scratch_folder('stress') as scratch:
        checks = list(_checks(options, scratch))
    open_console().print(table(checks))
    if options.json is not None:
        found = {'machine': busy, 'options': _stated(options), 'checks': as_json(checks)}
        write_text_atomically(options.json, json.dumps(found, indent=2) + '\n')
    failed = [check.name for check in checks if not check.passed]
    if failed:
        message = f'{len(failed)} of {len(checks)} did not hold: {"; ".join(failed)}.'
        raise DepthError(message)


def _checks(options: Namespace, folder: Path) -> Iterator[Check]:
    """Do the parts asked for, and say each thing as it is found."""
    profile = fitting_profile(folder, processes=PROCESSES)
    environment = one_machine_environment(options.domain_id or free_domain_id(), profile)
    os.environ.update(environment)
    subject = Subject(
        model=options.model, backend=options.backend, folder=folder, environment=environment
    )
    quiet = ['stress', '--ros-args', '--disable-external-lib-logs']
    with children_ended() as children, ros_node('stress', arguments=quiet) as node:
        stand = Stand(node, children, subject, height=options.height, width=options.width)
        try:
            for check in _done(stand, options):
                verdict = 'held' if check.passed else 'FAILED'
                sys.stdout.write(f'{check.part}: {check.name}: {check.found} ({verdict})\n')
                sys.stdout.flush()
                yield check
        finally:
            stand.close()


def _done(stand: Stand, options: Namespace) -> Iterator[Check]:
    short = options.short
    if 'fuzz' in options.parts:
        count = options.messages or (SHORT_MESSAGES if short else MESSAGES)
        yield from fuzz(stand, seed=options.seed, count=count)
    if 'soak' in options.parts:
        seconds = options.soak_s or (SHORT_SOAK_S if short else SOAK_S)
        growth = SHORT_GROWTH if short else MOST_GROWTH
        yield soak(stand, seconds=seconds, most_growth=growth)
    if 'chaos' in options.parts:
        yield from chaos(stand, SHORT_DEMANDS if short else DEMANDS)


def _stated(options: Namespace) -> dict[str, object]:
    """The options as they were given, paths without their folders."""
    stated = {**vars(options), 'model': Path(options.model).name}
    del stated['json']
    return stated


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='depth_ros.stress',
        description='Try what mono_depth withstands: malformed messages, long runs, failures.',
    )
    add = parser.add_argument
    add('--parts', nargs='+', choices=PARTS, default=list(PARTS), help='what is tried')
    add('--short', action='store_true', help='a part of it, for tests of the command itself')
    add('--seed', type=int, default=0, help='of the malformed messages')
    add('--messages', type=count, help=f'malformed images of each transport ({MESSAGES})')
    add('--soak_s', type=positive, help=f'how long the camera of 30 Hz runs, s ({SOAK_S:g})')
    add('--model', default='', help=BY_NAME['model'].sentence)
    add('--backend', default=AUTO, help=BY_NAME['backend'].sentence)
    add('--height', type=count, default=480, help='rows of the images, pixels')
    add('--width', type=count, default=640, help='columns of the images, pixels')
    add('--json', type=Path, help='file for the same as JSON')
    add('--domain_id', type=count, help='ROS domain; one that is free when absent')
    return parser
