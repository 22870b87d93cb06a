# SPDX-License-Identifier: Apache-2.0
"""From YAML files and `--key value` arguments to `EmbeddingSettings`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from depth_core.errors import ConfigError, unknown_name
from depth_core.train.embedding.settings import EmbeddingSettings
from depth_core.train.settings import DatasetSettings

_COMMAND: Final = 'python -m depth_core.train.embedding'
_OWN_OPTIONS: Final = ('config', 'print_config', 'help')
_DATASETS: Final = ('train', 'validation')

set_parsing_settings(docstring_parse_attribute_docstrings=True)


def parse(arguments: Sequence[str]) -> EmbeddingSettings:
    """Read the command line, and the YAML files it names, later ones over earlier ones.

    Exits with the help text on `--help`.

    Raises:
        ConfigError: A file is missing or no YAML, a key is unknown, a value has the wrong type,
            or settings contradict each other.
    """
    parser = ArgumentParser(
        prog=_COMMAND,
        description='Train an embedding network (HEG) for the loss of CLIFFNet on depth maps. '
        'Depths are metres, sizes pixels, lengths of a run optimizer steps.',
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument('--config', action='config', help='YAML file; arguments after it win.')
    parser.add_class_arguments(EmbeddingSettings, None, sub_configs=False)
    _refuse_unknown(arguments)
    try:
        parsed = parser.instantiate(parser.parse_args(list(arguments)))
        values = {item.name: parsed[item.name] for item in dataclasses.fields(EmbeddingSettings)}
    except ArgumentError as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        message = f'{reason}. See {_COMMAND} --help.'
        raise ConfigError(message) from error
    return EmbeddingSettings(**values)


def _refuse_unknown(arguments: Sequence[str]) -> None:
    """Answer keys that are none with the nearest ones, in files and on the command line."""
    known = _known()
    given = [argument[2:] for argument in arguments if argument.startswith('--')]
    keys = [
        (str(path), key) for path in _config_files(arguments) for key in _keys('', _read(path))
    ]
    keys += [('command line', argument.partition('=')[0]) for argument in given]
    problems = [
        f'{place}: {unknown_name("setting", key, known)}'
        for place, key in keys
        if key not in known
        and key not in _OWN_OPTIONS
        and not any(key.startswith(f'{dataset}.options.') for dataset in _DATASETS)
    ]
    if problems:
        raise ConfigError('unknown settings:\n  ' + '\n  '.join(problems))


def _known() -> list[str]:
    names = [item.name for item in dataclasses.fields(EmbeddingSettings)]
    inner = [item.name for item in dataclasses.fields(DatasetSettings)]
    return names + [f'{dataset}.{name}' for dataset in _DATASETS for name in inner]


def _keys(prefix: str, content: Mapping[str, Any]) -> list[str]:
    keys = []
    for name, value in content.items():
        key = f'{prefix}{name}'
        nested = isinstance(value, Mapping) and key in _DATASETS
        keys += _keys(f'{key}.', value) if nested else [key]
    return keys


def _config_files(arguments: Sequence[str]) -> list[Path]:
    paths = [
        after for argument, after in itertools.pairwise([*arguments, '']) if argument == '--config'
    ]
    paths += [
        argument.partition('=')[2] for argument in arguments if argument.startswith('--config=')
    ]
    return [Path(path) for path in paths]


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        message = (
            f'configuration file {path} does not exist; those of this package are in '
            'config/train/embedding.'
        )
        raise ConfigError(message)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f'{path} is not YAML: {" ".join(str(error).split())}.'
        raise ConfigError(message) from error
    if not isinstance(content, Mapping):
        message = f'{path} holds {type(content).__name__}, not settings as "kind: heg_s".'
        raise ConfigError(message)
    return content
