# SPDX-License-Identifier: Apache-2.0
"""The short form of the kill trials, and that they see what they look for."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from test.security.commands import PREDICT
from test.security.kills import Command, half, trials
from test.security.signals import RECORDINGS, TRAINING, ended

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the kernel lists the processes')


def test_a_killed_command_leaves_nothing_half_and_runs_again(tmp_path: Path) -> None:
    killed = trials(PREDICT, tmp_path, count=2, seed=1)
    assert len(killed) == 2
    assert [one.faults for one in killed] == [[], []]


def test_a_command_that_is_ended_ends_its_children(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    short = tmp_path_factory.mktemp('end')  # loaders have sockets below it, of 107 characters
    assert ended(TRAINING, short / 'work', signal.SIGTERM).faults == []


def test_ctrl_c_ends_workers_that_have_hardly_begun(tmp_path: Path) -> None:
    first = replace(RECORDINGS, children=2)  # what cleans up for the workers, and one of them
    assert ended(first, tmp_path / 'work', signal.SIGINT, group=True).faults == []


def test_a_command_that_writes_in_place_is_found_out(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / 'careless.py').write_text(
            'import pathlib, time\n'
            "answer = pathlib.Path('answer.json')\n"
            'again = answer.exists()\n'
            "file = answer.open('a')\n"
            "file.write('{')\n"
            'file.flush()\n'
            'if not again:  # the kills meet it here, if Python is not a second late to start\n'
            "    time.sleep(1.0 if pathlib.Path.cwd().name == 'whole' else 5.0)\n"
            "file.write('}')\n"
        )

    careless = Command(name='careless', prepare=write, arguments=lambda _: ('careless',))
    killed = trials(careless, tmp_path, count=3, seed=0)
    assert any('JSONDecodeError' in fault for one in killed for fault in one.faults)


def test_half_files_are_told_from_whole_ones(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    path.write_text('{"a": 1}')
    assert half(path) == ''
    path.write_text('{"a"')
    assert half(path).startswith('JSONDecodeError')
