# SPDX-License-Identifier: Apache-2.0
"""Options of networks beside the types that their builders state.

Options come from YAML files, command lines and checkpoints, where anything may stand. A builder
checks what its numbers mean; here they are first made sure to be numbers.
"""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, Literal

from depth_core.errors import ConfigError, unknown_name

_PLAIN: Final[Mapping[object, tuple[type, ...]]] = {
    bool: (bool,),
    int: (Integral,),
    float: (Real,),
    str: (str,),
    Path: (Path,),
    types.NoneType: (types.NoneType,),
}
"""What each type of an annotation takes: the numbers of NumPy too, and whole ones for float."""

_WORDS: Final[Mapping[object, str]] = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a finite number',
    str: 'a text',
    Path: 'a path',
    types.NoneType: 'nothing',
}


def check_options(
    model: str, builder: Callable[..., object], options: Mapping[str, object]
) -> None:
    """Refuse options that `builder` does not have, or whose type is not the one it states.

    Names that are one of several, such as encoders, are left to the builder, which checks them.

    Args:
        model: Name of the model, for the message.
        builder: Takes keyword-only options, annotated.
        options: Those that were given.

    Raises:
        ConfigError: An option is unknown, or some are of another type: all of these are listed.
    """
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            raise ConfigError(unknown_name(f'option of model {model!r}', option, known))
    kinds = typing.get_type_hints(builder)
    problems = [
        f'{key} is {value!r}; give {_wanted(kinds[key])}'
        for key, value in options.items()
        if not _is(value, kinds[key])
    ]
    if problems:
        message = (
            f'model {model!r} cannot be built with these options: ' + '; '.join(problems) + '.'
        )
        raise ConfigError(message)


def _is(value: object, kind: Any) -> bool:  # noqa: ANN401  an annotation may be anything
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return any(isinstance(value, type(item)) for item in inside)
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, item) for item in inside)
    if origin is Sequence:
        is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        return is_list and all(_is(item, inside[0]) for item in typing.cast('Any', value))
    if origin is dict:
        return isinstance(value, Mapping)
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, _PLAIN[kind]) and not (
        kind is float and not math.isfinite(typing.cast('float', value))
    )


def _wanted(kind: Any) -> str:  # noqa: ANN401  an annotation may be anything
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return 'one of ' + ', '.join(repr(item) for item in inside)
    if origin in (typing.Union, types.UnionType):
        return ' or '.join(_wanted(item) for item in inside)
    if origin is Sequence:
        return f'a list, each {_wanted(inside[0])}'
    if origin is dict:
        return 'a group of options'
    return _WORDS[kind]
