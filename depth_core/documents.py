# SPDX-License-Identifier: Apache-2.0
"""JSON from outside, bounded: what a few kilobytes of text can become.

A text may nest deeper than any reader can follow, or hold numbers and letters that nothing after
the parser takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

DEEPEST: Final = 64
"""Levels of groups and lists; configurations and manifests have five."""
MOST_CHARACTERS: Final = 16 << 20
"""Of a text; long histories of a training have one million."""
_LARGEST_WHOLE: Final = 2**64
"""Beyond it no field of any format goes."""
_SHOWN: Final = 60
"""Characters of a key or a text in a message."""
_HALF_LETTER: Final = re.compile(r'\\u[dD][89a-fA-F]')


class DocumentError(ValueError):
    """A text is no document, or one that is not taken; says so without naming its source."""


def parse_json(text: str) -> Any:  # noqa: ANN401  whatever JSON can say
    """Read JSON.

    Raises:
        DocumentError: It is none, nests more than `DEEPEST` levels, or holds a whole number of
            more than 64 bits or half a letter (a lone surrogate).
    """
    refuse_long(text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(reason(error)) from error
    halves = _HALF_LETTER.search(text) is not None
    for where, item in _items(content):
        if isinstance(item, str):
            if halves and any('\ud800' <= mark <= '\udfff' for mark in item):
                message = (
                    f'{where} holds half a letter (a lone surrogate): {item[:_SHOWN]!a}; '
                    'write whole letters'
                )
                raise DocumentError(message)
        elif isinstance(item, int) and not -_LARGEST_WHOLE < item < _LARGEST_WHOLE:
            message = (
                f'{where} is a whole number of {item.bit_length()} bits; give one of 64 at most'
            )
            raise DocumentError(message)
    return content


def _items(content: object) -> Iterator[tuple[str, object]]:
    """Every value and key with its place, without a stack.

    Raises:
        DocumentError: It nests too deeply.
    """
    waiting: list[tuple[str, object, int]] = [('', content, 0)]
    while waiting:
        where, item, depth = waiting.pop()
        if depth > DEEPEST:
            message = f'{where[:_SHOWN]} {too_deep()}'
            raise DocumentError(message)
        yield where or 'it', item
        if isinstance(item, Mapping):
            for key, value in item.items():
                waiting.append((f'a key of {where or "it"}', str(key), depth))
                waiting.append((f'{where}.{key[:_SHOWN]}'.lstrip('.'), value, depth + 1))
        elif isinstance(item, list):
            waiting += [(f'{where}[{place}]', one, depth + 1) for place, one in enumerate(item)]


def refuse_long(text: str) -> None:
    """Refuse a text of more than `MOST_CHARACTERS`.

    Raises:
        DocumentError: As said.
    """
    if len(text) > MOST_CHARACTERS:
        message = f'it has {len(text)} characters, and {MOST_CHARACTERS} are read'
        raise DocumentError(message)


def too_deep() -> str:
    """The rule on nesting, as the end of a sentence."""
    return f'nests more than {DEEPEST} levels, which no document needs'


def reason(error: Exception) -> str:
    """What a parser says, on one line."""
    if isinstance(error, RecursionError):
        return f'it {too_deep()}'
    if 'integer string conversion' in str(error):
        return 'it holds a whole number of thousands of digits; give one of 64 bits at most'
    return ' '.join(str(error).split())
