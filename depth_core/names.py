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

_LONGEST_WORD: Final = 400
"""Characters without a blank in a message; what is longer is no name."""
_LONGEST_LINE: Final = 2000
_MOST_LINES: Final = 30
_FOR_THE_GAP: Final = 40
"""Characters that say what is left out: what was cut once is not cut again."""
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)
"""What Python makes of the bytes of a name that are no UTF-8."""
_LAID_OUT: Final = '\n\t'
_LONG_WORD: Final = re.compile(rf'\S{{{_LONGEST_WORD + 1},}}')
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
        text: The message; what it quotes may hold line breaks, which are no lines of its own, and
            may be of any length.
    """
    lines = [_shortened(printable(line)) for line in _INDENTED.split(str(text))]
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES + 1
        lines[_MOST_LINES - 2 : -1] = [f'  [... {left_out} lines ...]']
    return '\n'.join(lines)


def _shortened(line: str) -> str:
    """A line whose words are no longer than names, nor the line than a sentence."""
    if len(line) > _LONGEST_WORD:
        line = _LONG_WORD.sub(lambda word: _without_middle(word[0], _LONGEST_WORD), line)
    return _without_middle(line, _LONGEST_LINE)


def _without_middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    kept = (most - _FOR_THE_GAP) // 2
    return f'{text[:kept]}[... {len(text) - 2 * kept} characters ...]{text[-kept:]}'


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
