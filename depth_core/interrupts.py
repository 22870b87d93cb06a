# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a command is still being imported; loads nothing, so that it is soon in place."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def answer_interrupts() -> None:
    """Let Ctrl-C end this process with one word instead of a traceback, wherever it is.

    For commands, whose imports take seconds before `run_command` is reached.
    """
    sys.excepthook = _say_interrupted


def _say_interrupted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write('interrupted\n')
    else:
        sys.__excepthook__(kind, error, trace)
