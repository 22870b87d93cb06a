# SPDX-License-Identifier: Apache-2.0
"""A process in which Python stands still is ended from outside, and no other one is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depth_ros.middleware import guardian_process
from depth_ros.middleware.guardian import Guardian
from depth_ros.middleware.guardian_process import BEAT, NOTICED, SIGNAL_S, SLEPT_S, Queues, Watch

FOLDER = str(Path(__file__).parents[3])
WATCHED = """
import ctypes, signal, sys
from depth_ros.middleware.guardian import guarded

def hold():
    lock = ctypes.PyDLL(None).pthread_mutex_lock
    mutex = ctypes.create_string_buffer(64)
    print('holds', flush=True)
    while True:
        lock(mutex)

with guarded() as guardian:
    def end(number, frame):
        guardian.noticed()
        print('noticed', flush=True)
    signal.signal(signal.SIGINT, end)
    guardian.beat({limit})
    {then}
"""


def process(*, limit: int, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', WATCHED.format(limit=limit, then=then)],
        env={**os.environ, 'PYTHONPATH': FOLDER},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _state_of(process: int) -> str:
    stat = Path(f'/proc/{process}/stat').read_text(encoding='utf-8')
    return stat.rpartition(')')[2].split()[0]


def test_python_that_stands_still_is_ended_with_its_stacks() -> None:
    child = process(limit=1, then='hold()')
    _, said = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGABRT
    assert 'Python stands still for 1 s in process' in said
    assert 'Fatal Python error: Aborted' in said
    assert 'in hold' in said


def test_ctrl_c_ends_a_process_whose_interpreter_is_held() -> None:
    child = process(limit=0, then='hold()')
    assert child.stdout is not None
    assert child.stdout.readline() == 'holds\n'
    while _state_of(child.pid) != 'S':  # it is about to wait for what nobody gives
        os.sched_yield()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert 'did not notice a signal for 1.5 s' in said


def test_a_process_that_notices_the_signal_ends_by_itself() -> None:
    child = process(limit=1, then='signal.raise_signal(signal.SIGINT)')
    found, said = child.communicate(timeout=120)
    assert (child.returncode, found, said) == (0, 'noticed\n', '')


def test_later_signals_still_have_a_reader() -> None:
    """A terminal and launch both send Ctrl-C."""
    reader, writer = os.pipe()
    watcher = subprocess.Popen(
        [sys.executable, '-I', '-S', guardian_process.__file__, str(os.getpid()), str(reader)],
        pass_fds=[reader],
    )
    os.close(reader)
    os.write(writer, bytes([NOTICED]))
    for _ in range(50):  # more than a pipe holds
        os.write(writer, bytes([signal.SIGINT]) * 4096)
    os.close(writer)
    assert watcher.wait(120) == 0


def test_beats_say_how_long_the_next_may_take() -> None:
    watch = Watch(0.0)
    assert watch.looked(1.9, stopped=False) is None, 'nothing is expected yet'
    watch.took(bytes([BEAT + 3]), 2.0)
    assert watch.looked(3.5, stopped=False) is None
    assert watch.looked(4.9, stopped=False) is None
    ended = watch.looked(5.0, stopped=False)
    assert ended is not None
    assert ended[0] is signal.SIGABRT
    watch.took(bytes([BEAT]), 5.1)
    assert watch.looked(7.0, stopped=False) is None, 'any time is allowed now'


def test_a_limit_is_said_at_once_and_else_now_and_then() -> None:
    reader, writer = os.pipe()
    guardian = Guardian(writer)
    for limit_s in (0.0, 5.2, 5.2, 5.2, 0.0, 0.0):
        guardian.beat(limit_s)
    os.close(writer)
    with os.fdopen(reader, 'rb') as said:
        codes = said.read()
    assert codes == bytes([BEAT, BEAT + 6, BEAT])


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_has_to_be_noticed(number: signal.Signals) -> None:
    watch = Watch(1.0)
    watch.took(bytes([signal.SIGCHLD, number]), 1.0)
    watch.took(bytes([number]), 2.0)
    assert watch.looked(0.9 + SIGNAL_S, stopped=False) is None
    ended = watch.looked(1.0 + SIGNAL_S, stopped=False)
    assert ended is not None
    assert ended[0] is signal.SIGKILL
    watch.took(bytes([NOTICED]), 2.6)
    assert watch.over


def test_time_in_which_a_process_is_stopped_does_not_count() -> None:
    watch = Watch(0.0)
    watch.took(bytes([BEAT + 2]), 0.0)
    for now_s in (1.0, 2.0, 3.0, 4.0):
        assert watch.looked(now_s, stopped=True) is None
    assert watch.looked(5.9, stopped=False) is None
    assert watch.looked(6.1, stopped=False) is not None


def test_time_in_which_the_machine_stood_still_does_not_count() -> None:
    watch = Watch(0.0)
    watch.took(bytes([BEAT + 1]), 0.0)
    assert watch.looked(10.0 + SLEPT_S, stopped=False) is None
    assert watch.looked(11.1 + SLEPT_S, stopped=False) is not None


def test_a_process_that_waits_for_a_cpu_does_not_hang() -> None:
    watch = Watch(0.0)
    watch.took(bytes([BEAT + 30, signal.SIGTERM]), 1.0)
    assert watch.looked(1.9, stopped=False, queued_s=1.0) is None
    assert watch.looked(1.9 + SIGNAL_S, stopped=False) is None
    ended = watch.looked(2.1 + SIGNAL_S, stopped=False)
    assert ended is not None
    assert ended[0] is signal.SIGKILL


def test_the_wait_of_the_threads_of_a_process_is_read() -> None:
    queues = Queues(os.getpid())
    assert 0.0 <= queues.queued_s() < 60.0
    assert Queues(2**22 + 1).queued_s() == 0.0, 'there is no such process'
