# SPDX-License-Identifier: Apache-2.0
"""Signals: what they may break into, and what they make of the children."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from depth_core.processes import TERMINATED, terminated_cleanly, undivided


def test_ctrl_c_waits_for_the_end_of_what_is_not_to_be_divided() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - where it is raised is what is tested
        with undivided():
            signal.raise_signal(signal.SIGINT)
            done.append('whole')
        done.append('never')
    assert done == ['whole']


def test_the_first_of_several_signals_counts() -> None:
    with (  # noqa: PT012 - what comes after the first signal is tested
        pytest.raises(SystemExit) as ended,
        terminated_cleanly(),
        undivided(),
    ):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert ended.value.code == TERMINATED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_not_broken_into_anyway() -> None:
    done = []

    def work() -> None:
        with undivided():
            done.append('whole')

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ['whole']


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
