# SPDX-License-Identifier: Apache-2.0
"""Where parts are evaluated: in this process, in several, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeAlias

from depth_core.errors import DepthError
from depth_core.evaluate.bags.part import evaluate_part, evaluate_parts
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_core.processes import begin_child, signals_blocked

Outcome: TypeAlias = tuple[Part, 'bytes | DepthError']
"""What became of a part: its result, or why it could not be read."""

Work: TypeAlias = Callable[[BagRequest, Part], bytes]
"""Evaluates one part."""

Execute: TypeAlias = Callable[[BagRequest, Sequence[Part]], Iterator[Outcome]]
"""Evaluates parts, in any order."""

_WAITING_PER_WORKER: Final = 2
"""Parts handed out at a time, so that neither tasks nor results pile up."""
_FRUITLESS_LIMIT: Final = 3
"""So often in a row may workers die before any part is finished."""


def in_this_process(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
    """Evaluate one part after the other."""
    if parts:
        yield from evaluate_parts(request, parts)


def in_processes(workers: int, work: Work = evaluate_part) -> Execute:
    """Evaluate parts in as many processes; those that die are replaced.

    Args:
        workers: How many processes.
        work: What is done with a part, a function that a new process can import.

    Raises:
        DepthError: From the returned function: workers died again and again.
    """

    def execute(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        left = list(parts)
        fruitless = 0
        while left:
            before = len(left)
            for outcome in _one_pool(request, list(left), workers, work):
                left.remove(outcome[0])
                yield outcome
            fruitless = fruitless + 1 if len(left) == before else 0
            if left and fruitless >= _FRUITLESS_LIMIT:
                message = (
                    f'worker processes died {fruitless} times without finishing a part of '
                    f'{left[0].bag}: killed for memory, perhaps. What is finished is kept; run '
                    'again with fewer --workers.'
                )
                raise DepthError(message)

    return execute


def _one_pool(
    request: BagRequest, parts: Sequence[Part], workers: int, work: Work
) -> Iterator[Outcome]:
    """Evaluate parts until all are done or a worker dies."""
    context = multiprocessing.get_context('spawn')
    queue = deque(parts)
    running: dict[Future[bytes], Part] = {}
    with (
        ProcessPoolExecutor(
            min(workers, len(parts)),
            mp_context=context,
            initializer=begin_child,
            initargs=(os.getpid(),),
        ) as pool,
        _killed_early(pool),
    ):
        broken = False
        while (queue and not broken) or running:
            while queue and not broken and len(running) < workers * _WAITING_PER_WORKER:
                part = queue.popleft()
                try:
                    with signals_blocked():  # a process that is started gets what it waits for
                        running[pool.submit(work, request, part)] = part
                except BrokenProcessPool:
                    broken = True
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                part = running.pop(future)
                try:
                    yield part, _tried(future.result)
                except BrokenProcessPool:
                    broken = True


@contextlib.contextmanager
def _killed_early(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Kill the workers when the block is left before its end: by a signal, or an error."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            worker.kill()
        raise


def _tried(result: Callable[[], bytes]) -> bytes | DepthError:
    try:
        return result()
    except DepthError as error:
        return error
