# SPDX-License-Identifier: Apache-2.0
"""Between the JSON of a manifest and its dataclasses, by the types and names of their fields.

Version 2 of the file groups some keys (`input.size`, `depth.kind`, `confidence`) and renames
others; version 1 spells every key as its attribute.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any, Final, Literal

from depth_core.contracts import InputSpec, OutputSpec
from depth_core.errors import ConfigError, PlacedError, unknown_name
from depth_core.manifest import spelling
from depth_core.manifest.spelling import refuse
from depth_core.names import printable

_ALIASES = {
    'f32': 'float32',
    'f16': 'float16',
    'u8': 'uint8',
    'pre': 'pre_norm',
    'post': 'post_norm',
    'centre': 'center',
}
"""Other words for values that are one of a few."""
_WORDS: Final[Mapping[Any, str]] = {
    bool: 'true or false',
    int: 'a whole number',
    str: 'text in quotes',
}
_LARGEST_WHOLE: Final = 2**31 - 1
_NAMES: Final = ('name', 'output', 'depth', 'sigma')
"""What the keys of names end with: a graph has no tensor without one."""


def read_content(kind: Any, content: object, *, example: str) -> Any:  # noqa: ANN401  a dataclass
    """Make a `kind` from what the JSON of a manifest says.

    Args:
        kind: The dataclass.
        content: The JSON.
        example: Shown where keys are missing.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or range.
    """
    if not isinstance(content, dict):
        refuse('the manifest', content, 'an object in braces')
    rest = dict(content)
    for key, known in (('format', (1,)), ('version', (1, 2))):
        if rest.get(key, 1) not in known or isinstance(rest.get(key), bool):
            refuse(key, rest[key], 'one of ' + ', '.join(map(str, known)))
    version = rest.pop('version', rest.pop('format', 1))
    if version == 1 and 'depth' in rest:
        message = 'key depth is of version 2; say so: "version": 2.'
        raise ConfigError(message)
    return _Reader(grouped=version == 2, example=example).build(kind, rest, '')  # noqa: PLR2004


def content_of(value: Any) -> dict[str, Any]:  # noqa: ANN401  a dataclass
    """Spell a manifest, or a section of it, as version 2 does."""
    content: dict[str, Any] = {}
    name = type(value).__name__
    stated = spelling.STATED.get(name, frozenset())
    for item in dataclasses.fields(value):
        found = getattr(value, item.name)
        if found == _default(item) and item.name not in stated:
            continue
        key = spelling.KEYS.get(name, {}).get(item.name, item.name)
        if isinstance(found, tuple) and found and dataclasses.is_dataclass(found[0]):
            content[key] = [content_of(one) for one in found]
        else:
            content[key] = content_of(found) if dataclasses.is_dataclass(found) else found
    if isinstance(value, InputSpec):
        return spelling.group_size(content)
    if isinstance(value, OutputSpec):
        return spelling.name_kind(content)
    return content


def plain(value: object, *, not_finite: Callable[[float], object] = str) -> Any:  # noqa: ANN401  whatever JSON can say
    """Return `value` in the types that reading its JSON gives back.

    Args:
        value: Dataclasses, mappings, sequences, enums and scalars, in any nesting.
        not_finite: What a float becomes that JSON has no number for.
    """
    inner = partial(plain, not_finite=not_finite)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: inner(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    if isinstance(value, Enum):
        return inner(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else not_finite(value)
    return value if isinstance(value, (bool, int, type(None))) else _letters(str(value))


def _letters(text: str) -> str:
    """Text that JSON and ONNX take: a path that is no UTF-8 is escaped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return printable(text)
    return text


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Makes values from JSON."""

    grouped: bool
    """Whether it is spelled as version 2."""
    example: str

    def build(self, kind: Any, content: object, where: str) -> Any:  # noqa: ANN401  any field type
        """Make a value of type `kind`; `where` is its dotted key."""
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, content, where)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (types.UnionType, typing.Union):
            inner = next(item for item in arguments if item is not type(None))
            return None if content is None else self.build(inner, content, where)
        if origin is Literal:
            return _literal(arguments, content, where)
        if origin is tuple:
            return self._tuple(arguments, content, where)
        if origin is not None:
            if not isinstance(content, dict):
                refuse(where, content, 'an object in braces')
            return content
        return _scalar(kind, content, where)

    def _tuple(self, arguments: tuple[Any, ...], content: object, where: str) -> tuple[Any, ...]:
        if arguments[-1] is Ellipsis:
            if not isinstance(content, list):
                refuse(where, content, 'a list in brackets')
            return tuple(
                self.build(arguments[0], item, f'{where}[{place}]')
                for place, item in enumerate(content)
            )
        if not isinstance(content, list) or len(content) != len(arguments):
            refuse(where, content, f'a list of {len(arguments)} numbers')
        pairs = zip(arguments, content, strict=True)
        return tuple(self.build(item, value, where) for item, value in pairs)

    def _dataclass(self, kind: Any, content: object, where: str) -> Any:  # noqa: ANN401  as `build`
        if not isinstance(content, dict):
            refuse(where, content, 'an object in braces')
        hints = _hints(kind)
        keys = spelling.KEYS.get(kind.__name__, {}) if self.grouped else {}
        fields = {keys.get(item.name, item.name): item for item in dataclasses.fields(kind)}
        prefix = f'{where}.' if where else ''
        grouped: dict[str, Any] = {}
        if self.grouped:
            content, grouped = spelling.ungroup(kind, content, where)
        for name in spelling.HIDDEN.get(kind, ()) if self.grouped else ():
            fields.pop(name)
        for key in content:
            if key not in fields:
                known = [prefix + k for k in (*fields, *spelling.EXTRA.get(kind, ()))]
                raise ConfigError(unknown_name('key', f'{prefix}{key}', known))
        missing = [
            f'{prefix}{key}'
            for key, item in fields.items()
            if key not in content and item.name not in grouped and _default(item) is _MISSING
        ]
        if missing:
            message = (
                f'key {", ".join(missing)} is missing; give it. The least a manifest says is: '
                f'{self.example}'
            )
            raise ConfigError(message)
        given = {
            fields[key].name: self.build(hints[fields[key].name], value, f'{prefix}{key}')
            for key, value in content.items()
        }
        try:
            return kind(**given, **grouped)
        except PlacedError as error:
            message = f'{prefix}{error}'
            raise ConfigError(message) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:  # noqa: ANN401  a dataclass
    """The types of the fields of a dataclass; finding them takes longer than reading a file."""
    return typing.get_type_hints(kind)


_MISSING = dataclasses.MISSING


def _default(item: dataclasses.Field[Any]) -> object:
    if item.default_factory is not _MISSING:
        return item.default_factory()
    return item.default


def _literal(arguments: tuple[Any, ...], content: object, where: str) -> object:
    if isinstance(content, str):
        wanted = _ALIASES.get(content.casefold(), content).casefold()
        for argument in arguments:
            if isinstance(argument, str) and argument.casefold() == wanted:
                return argument
    elif content in arguments and not isinstance(content, bool):
        return content
    return refuse(where, content, 'one of ' + ', '.join(map(repr, arguments)))


def _scalar(kind: Any, content: object, where: str) -> Any:  # noqa: ANN401  as `_Reader.build`
    if isinstance(kind, type) and issubclass(kind, Enum):
        known = [item.value for item in kind]
        if content not in known:
            refuse(where, content, 'one of ' + ', '.join(map(repr, known)))
        return kind(content)
    if kind is float:
        if isinstance(content, bool) or not isinstance(content, (int, float)):
            refuse(where, content, 'a number')
        if not _is_finite(content):
            refuse(where, content, 'a finite number')
        return float(content)
    if (kind is bool) != isinstance(content, bool) or not isinstance(content, kind):
        refuse(where, content, _WORDS[kind])
    if isinstance(content, int) and abs(content) > _LARGEST_WHOLE:
        refuse(where, content, f'a whole number of at most {_LARGEST_WHOLE}')
    if isinstance(content, str) and where.endswith(_NAMES) and not content.strip():
        refuse(where, content, 'a name, or leave the key out where nothing has one')
    return content


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no float reaches
        return False
