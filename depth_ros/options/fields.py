# SPDX-License-Identifier: Apache-2.0
"""A field of a settings class that is a ROS parameter: what it is, and how a value is checked.

No rclpy here, so that launch files and documentation read the same fields as the node.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args, get_type_hints

from depth_core.errors import ConfigError, unknown_name

Value: TypeAlias = bool | int | float | str
ValueT = TypeVar('ValueT')
SettingsT = TypeVar('SettingsT')

RCLPY_NAMES: Final = ('use_sim_time', 'start_type_description_service')
RCLPY_PREFIX: Final = 'qos_overrides.'
"""Parameters that rclpy itself declares."""

_METADATA: Final = 'parameter'
_TYPE_NAMES: Final = {bool: 'boolean', int: 'whole number', float: 'number', str: 'string'}


class When(str, Enum):
    """When a parameter may change."""

    READ_ONLY = 'read-only'
    """On the command line or in the parameter file only."""
    CONFIGURE = 'configure'
    """While the node is unconfigured; it takes effect with configure."""
    LIVE = 'live'
    """At any time; it takes effect with the next frame."""

    def __str__(self) -> str:
        return self.value


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterField:
    """One parameter."""

    name: str = ''
    """Name in ROS: the field's own, behind those of the groups it is in, joined by dots."""
    path: tuple[str, ...] = ()
    """Attributes that lead from the settings to the value."""
    default: Value
    """Its value when the user gives none; also states its type."""
    sentence: str
    """What it does."""
    when: When
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] = ()
    """The strings allowed, from a `Literal` type; empty allows any."""
    names: tuple[str, ...]
    """What a list separated by commas may hold, where the parameter is one."""
    listed: bool = False
    """Whether a list of strings may be given too, in place of one separated by commas."""
    counted: bool = False
    """Whether a whole number may be given too, in place of its digits."""

    @property
    def allowed(self) -> str:
        """The allowed values and their unit, for people; empty where any value of the type is."""
        if self.choices:
            return ', '.join(self.choices)
        if self.minimum is None:
            return ''
        unit = f' {self.unit}' if self.unit else ''
        return f'{self.minimum:g} to {self.maximum:g}{unit}'

    @property
    def description(self) -> str:
        """The sentence and the allowed values, as launch arguments and ROS tools show them."""
        return f'{self.sentence} [{self.allowed}]' if self.allowed else self.sentence

    def value_in(self, settings: object) -> Value:
        """Return the value of this parameter in `settings`."""
        return cast('Value', functools.reduce(getattr, self.path, settings))

    def checked(self, value: object) -> Value:
        """Return `value` in the type of the default.

        An integer is accepted for a real number, a list where one separated by commas is due;
        a boolean for on and off, and a whole number for its digits: ROS reads them so where they
        stand without quotes.

        Raises:
            ConfigError: The type, the range or the choice is wrong.
        """
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is bool and {'on', 'off'} <= set(self.choices):
            value = 'on' if value else 'off'
        if self.listed and isinstance(value, list) and all(type(one) is str for one in value):
            value = ','.join(value)
        if self.counted and type(value) is int:
            value = str(value)
        if type(value) is not kind or not isinstance(value, (bool, int, float, str)):
            hint = f' {self.allowed}' if self.allowed else ''
            message = (
                f'parameter {self.name} = {value!r} is of type {type(value).__name__}; '
                f'give a {_TYPE_NAMES[kind]}{hint}.'
            )
            raise ConfigError(message)
        if isinstance(value, str):
            self._check_names(value)
        elif self.minimum is not None and self.maximum is not None:  # noqa: SIM102 two steps
            if not self.minimum <= value <= self.maximum:
                message = f'parameter {self.name} = {value} is out of range; give {self.allowed}.'
                raise ConfigError(message)
        return value

    def _check_names(self, value: str) -> None:
        if self.choices and value not in self.choices:
            raise ConfigError(unknown_name(f'value of parameter {self.name}', value, self.choices))
        if not self.names or value == self.default:
            return
        for name in split_names(value):
            if name not in self.names:
                alone = f'; give {self.default} alone.' if name == self.default else ''
                message = unknown_name(f'name in parameter {self.name}', name, self.names) + alone
                raise ConfigError(message)


def parameter(
    sentence: str,
    *,
    default: ValueT,
    when: When = When.CONFIGURE,
    unit: str = '',
    minimum: float | None = None,
    maximum: float | None = None,
    names: tuple[str, ...] = (),
    name: str = '',
    listed: bool = False,
    counted: bool = False,
) -> ValueT:
    """Make a field of a settings class a parameter.

    Args:
        sentence: What it does, one sentence or two.
        default: Its value when the user gives none; also states its type.
        when: When it may change.
        unit: Of the value, as people write it.
        minimum: Smallest value of a number; give `maximum` too.
        maximum: Largest value.
        names: What the string may list, separated by commas, instead of the default.
        name: Name in ROS, where it is not the one that the field has by its place.
        listed: Whether a string that lists several may be given as a list.
        counted: Whether a string of digits may be given as a whole number.

    Returns:
        The field, for `dataclasses.dataclass`; typed as its value. Strings with a fixed set of
        values are declared as `Literal`.
    """
    entry = ParameterField(
        name=name,
        default=cast('Value', default),
        sentence=sentence,
        when=when,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        names=names,
        listed=listed,
        counted=counted,
    )
    return dataclasses.field(default=default, metadata={_METADATA: entry})


def parameters_of(settings: type, *groups: str) -> Iterator[ParameterField]:
    """Yield the parameters of a settings class in their order; a field may be a class of some.

    Args:
        settings: A dataclass whose fields are `parameter(...)` or such a dataclass.
        groups: Attributes that lead to it.
    """
    kinds = get_type_hints(settings)
    for item in dataclasses.fields(settings):
        path = (*groups, item.name)
        kind = kinds[item.name]
        if dataclasses.is_dataclass(kind):
            yield from parameters_of(cast('type', kind), *path)
            continue
        entry: ParameterField = item.metadata[_METADATA]
        name = entry.name or '.'.join(path)
        yield dataclasses.replace(entry, name=name, path=path, choices=get_args(kind))


def with_values(settings: SettingsT, given: Mapping[str, object]) -> tuple[SettingsT, list[str]]:
    """Replace what the user gives.

    Args:
        settings: What holds for the rest.
        given: Values by parameter name. Names that rclpy itself declares are passed over.

    Returns:
        The settings with every value that is right, and a problem for each that is not.
    """
    known = {entry.name: entry for entry in parameters_of(type(settings))}
    problems: list[str] = []
    for name, value in given.items():
        if name in RCLPY_NAMES or name.startswith(RCLPY_PREFIX):
            continue
        if name not in known:
            problems.append(unknown_name('parameter', name, (*known, *RCLPY_NAMES)))
            continue
        try:
            settings = _replaced(settings, known[name].path, known[name].checked(value))
        except ConfigError as error:
            problems.append(str(error))
    return settings, problems


def split_names(value: str) -> tuple[str, ...]:
    """Split a list separated by commas; white space around a name does not count."""
    return tuple(name.strip() for name in value.split(',') if name.strip())


def _replaced(settings: Any, path: tuple[str, ...], value: object) -> Any:  # noqa: ANN401 any dataclass
    if len(path) > 1:
        value = _replaced(getattr(settings, path[0]), path[1:], value)
    return dataclasses.replace(settings, **{path[0]: value})
