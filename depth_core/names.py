# SPDX-License-Identifier: Apache-2.0
"""How text from outside is shown: names of files and topics, and messages that quote them.

A file name may hold anything but a slash and a zero: sequences that a terminal obeys, lines that
look like other messages, characters that turn the direction of writing, bytes that are no text.
All of it is shown escaped, and nothing that can be read as it is changes.
"""

from __future__ import annotations

import html
import logging
import re
from typing import Final, TextIO

_LONGEST: Final = 6000
"""Characters of a message; what is longer quotes something that is no name."""
_KEPT_AT_END: Final = 500
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)
"""What Python makes of the bytes of a name that are no UTF-8."""
_LAID_OUT: Final = '\n\t'
_INDENTED: Final = re.compile(r'\n(?=  )')
"""Where the messages of this package begin another line."""


def printable(text: object) -> str:
    r"""Return a name, or any text, on one line and without anything that a terminal obeys.

    Args:
        text: What is to be shown; for a path, as `str` gives it.

    Returns:
        The text with `\n`, `\x1b` or `\u202e` where such a character stood, and `\xff` where a
        byte of a name is no UTF-8. It is encodable in UTF-8.
    """
    said = str(text)
    return said if said.isprintable() else ''.join(map(_shown, said))


def printable_lines(text: object) -> str:
    """Return a message with its own lines, indented by two blanks or more, and cut where long.

    Args:
        text: The message; what it quotes may hold line breaks, which are no lines of its own.
    """
    said = str(text)
    if len(said) > _LONGEST:
        left_out = len(said) - _LONGEST
        head, tail = said[: _LONGEST - _KEPT_AT_END], said[-_KEPT_AT_END:]
        said = f'{head} [... {left_out} characters ...] {tail}'
    if said.isprintable():
        return said
    return '\n'.join(printable(line) for line in _INDENTED.split(said))


def printable_output(text: str) -> str:
    """Return what a command writes, with its line breaks and tabs, and nothing that is obeyed.

    Where a line break may be of a name, `printable` must have been there before.
    """
    if text.isprintable():
        return text
    return ''.join(mark if mark in _LAID_OUT else _shown(mark) for mark in text)


def printable_html(text: object) -> str:
    """Return a name for a page of HTML, also inside a quoted attribute."""
    return html.escape(printable(text), quote=True)


def show_log(
    level: int,
    *,
    form: str = '%(message)s',
    handler: logging.Handler | None = None,
    stream: TextIO | None = None,
) -> None:
    """Show the log of a command, line by line, as `printable_lines` has it.

    Args:
        level: The least that is shown.
        form: How a line is put together, as `logging.Formatter` takes it.
        handler: What writes the lines; None for `stream`.
        stream: None for stderr.
    """
    handler = handler or logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])


class PrintableFormatter(logging.Formatter):
    """Shows messages as `printable_lines` has them; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name it has there
        """Put the line of a message together."""
        record.message = printable_lines(record.message)
        return super().formatMessage(record)


def _shown(mark: str) -> str:
    if mark.isprintable():
        return mark
    if ord(mark) in _ESCAPED_BYTES:
        return f'\\x{ord(mark) - 0xDC00:02x}'
    return mark.encode('unicode_escape').decode('ascii')
