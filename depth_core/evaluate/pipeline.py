# SPDX-License-Identifier: Apache-2.0
"""Images read, predicted and scored at the same time: each step is at another image."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

_Given = TypeVar('_Given')
_Made = TypeVar('_Made')

_AHEAD: Final = 3
"""So many items may a thread be ahead: one that takes long then holds nobody up."""


class _End:
    """What comes after the last item."""


def ahead(items: Iterable[_Made]) -> Iterator[_Made]:
    """Give the items, in order; they are made in a thread, the next ones while one is used."""
    left, end = iter(items), _End()
    for item in in_thread(lambda _: next(left, end), itertools.repeat(None)):
        if isinstance(item, _End):
            return
        yield item


def in_thread(work: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """Give what `work` makes of each item, in order; it is at the next ones while one is used.

    The items themselves are made in the thread that calls.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[_Made]] = deque()
        try:
            for item in given:
                waiting.append(thread.submit(work, item))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(wait=False, cancel_futures=True)  # what nobody will use
