# SPDX-License-Identifier: Apache-2.0
"""The newest frame of a camera wins, none is lost without being handed back, none starves."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

from depth_ros.frames.newest import NewestFrameWorker

PATIENCE_S = 240.0


class Work:
    """Work that begins when the test looks and ends when the test says so."""

    def __init__(self) -> None:
        self.begun: queue.Queue[int] = queue.Queue()
        self.release = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, frames: Sequence[int]) -> None:
        for frame in frames:
            self.begun.put(frame)
        self.release.acquire()
        self.done.extend(frames)


def test_frames_that_do_not_overlap_are_all_done() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    for frame in range(1, 6):
        assert worker.offer(frame) is None
        assert work.begun.get(timeout=PATIENCE_S) == frame
        work.release.release()
    assert worker.stop() == []
    assert work.done == [1, 2, 3, 4, 5]


def test_the_newest_waits_and_the_older_ones_come_back() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    worker.offer(1)
    work.begun.get(timeout=PATIENCE_S)
    assert [worker.offer(frame) for frame in (2, 3, 4)] == [None, 2, 3]
    work.release.release(2)
    assert work.begun.get(timeout=PATIENCE_S) == 4
    worker.stop()
    assert work.done == [1, 4]


def test_stop_finishes_the_frame_in_work_and_returns_the_waiting_one() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    worker.offer(1)
    work.begun.get(timeout=PATIENCE_S)
    worker.offer(2)
    left: list[list[int]] = []
    stopper = threading.Thread(target=lambda: left.append(worker.stop()))
    stopper.start()
    while not worker._stopping:
        time.sleep(0.001)
    work.release.release()
    stopper.join()
    assert (work.done, left) == ([1], [[2]])


def test_a_thread_that_is_left_behind_answers_nothing() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    for frame in (1, 2):
        worker.offer(frame)
        assert work.begun.get(timeout=PATIENCE_S) == frame
        if frame == 1:
            work.release.release()
    worker.offer(3)
    assert worker.stop(0.0) == [2, 3]
    work.release.release()
    worker.stop()
    idle: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    assert idle.stop(0.0) == []
    assert worker.offer(3) == 3, 'a stopped worker takes nothing'


def test_cameras_take_turns_however_fast_one_of_them_is() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    worker.offer(10, 'fast')
    work.begun.get(timeout=PATIENCE_S)
    assert worker.offer(20, 'slow') is None
    assert worker.offer(11, 'fast') is None
    assert worker.offer(12, 'fast') == 11, 'only a frame of the same camera is replaced'
    for frame in (20, 12):
        work.release.release()
        assert work.begun.get(timeout=PATIENCE_S) == frame
    worker.offer(13, 'fast')
    worker.offer(21, 'slow')
    for frame in (21, 13):
        work.release.release()
        assert work.begun.get(timeout=PATIENCE_S) == frame
    work.release.release()
    worker.stop()
    assert work.done == [10, 20, 12, 21, 13]


def test_frames_that_wait_at_once_are_answered_together() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test', most=2)
    worker.offer(10, 'a')
    work.begun.get(timeout=PATIENCE_S)
    for number, camera in enumerate('abc'):
        worker.offer(20 + number, camera)
    work.release.release()
    assert {work.begun.get(timeout=PATIENCE_S) for _ in range(2)} == {21, 22}, 'a had its turn'
    work.release.release()
    assert work.begun.get(timeout=PATIENCE_S) == 20
    work.release.release()
    worker.stop()
    assert work.done == [10, 21, 22, 20]


def test_a_frame_waits_for_those_of_other_cameras_that_are_lively() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(
        work, name='test', most=2, wait_s=PATIENCE_S
    )
    worker.offer(10, 'a')  # nothing of another camera is known yet
    assert work.begun.get(timeout=PATIENCE_S) == 10
    worker.offer(20, 'b')
    worker.offer(11, 'a')
    work.release.release(3)
    assert {work.begun.get(timeout=PATIENCE_S) for _ in range(2)} == {11, 20}
    worker.stop()
    assert work.done[0] == 10
    assert set(work.done[1:]) == {11, 20}
