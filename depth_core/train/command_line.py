# SPDX-License-Identifier: Apache-2.0
"""From YAML files and `--group.key value` arguments to `TrainSettings`."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from depth_core.documents import DocumentError
from depth_core.errors import ConfigError, unknown_name
from depth_core.files import read_text
from depth_core.train.hints import hint
from depth_core.train.recipes import RECIPES
from depth_core.train.settings import (
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainerSettings,
    TrainSettings,
)
from depth_core.yaml_text import parse_yaml

_DEFAULT_RECIPE: Final = 'densedepth'
_COMMAND: Final = 'python -m depth_core.train'
_PURPOSE: Final = 'Train a depth network, or a semantic or embedding network it is trained with.'
_MAY_BE_NONE: Final = 'data.validation'
_OWN_OPTIONS: Final = ('config', 'print_config', 'help')

_DATA_SETS: Final = ('data.train', 'data.validation')

_LOG = logging.getLogger(__name__)

set_parsing_settings(docstring_parse_attribute_docstrings=True)


def parse(
    arguments: Sequence[str],
    *,
    command: str = _COMMAND,
    purpose: str = _PURPOSE,
    recipe: str = _DEFAULT_RECIPE,
) -> TrainSettings:
    """Read the command line, and the YAML files it names, later ones over earlier ones.

    Exits with the help text on `--help`.

    Args:
        arguments: What stands after the command.
        command: The command, as a user calls it.
        purpose: What it is for, one or more sentences for its help.
        recipe: The recipe where none is named.

    Raises:
        ConfigError: A file is missing or no YAML, keys are unknown (all are listed, each with the
            nearest known one), a value has the wrong type, or settings contradict each other.
    """
    files = [Path(name) for name in values_of('config', arguments)]
    contents = [_read(path) for path in files]
    sections = _sections(_recipe_name(arguments, contents, recipe))
    _refuse_unknown_keys(sections, arguments, dict(zip(files, contents, strict=True)))
    parser = _parser(sections, command, purpose)
    arguments = _without_other_data_sets(arguments, dict(zip(files, contents, strict=True)))
    try:
        parsed = parser.parse_args(list(arguments))
        groups = {name: getattr(parser.instantiate(parsed), name) for name in sections}
    except ArgumentError as error:
        message = f'{_one_line(error)}. See {command} --help.'
        raise ConfigError(message) from error
    return TrainSettings(**groups)


def explain(recipe: str, *, command: str, purpose: str) -> str:
    """Return the help text of the settings with a recipe, for commands that have others too."""
    return str(_parser(_sections(recipe), command, purpose).format_help())


def to_yaml(settings: TrainSettings) -> str:
    """Write `settings` as a file that `--config` reads back to the same settings."""
    return yaml.safe_dump(plain(settings), sort_keys=False, width=99)


def flat(settings: TrainSettings) -> dict[str, bool | float | str]:
    """All settings by their dotted keys, as tables of runs take them."""
    return {
        key: value if isinstance(value, (bool, int, float, str)) else _as_text(value)
        for key, value in _leaves('', plain(settings))
    }


def _leaves(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(f'{prefix}.{name}' if prefix else str(name), item)
    else:
        yield prefix, value


def _as_text(value: object) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix('...\n').strip()
    )


def plain(value: object) -> Any:  # noqa: ANN401  a nest of whatever YAML and JSON have
    """Settings, or a part of them, as dictionaries, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _without_other_data_sets(
    arguments: Sequence[str], contents: Mapping[Path, Mapping[str, Any]]
) -> list[str]:
    """Drop what a file says of a data set in whose place a later file or argument names another.

    Root, split and options of one data set mean nothing to another. What is dropped is logged.

    Returns:
        The arguments, files of which something is dropped as text.
    """
    layers = list(contents.items())
    texts: dict[Path, str] = {}
    for key in _DATA_SETS:
        group = key.rpartition('.')[2]
        given = [(path, _section(content, group)) for path, content in layers]
        names = [section.get('name') for _, section in given]
        names += _names_given(key, arguments) or [None]
        last = next((name for name in reversed(names) if name is not None), None)
        for place, (path, section) in enumerate(given):
            before = next((name for name in reversed(names[: place + 1]) if name), None)
            if not section or before in (None, last):
                continue
            dropped = {name: value for name, value in section.items() if name != 'name'}
            listed = ', '.join(f'{name} {value}' for name, value in dropped.items()) or 'nothing'
            _LOG.info(
                '%s is %s in place of %s of %s, whose settings are dropped: %s',
                key, last, before, path, listed,
            )  # fmt: skip
            content = yaml.safe_load(texts[path]) if path in texts else dict(contents[path])
            content['data'] = {k: v for k, v in content['data'].items() if k != group}
            texts[path] = yaml.safe_dump(content)
    return _with_files_as_text(arguments, {str(path): text for path, text in texts.items()})


def _names_given(key: str, arguments: Sequence[str]) -> list[str | None]:
    """The names that arguments give a data set: within its whole group, or alone."""
    names: list[str | None] = []
    for text in values_of(key, arguments):
        try:
            group = parse_yaml(text)
        except DocumentError:  # said when the arguments are parsed
            continue
        if isinstance(group, Mapping) and group.get('name') is not None:
            names.append(str(group['name']))
    return names + values_of(f'{key}.name', arguments)


def _section(content: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """The group of `data` in a file; empty where it is no group of settings."""
    data = content.get('data')
    section = data.get(group) if isinstance(data, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _with_files_as_text(arguments: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    replaced = []
    for before, argument in itertools.pairwise(['', *arguments]):
        name, given, value = argument.partition('=')
        if before == '--config' and str(Path(argument)) in texts:
            replaced.append(texts[str(Path(argument))])
        elif name == '--config' and given and str(Path(value)) in texts:
            replaced += ['--config', texts[str(Path(value))]]
        else:
            replaced.append(argument)
    return replaced


def _sections(recipe: str) -> dict[str, type]:
    return {
        'model': ModelSettings,
        'data': DataSettings,
        'recipe': RECIPES[recipe],
        'optimizer': OptimizerSettings,
        'schedule': ScheduleSettings,
        'trainer': TrainerSettings,
    }


def _parser(sections: Mapping[str, type], command: str, purpose: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog=command,
        description=f'{purpose} Depths are metres, sizes pixels, lengths of a run '
        'optimizer steps. Recipes: ' + ', '.join(RECIPES) + '; --recipe.name NAME --help shows '
        'the settings of one.',
        epilog='Several processes: torchrun --nproc_per_node 2 -m depth_core.train --config ...'
        if command == _COMMAND
        else None,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument('--config', action='config', help='YAML file; arguments after it win.')
    for name, section in sections.items():
        parser.add_class_arguments(section, name, sub_configs=False)
    return parser


def _recipe_name(
    arguments: Sequence[str], contents: Sequence[Mapping[str, Any]], usual: str
) -> str:
    """Name of the recipe, which decides which keys the section `recipe` has."""
    in_files = [
        str(section['name'])
        for content in contents
        if isinstance(section := content.get('recipe'), Mapping) and 'name' in section
    ]
    name = [usual, *in_files, *values_of('recipe.name', arguments)][-1]
    if name not in RECIPES:
        raise ConfigError(unknown_name('recipe', name, RECIPES))
    return name


def values_of(key: str, arguments: Sequence[str]) -> list[str]:
    """The values an option is given, as `--key value` and `--key=value`."""
    option = f'--{key}'
    values = [value for name, value in itertools.pairwise(arguments) if name == option]
    return values + [
        argument.partition('=')[2] for argument in arguments if argument.startswith(f'{option}=')
    ]


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        message = (
            f'configuration file {path} does not exist; those of this package are in config/train.'
        )
        raise ConfigError(message)
    try:
        content = parse_yaml(read_text(path))
    except (DocumentError, OSError, UnicodeError) as error:
        message = f'{path} is not YAML: {_one_line(error)}.'
        raise ConfigError(message) from error
    if not isinstance(content, Mapping):
        message = (
            f'{path} holds {type(content).__name__}, not groups of settings as '
            '"model: {name: densedepth}".'
        )
        raise ConfigError(message)
    return content


def _refuse_unknown_keys(
    sections: Mapping[str, type],
    arguments: Sequence[str],
    contents: Mapping[Path, Mapping[str, Any]],
) -> None:
    known = {key: kind for name, section in sections.items() for key, kind in _keys(name, section)}
    problems = [
        line
        for path, content in contents.items()
        for line in _of(path, _unknown(known, [key for key, _ in _flatten('', content, known)]))
    ]
    given = [argument[2:].partition('=')[0] for argument in arguments if argument.startswith('--')]
    problems += _of(
        'command line', _unknown(known, [key for key in given if key not in _OWN_OPTIONS])
    )
    if problems:
        raise ConfigError('unknown settings:\n  ' + '\n  '.join(problems))
    problems = [
        line
        for path, content in contents.items()
        for line in _of(path, _unfit(known, _flatten('', content, known)))
    ]
    typed = [(key, _plain_value(text)) for key in known for text in values_of(key, arguments)]
    problems += _of('command line', _unfit(known, typed))
    if problems:
        raise ConfigError('settings of the wrong type:\n  ' + '\n  '.join(problems))


def _of(source: Path | str, problems: Sequence[str]) -> list[str]:
    """Lines that say where problems are: the first names it, the others stand below."""
    return [
        f'  {problem}' if number else f'{source}: {problem}'
        for number, problem in enumerate(problems)
    ]


def _keys(prefix: str, section: type) -> list[tuple[str, bool]]:
    """All keys of a section, groups included; True for those under which any key may stand."""
    keys = [(prefix, False)]
    kinds = typing.get_type_hints(section)
    for name in (item.name for item in dataclasses.fields(section)):
        kind = kinds[name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            keys += _keys(f'{prefix}.{name}', kind)
        else:
            keys.append((f'{prefix}.{name}', typing.get_origin(kind) is dict))
    return keys


def _flatten(
    prefix: str, content: Mapping[str, Any], known: Mapping[str, bool]
) -> list[tuple[str, Any]]:
    keys: list[tuple[str, Any]] = []
    for name, value in content.items():
        key = f'{prefix}.{name}' if prefix else str(name)
        if isinstance(value, Mapping) and known.get(key) is False:
            keys += _flatten(key, value, known)
        else:
            keys.append((key, value))
    return keys


def _plain_value(text: str) -> object:
    """The value of an argument; the text itself of what is no YAML, and of names of files."""
    try:
        return parse_yaml(text)
    except DocumentError:
        return text


def _unfit(known: Mapping[str, bool], given: Sequence[tuple[str, Any]]) -> list[str]:
    """What stands where only settings, or a mapping of options, can stand."""
    groups = {key.rpartition('.')[0]: key for key in reversed(list(known)) if '.' in key}
    problems = []
    for key, value in given:
        if isinstance(value, (Mapping, str)):
            continue
        shown = 'null' if value is None else value
        if key in groups:
            none = f', and {key}.name null for none' if key == _MAY_BE_NONE else ''
            problems.append(
                f'{key} is {shown}, but it is a group of settings; give those, as '
                f'{groups[key]}{none}.'
            )
        elif known.get(key):
            problems.append(f'{key} is {shown}; give a mapping, as {{}} for none.')
    return problems


def _unknown(known: Mapping[str, bool], keys: Sequence[str]) -> list[str]:
    problems = []
    for key in keys:
        parents = [key.rsplit('.', count)[0] for count in range(1, key.count('.') + 1)]
        if key in known or any(known.get(parent, False) for parent in parents):
            continue
        problems.append(f'{key} is no setting{hint(key, known)}')
    return problems


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.')
