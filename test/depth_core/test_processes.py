# SPDX-License-Identifier: Apache-2.0
"""Signals, what they may break into and make of the children; and memory."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from depth_core.processes import TERMINATED, signals_blocked, terminated_cleanly


def test_ctrl_c_waits_for_the_end_of_a_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - where it is raised is what is tested
        with signals_blocked():
            os.kill(os.getpid(), signal.SIGINT)
            done.append('whole')
        done.append('never')
    assert done == ['whole']


def test_the_first_of_several_signals_counts() -> None:
    with (  # noqa: PT012 - what comes after the first signal is tested
        pytest.raises(SystemExit) as ended,
        terminated_cleanly(),
        signals_blocked(),
    ):
        _to_other_threads(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert ended.value.code == TERMINATED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _to_other_threads(number: signal.Signals) -> None:
    """Have a thread that blocks nothing, as those of libraries, be given a signal."""

    def take() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        signal.raise_signal(number)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()


def test_sigterm_ends_a_command_that_is_still_imported(repository: Path) -> None:
    code = """
import os, signal, sys
sys.argv = ['-m']
import depth_core
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""
    ended = subprocess.run(
        [sys.executable, '-c', code], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (TERMINATED, 'terminated\n')


def test_a_process_whose_interpreter_is_held_ends_with_its_status(repository: Path) -> None:
    code = """
from depth_core.processes import end_at_the_latest
from depth_ros.stress.faulty_node import hold_interpreter
end_at_the_latest(0.1, 7)
hold_interpreter()
"""
    ended = subprocess.run([sys.executable, '-c', code], cwd=repository, check=False, timeout=240)
    assert ended.returncode == 7


CHILD = """
import os, signal, sys, time
from depth_core.processes import begin_child
os.kill(os.getpid(), signal.SIGINT)
begin_child(os.getppid())
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(600)
"""


def test_a_child_leaves_ctrl_c_to_its_parent_from_its_first_moment(repository: Path) -> None:
    with signals_blocked():
        child = subprocess.Popen([sys.executable, '-c', CHILD], cwd=repository)
    assert child.wait() == -signal.SIGTERM


def test_a_child_that_is_ended_too_is_no_error() -> None:
    """PyTorch raises an error in a handler of SIGCHLD when a loading process dies."""

    def complain(_number: int, _frame: FrameType | None) -> None:
        raise RuntimeError

    former = signal.signal(signal.SIGCHLD, complain)
    try:
        with pytest.raises(SystemExit), terminated_cleanly():  # noqa: PT012 - what comes after is tested
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_memory_that_is_freed_is_not_asked_of_the_kernel_again(repository: Path) -> None:
    script = (
        'import resource, sys\n'
        'import numpy as np\n'
        'from depth_core.processes import keep_freed_memory\n'
        'if len(sys.argv) > 1: keep_freed_memory()\n'
        'def planes():\n'
        '    kept = [np.ones(1 << 20, np.uint8) for _ in range(8)]\n'
        '    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n'
        'planes(); before = planes()\n'
        'print(max(planes() for _ in range(20)) - before)\n'
    )
    faults = [
        int(
            subprocess.run(
                [sys.executable, '-c', script, *given],
                cwd=repository,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for given in ([], ['kept'])
    ]
    if platform.libc_ver()[0] == 'glibc':
        assert faults[1] < faults[0] / 10
