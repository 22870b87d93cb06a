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
from depth_ros.middleware.guardian_process import (
    BEAT,
    LOOK_S,
    NOTICED,
    SIGNAL_S,
    SLEPT_S,
    Moment,
    Watch,
    moment_of,
)

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
    watch = Watch(Moment(0.0))
    assert watch.looked(Moment(1.9), stopped=False) is None, 'nothing is expected yet'
    watch.took(bytes([BEAT + 3]), Moment(2.0))
    assert watch.looked(Moment(3.5), stopped=False) is None
    assert watch.looked(Moment(4.9), stopped=False) is None
    ended = watch.looked(Moment(5.0), stopped=False)
    assert ended is not None
    assert ended[0] is signal.SIGABRT
    watch.took(bytes([BEAT]), Moment(5.1))
    assert watch.looked(Moment(7.0), stopped=False) is None, 'any time is allowed now'


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
    watch = Watch(Moment(1.0))
    watch.took(bytes([signal.SIGCHLD, number]), Moment(1.0))
    watch.took(bytes([number]), Moment(2.0))
    assert watch.looked(Moment(0.9 + SIGNAL_S), stopped=False) is None
    ended = watch.looked(Moment(1.0 + SIGNAL_S), stopped=False)
    assert ended is not None
    assert ended[0] is signal.SIGKILL
    watch.took(bytes([NOTICED]), Moment(2.6))
    assert watch.over


def test_time_in_which_a_process_is_stopped_does_not_count() -> None:
    watch = Watch(Moment(0.0))
    watch.took(bytes([BEAT + 2]), Moment(0.0))
    for now_s in (1.0, 2.0, 3.0, 4.0):
        assert watch.looked(Moment(now_s), stopped=True) is None
    assert watch.looked(Moment(5.9), stopped=False) is None
    assert watch.looked(Moment(6.1), stopped=False) is not None


def test_time_in_which_the_machine_stood_still_does_not_count() -> None:
    watch = Watch(Moment(0.0))
    watch.took(bytes([BEAT + 1]), Moment(0.0))
    assert watch.looked(Moment(10.0 + SLEPT_S), stopped=False) is None
    assert watch.looked(Moment(11.1 + SLEPT_S), stopped=False) is not None


def test_a_process_that_waits_for_a_cpu_does_not_hang() -> None:
    watch = Watch(Moment(0.0, {'main': 5.0}))
    watch.took(bytes([BEAT + 30, signal.SIGTERM]), Moment(0.0, {'main': 5.0}))
    for now_s in range(1, 20):  # it waits for most of the time
        waited_s = {'main': 5.0 + 0.95 * now_s, 'new': 1000.0}
        assert watch.looked(Moment(now_s, waited_s), stopped=False) is None
    assert watch.looked(Moment(18.0 + SIGNAL_S, waited_s), stopped=False) is None
    ended = watch.looked(Moment(18.1 + SIGNAL_S, waited_s), stopped=False)
    assert ended is not None
    assert ended[0] is signal.SIGKILL


def test_on_a_machine_that_stays_busy_a_process_that_hangs_is_ended_all_the_same() -> None:
    """Linux counts a wait at its end: of four threads one has waited 0.9 s at each look."""
    watch = Watch(Moment(0.0))
    waited_s = dict.fromkeys('abcd', 0.0)
    watch.took(bytes([BEAT + 6]), Moment(0.0, dict(waited_s)))
    for look in range(1, 1000):
        waited_s['abcd'[look % 4]] += 3.6 * LOOK_S
        if watch.looked(Moment(look * LOOK_S, dict(waited_s)), stopped=False) is not None:
            break
    assert look * LOOK_S == pytest.approx(60.0, rel=0.1), 'a tenth of the time is not waited'


def test_the_waits_of_the_threads_of_a_process_are_read() -> None:
    former, now = moment_of(os.getpid()), moment_of(os.getpid())
    assert now._waited_s.keys() >= {str(os.getpid())}
    assert now.since(former) <= now.at_s - former.at_s
    assert moment_of(2**22 + 1)._waited_s == {}, 'there is no such process'
