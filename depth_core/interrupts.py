# SPDX-License-Identifier: Apache-2.0
"""Signals while a command is still being imported; loads little, so that it is soon in place."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def answer_interrupts() -> None:
    """Let Ctrl-C and SIGTERM end this process with one word and the status of `run_command`.

    For commands, whose imports take seconds before `run_command` is reached.
    """
    sys.excepthook = _say_interrupted
    signal.signal(signal.SIGTERM, lambda _number, _frame: _leave('terminated', signal.SIGTERM))


def _say_interrupted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _leave('interrupted', signal.SIGINT)
    sys.__excepthook__(kind, error, trace)


def _leave(word: str, number: int) -> None:
    """End at once, with a status: Python itself would end by the signal."""
    sys.stderr.write(f'{word}\n')
    sys.stderr.flush()
    os._exit(128 + number)
