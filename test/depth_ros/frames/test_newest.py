# SPDX-License-Identifier: Apache-2.0
"""The newest frame wins, and none is lost without being handed back."""

from __future__ import annotations

import queue
import threading
import time

from depth_ros.frames.newest import NewestFrameWorker

PATIENCE_S = 240.0


class Work:
    """Work that begins when the test looks and ends when the test says so."""

    def __init__(self) -> None:
        self.begun: queue.Queue[int] = queue.Queue()
        self.release = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, frame: int) -> None:
        self.begun.put(frame)
        self.release.acquire()
        self.done.append(frame)


def test_frames_that_do_not_overlap_are_all_done() -> None:
    work = Work()
    worker: NewestFrameWorker[int] = NewestFrameWorker(work, name='test')
    for frame in range(1, 6):
        assert worker.offer(frame) is None
        assert work.begun.get(timeout=PATIENCE_S) == frame
        work.release.release()
    assert worker.stop() is None
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
    left: list[int | None] = []
    stopper = threading.Thread(target=lambda: left.append(worker.stop()))
    stopper.start()
    while not worker._stopping:
        time.sleep(0.001)
    work.release.release()
    stopper.join()
    assert (work.done, left) == ([1], [2])
    assert worker.offer(3) == 3, 'a stopped worker takes nothing'
