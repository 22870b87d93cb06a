# SPDX-License-Identifier: Apache-2.0
"""Lists of named parts with options, as a configuration file has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from depth_core.errors import ConfigError, DepthError, unknown_name

Part = TypeVar('Part')


def build_named(where: str, given: object, table: Mapping[str, Callable[..., Part]]) -> Part:
    """Make the part that a mapping such as `{name: flip, probability: 0.5}` asks for.

    Args:
        where: The key it stands under, for messages.
        given: The mapping, or the name alone.
        table: The dataclasses that may be asked for, by name; their fields are the options.

    Raises:
        ConfigError: It is no such mapping, the name or an option is unknown, an option is missing
            or has a value that cannot be used.
    """
    asked = {'name': given} if isinstance(given, str) else given
    if not isinstance(asked, Mapping) or not isinstance(asked.get('name'), str):
        first = next(iter(table))
        message = f'{where} is {given!r}; give a mapping with a name, as {{name: {first}}}.'
        raise ConfigError(message)
    name = str(asked['name'])
    if name not in table:
        raise ConfigError(unknown_name(f'{where}.name', name, table))
    builder = table[name]
    options = {str(key): value for key, value in asked.items() if key != 'name'}
    known = options_of(builder)
    for key, value in options.items():
        if key not in known:
            raise ConfigError(unknown_name(f'option of {where} ({name})', key, known))
        if _is_number(known[key]) and not _is_number(value):
            message = f'{where} ({name}): {key} is {value!r}; give a number.'
            raise ConfigError(message)
        if type(known[key]) is int and type(value) is not int:
            message = f'{where} ({name}): {key} is {value!r}; give a whole number.'
            raise ConfigError(message)
        if isinstance(known[key], bool) and not isinstance(value, bool):
            message = f'{where} ({name}): {key} is {value!r}; give true or false.'
            raise ConfigError(message)
    missing = [key for key, usual in known.items() if usual is MISSING and key not in options]
    if missing:
        message = f'{where} ({name}) needs {", ".join(missing)}; give {missing[0]}.'
        raise ConfigError(message)
    try:
        return builder(**options)
    except DepthError as error:
        message = f'{where} ({name}): {error}'
        raise ConfigError(message) from error


def options_of(builder: Callable[..., object]) -> dict[str, Any]:
    """The options of a part with the values they have when they are left out."""
    if not (isinstance(builder, type) and is_dataclass(builder)):
        return {}
    return {item.name: item.default for item in fields(builder)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
