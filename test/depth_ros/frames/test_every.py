# SPDX-License-Identifier: Apache-2.0
"""Every frame is answered in turn, and no more are taken than there is room for."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Sequence

import pytest

from depth_ros.frames.every import EveryFrameWorker

PATIENCE_S = 240.0


class Work:
    """Work that begins when the test looks and ends when the test says so."""

    def __init__(self) -> None:
        self.begun: queue.Queue[int] = queue.Queue()
        self.release = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, frames: Sequence[int]) -> None:
        (frame,) = frames
        self.begun.put(frame)
        self.release.acquire()
        self.done.append(frame)


def test_every_frame_is_done_in_turn_while_there_is_room() -> None:
    work = Work()
    room: queue.Queue[None] = queue.Queue()
    worker: EveryFrameWorker[int] = EveryFrameWorker(
        work, name='test', depth=2, on_room=lambda: room.put(None)
    )
    worker.offer(1)
    assert work.begun.get(timeout=PATIENCE_S) == 1
    assert (worker.offer(2), worker.is_full()) == (None, False)
    assert (worker.offer(3), worker.is_full()) == (None, True)
    assert worker.offer(4) == 4, 'whoever does not look keeps the frame'
    assert room.empty()
    work.release.release()
    room.get(timeout=PATIENCE_S)
    assert (worker.is_full(), worker.offer(5)) == (False, None)
    work.release.release(3)
    while work.begun.get(timeout=PATIENCE_S) != 5:
        pass
    worker.stop()
    assert work.done == [1, 2, 3, 5]


def test_each_camera_has_its_own_places() -> None:
    work = Work()
    worker: EveryFrameWorker[int] = EveryFrameWorker(work, name='test', depth=1)
    worker.offer(10, 'front')
    work.begun.get(timeout=PATIENCE_S)
    worker.offer(11, 'front')
    assert (worker.is_full('front'), worker.is_full('rear')) == (True, False)
    assert (worker.offer(20, 'rear'), worker.offer(12, 'front')) == (None, 12)
    work.release.release(3)
    while work.begun.get(timeout=PATIENCE_S) != 20:
        pass
    worker.stop()
    assert work.done == [10, 11, 20]


def test_stop_hands_back_what_is_not_answered() -> None:
    work = Work()
    worker: EveryFrameWorker[int] = EveryFrameWorker(work, name='test', depth=1)
    worker.offer(1)
    work.begun.get(timeout=PATIENCE_S)
    worker.offer(2)
    assert worker.stop(0.0) == [1, 2]
    assert worker.is_alive, 'the frame in work is not finished'
    assert worker.offer(3) == 3, 'a stopped worker takes nothing'
    work.release.release()
    worker.stop()
    assert (work.done, worker.is_alive) == ([1], False)


def leave(frames: Sequence[int]) -> None:
    sys.exit(len(frames))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_worker_whose_thread_is_gone_takes_nothing() -> None:
    worker: EveryFrameWorker[int] = EveryFrameWorker(leave, name='test', depth=1)
    worker.offer(1)
    worker._thread.join(PATIENCE_S)
    assert not worker.is_alive
    assert worker.offer(2) == 2
