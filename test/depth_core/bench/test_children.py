# SPDX-License-Identifier: Apache-2.0
"""The processes that are measured end with the command, however that ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from depth_core.bench.children import Child, children_ended
from depth_core.bench.request import BenchRequest
from depth_core.errors import BackendError
from test.standin import write_standin_onnx

PATIENCE_S = 240.0


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


@pytest.fixture
def command(model: Path, repository: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that would measure for hours, and whose child computes already."""
    asked = ('--backends', 'onnxruntime', '--threads', '1', '--starts', '0')
    started = subprocess.Popen(
        [
            *(sys.executable, '-m', 'depth_core.bench', '--model', str(model)),
            *asked,
            *('--frames', '100000000'),
        ],
        cwd=repository,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert started.stderr is not None
    for line in started.stderr:
        if line == 'onnxruntime/1t: answers\n':
            break
    yield started
    started.kill()
    started.communicate()


def ended(child: int) -> bool:
    """Wait for the process behind a descriptor to end."""
    readable, _, _ = select.select([child], [], [], PATIENCE_S)
    os.close(child)
    return bool(readable)


@pytest.mark.skipif(sys.platform != 'linux', reason='the kernel of Linux lists the children')
@pytest.mark.parametrize(
    ('number', 'status'),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_child_ends_with_the_command(
    command: subprocess.Popen[str], number: signal.Signals, status: int
) -> None:
    listed = Path(f'/proc/{command.pid}/task/{command.pid}/children').read_text()
    (pid,) = map(int, listed.split())
    child = os.pidfd_open(pid)
    command.send_signal(number)
    _, said = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == status
    assert 'Traceback' not in said
    assert ended(child)


def test_a_child_that_dies_is_named_with_what_it_said_last(model: Path) -> None:
    request = BenchRequest(
        model=model,
        backend='onnxruntime',
        precision='fp32',
        threads=1,
        image_height=48,
        image_width=64,
        frames=1,
    )
    with children_ended() as children:
        child = Child(request)
        children.append(child)
        child.open()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(
            BackendError, match=r'standin\.onnx on onnxruntime/1t ended by SIGKILL, for instance'
        ):
            child.turn(1, lambda: None)
