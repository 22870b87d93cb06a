# SPDX-License-Identifier: Apache-2.0
"""What is made in another thread comes in order, not too far ahead, and with its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from depth_core.evaluate.pipeline import ahead, in_thread


def test_items_come_in_order_from_another_thread_that_does_not_run_away() -> None:
    made: list[int] = []
    threads: set[int] = set()

    def items() -> Iterator[int]:
        for number in range(20):
            threads.add(threading.get_ident())
            made.append(number)
            yield number

    for place, number in enumerate(ahead(items())):
        assert number == place
        assert len(made) <= number + 5, 'memory does not grow with what is waited for'
    assert len(made) == 20
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert list(in_thread(str, range(9))) == list('012345678')
    assert not list(ahead(()))


def test_what_goes_wrong_comes_after_what_was_made_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 0

    found = in_thread(lambda number: 1 // number, ahead(items()))
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)
