# SPDX-License-Identifier: Apache-2.0
"""Processes that prepare the same engine: two at once, one that is killed, one on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depth_core.runtime.engine.cache import EngineCache
from test.fakes.installation import child_environment
from test.standin import write_standin_onnx

OPEN = """
import resource, sys
from pathlib import Path
import numpy as np
from depth_core.runtime.backends import BackendRequest
from depth_core.runtime.engine.options import EngineOptions
from depth_core.runtime.engine.provide import open_engine

stop_at = None

def report(progress):
    print(progress.phase.split(':')[0], flush=True)
    if progress.phase == stop_at:
        sys.stdin.readline()

def answer():
    options = EngineOptions(cache_dir=Path({folder!r}), report=report)
    session = open_engine(BackendRequest(path=Path({model!r}), engine=options), 'tensorrt')
    depth, _ = session.run(np.full((1, 64, 96, 3), 51, np.uint8))
    print('depth', round(float(depth[0, 0, 0]), 3), flush=True)

{setup}
answer()
"""

SECONDS = 300
"""Longest wait for a process, on a machine that has much else to do."""

Start = Callable[..., 'subprocess.Popen[str]']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / 'engines'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / 'builds'


@pytest.fixture
def start(tmp_path: Path, folder: Path, log: Path, repository: Path) -> Iterator[Start]:
    """Start a process that opens the engine; those still running at the end are killed."""
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    started: list[subprocess.Popen[str]] = []

    def run(setup: str = '', **variables: str) -> subprocess.Popen[str]:
        code = OPEN.format(folder=str(folder), model=str(model), setup=setup)
        process = subprocess.Popen(
            [sys.executable, '-c', code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=repository,
            env={
                **os.environ,
                **child_environment(),
                'FAKE_TENSORRT_BUILD_LOG': str(log),
                **variables,
            },
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    pytest.fail(f'it ended without {word!r}: {process.communicate()[1]}')


def end_of(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate('\n', timeout=SECONDS)
    assert process.returncode == 0, errors
    return out


def test_of_two_that_want_the_same_engine_one_builds(start: Start, log: Path) -> None:
    first = start("stop_at = 'comparing with the graph'")
    wait_for(first, 'comparing with the graph')
    second = start()
    wait_for(second, 'waiting for another process that prepares the same engine')
    assert 'depth 4.0' in end_of(first)
    assert 'depth 4.0' in end_of(second)
    assert len(log.read_text().splitlines()) == 1


def test_a_kill_in_the_middle_of_a_build_leaves_nothing(start: Start, folder: Path) -> None:
    killed = start(FAKE_TENSORRT_BUILD_S='60')
    wait_for(killed, 'building')
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert EngineCache(folder).entries() == []
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {'.lock'}
    again = end_of(start())
    assert 'building' in again  # the first may have been killed before its builder wrote the log
    assert 'depth 4.0' in again
    assert 'building' not in end_of(start())


def test_on_a_full_disk_the_engine_is_served_from_memory(start: Start, folder: Path) -> None:
    full = start(
        'import logging; logging.basicConfig(); '
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))'
    )
    out, errors = full.communicate('\n', timeout=SECONDS)
    assert 'depth 4.0' in out, errors
    assert 'the engine is used, but not kept: cannot write' in errors
    assert [path for path in folder.glob('*') if path.suffix not in ('.lock', '.use', '')] == []
    assert 'depth 4.0' in end_of(start())
