# SPDX-License-Identifier: Apache-2.0
"""The consoles of the commands: tables and bars, in which names are shown as names.

`rich` reads `[bold]` in a text as markup and `:bug:` as a picture, and passes on what a terminal
obeys. A name may hold all of that.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from depth_core.names import printable
from depth_core.processes import unescaped

WIDTH: Final = 160
"""Columns of what goes to a file or a pipe: enough for every table; rich would take 80."""


class _Console(Console):
    def render_str(self, text: str, **how: Any) -> Text:  # noqa: ANN401  as rich passes it
        """Show a cell, a title or a line: on one line, and nothing in it is obeyed."""
        return super().render_str(printable(text), **how)


def open_console(*, stderr: bool = False) -> Console:
    """Open a console that shows each text as it stands, on one line, with `printable`."""
    stream = sys.stderr if stderr else sys.stdout
    known = stream.isatty() or 'COLUMNS' in os.environ
    return _Console(
        file=unescaped(stream),
        width=None if known else WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
    )


def progress_bar() -> Progress:
    """Open a bar of things done, on stderr and on a terminal alone."""
    console = open_console(stderr=True)
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
