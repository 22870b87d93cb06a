# SPDX-License-Identifier: Apache-2.0
"""Definitions of messages that were recorded with a bag: bounded before code is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from rosbags.interfaces import Nodetype

Types: TypeAlias = Mapping[str, Any]
"""As `rosbags` parses definitions: constants and fields by the name of a type."""

MOST_CHARACTERS: Final = 1 << 20
"""Of a definition with all it names; those of planners have 60,000."""
MOST_FIELDS: Final = 2000
"""Of all types together; each costs two milliseconds."""
MOST_VALUES: Final = 100_000
"""In a message with its parts, lists counted as one: each is a line of the code that reads it."""


class DefinitionError(Exception):
    """A definition is too large; says why, without its name."""


def refuse_long(text: str) -> None:
    """Refuse a text before it is parsed.

    Raises:
        DefinitionError: It is longer than definitions are, or has too many lines of fields.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith('#')]
    if len(text) > MOST_CHARACTERS or len(lines) > 2 * MOST_FIELDS:
        message = (
            f'it has {len(text)} characters in {len(lines)} lines, and {MOST_CHARACTERS} in '
            f'{2 * MOST_FIELDS} are read'
        )
        raise DefinitionError(message)


def refuse_large(types: Types) -> None:
    """Refuse types that are large, hold themselves, or hold lists of what has no fields.

    Raises:
        DefinitionError: As said.
    """
    fields = sum(len(inside) for _, inside in types.values())
    if fields > MOST_FIELDS:
        message = f'it has {fields} fields, and {MOST_FIELDS} are read'
        raise DefinitionError(message)
    known: dict[str, int] = {}
    for name in types:
        _values(name, types, known, ())


def _values(name: str, types: Types, known: dict[str, int], above: tuple[str, ...]) -> int:
    """How many values a type comes to."""
    if name in above:
        message = f'{name} holds itself'
        raise DefinitionError(message)
    if name not in types:
        return 1
    if name not in known:
        total = 1
        for _, described in types[name][1]:
            total += _values_of_field(described, types, known, (*above, name))
        if total > MOST_VALUES:
            message = f'{name} comes to {total} values, and {MOST_VALUES} are read'
            raise DefinitionError(message)
        known[name] = total
    return known[name]


def _values_of_field(
    described: Any,  # noqa: ANN401  a nested tuple of rosbags
    types: Types,
    known: dict[str, int],
    above: tuple[str, ...],
) -> int:
    kind, inside = described
    if kind == Nodetype.NAME:
        return _values(inside, types, known, above)
    if kind not in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return 1
    (element, name), count = inside
    if element != Nodetype.NAME:
        return 1
    if name in types and not types[name][1]:
        message = f'it holds lists of {name}, which has no fields'
        raise DefinitionError(message)
    times = count if kind == Nodetype.ARRAY else 1
    return int(times) * _values(name, types, known, above)
