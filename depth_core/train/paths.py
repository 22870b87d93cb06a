# SPDX-License-Identifier: Apache-2.0
"""What the settings name on disk, looked for before anything is downloaded or rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from depth_core.errors import ConfigError
from depth_core.train.settings import DatasetSettings, TrainSettings

_BESIDE: Final = ('depth_root', 'exclude', 'textures')
"""Options of data sets that name files or folders."""

_SOURCE: Final = 'encoder_weights'
"""Says where weights come from by a word, not by a path."""


def check_paths(settings: TrainSettings) -> None:
    """Refuse settings that name files that are not there; all of them are listed.

    Raises:
        ConfigError: As said.
    """
    missing = [
        f'{key} is {path}' for key, path in named_paths(settings).items() if not path.exists()
    ]
    if missing:
        listed = '\n  '.join(missing)
        message = (
            f'these files or folders do not exist:\n  {listed}\n  Give where they are; the head '
            'of a file in config/train and docs/data.md say what belongs there and where it comes '
            'from. Nothing was downloaded.'
        )
        raise ConfigError(message)


def named_paths(settings: TrainSettings) -> dict[str, Path]:
    """The files and folders that the settings name, by the keys they are given under."""
    return {
        **_of_data('data.train', settings.data.train),
        **_of_data('data.validation', settings.data.validation),
        **_of_recipe(settings),
    }


def _of_data(key: str, chosen: DatasetSettings) -> dict[str, Path]:
    if chosen.name is None:
        return {}
    parts: list[tuple[str, Mapping[str, object]]] = [(key, vars(chosen))]
    datasets = chosen.options.get('datasets')
    if chosen.name == 'mix' and isinstance(datasets, list):
        parts += [
            (f'{key}.options.datasets[{place}]', part)
            for place, part in enumerate(datasets)
            if isinstance(part, Mapping)
        ]
    return dict(item for place, part in parts for item in _of_part(place, part))


def _of_part(key: str, part: Mapping[str, object]) -> Iterator[tuple[str, Path]]:
    options = part.get('options')
    beside = options if isinstance(options, Mapping) else {}
    given = {name: part.get(name) for name in ('root', 'split', 'frames')}
    given |= {f'options.{name}': beside.get(name) for name in _BESIDE}
    for name, value in given.items():
        if isinstance(value, (str, Path)):
            yield f'{key}.{name}', Path(value)


def _of_recipe(settings: TrainSettings) -> dict[str, Path]:
    recipe = settings.recipe
    named = {f'recipe.{item.name}': getattr(recipe, item.name) for item in fields(recipe)}
    named |= {
        f'model.options.{name}': Path(value)
        for name, value in settings.model.options.items()
        if name.endswith('_weights') and name != _SOURCE and isinstance(value, str)
    }
    return {key: value for key, value in named.items() if isinstance(value, Path)}
