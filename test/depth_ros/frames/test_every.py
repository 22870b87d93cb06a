# SPDX-License-Identifier: Apache-2.0
"""Every frame is answered in turn; whoever brings more than there is room for waits."""

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


class Offer(threading.Thread):
    """Offers a frame in a thread of its own."""

    def __init__(self, worker: EveryFrameWorker[int], frame: int) -> None:
        super().__init__(daemon=True)
        self.worker, self.frame = worker, frame
        self.answers: queue.Queue[int | None] = queue.Queue()
        self.start()

    def run(self) -> None:
        self.answers.put(self.worker.offer(self.frame))


def test_every_frame_is_done_in_turn() -> None:
    done: list[int] = []
    last = threading.Event()

    def work(frames: Sequence[int]) -> None:
        done.extend(frames)
        if frames == (99,):
            last.set()

    worker: EveryFrameWorker[int] = EveryFrameWorker(work, name='test', depth=3)
    assert [worker.offer(frame) for frame in range(100)] == [None] * 100
    assert last.wait(PATIENCE_S)
    assert worker.stop() == []
    assert done == list(range(100))


def test_an_offer_waits_for_a_place() -> None:
    work = Work()
    worker: EveryFrameWorker[int] = EveryFrameWorker(work, name='test', depth=2)
    worker.offer(1)
    assert work.begun.get(timeout=PATIENCE_S) == 1
    assert (worker.offer(2), worker.offer(3)) == (None, None)
    fourth = Offer(worker, 4)
    with pytest.raises(queue.Empty):
        fourth.answers.get(timeout=0.05)
    work.release.release(2)  # of 1, and of 2 that is begun then
    assert fourth.answers.get(timeout=PATIENCE_S) is None
    work.release.release(2)
    while work.begun.get(timeout=PATIENCE_S) != 4:
        pass
    worker.stop()
    assert work.done == [1, 2, 3, 4]


def test_stop_hands_back_what_waits_and_lets_an_offer_go() -> None:
    work = Work()
    worker: EveryFrameWorker[int] = EveryFrameWorker(work, name='test', depth=1)
    worker.offer(1)
    work.begun.get(timeout=PATIENCE_S)
    worker.offer(2)
    third = Offer(worker, 3)
    assert worker.stop(0.0) == [2]
    assert third.answers.get(timeout=PATIENCE_S) == 3
    assert worker.is_alive, 'the frame in work is not finished'
    work.release.release()
    worker.stop()
    assert (work.done, worker.is_alive) == ([1], False)
    assert worker.offer(4) == 4, 'a stopped worker takes nothing'


def leave(frames: Sequence[int]) -> None:
    sys.exit(len(frames))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_worker_whose_thread_is_gone_takes_nothing() -> None:
    worker: EveryFrameWorker[int] = EveryFrameWorker(leave, name='test', depth=1)
    worker.offer(1)
    worker._thread.join(PATIENCE_S)
    assert not worker.is_alive
    assert worker.offer(2) == 2
