# SPDX-License-Identifier: Apache-2.0
"""Signals wait until rclpy has returned; they are never lost."""

from __future__ import annotations

import signal

import pytest

from depth_core.processes import TERMINATED, terminated_cleanly
from depth_ros.middleware.session import signals_held


def receive(number: signal.Signals, reached: list[int]) -> None:
    with signals_held():
        signal.raise_signal(number)
        reached.append(number)


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    former = signal.getsignal(signal.SIGINT)
    reached: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        receive(signal.SIGINT, reached)
    assert reached == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is former


def test_sigterm_ends_the_process_with_its_status_after_the_block() -> None:
    reached: list[int] = []
    with pytest.raises(SystemExit) as raised, terminated_cleanly():
        receive(signal.SIGTERM, reached)
    assert reached == [signal.SIGTERM]
    assert raised.value.code == TERMINATED


def test_without_a_signal_nothing_happens_and_errors_pass() -> None:
    with signals_held():
        pass
    with pytest.raises(ValueError, match='from inside'), signals_held():
        raise ValueError('from inside')  # noqa: EM101, TRY003 the shortest error there is
