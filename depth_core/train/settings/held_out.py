# SPDX-License-Identifier: Apache-2.0
"""Whether images that are held out are trained on as well."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depth_core.data.bag.window import overlap_s
from depth_core.train.settings.dataset import DatasetSettings


def held_out_problems(train: DatasetSettings, validation: DatasetSettings) -> list[str]:
    """Say which images would be trained on and held out as well."""
    if validation.name is None:
        return []
    same = all(value == getattr(validation, key) for key, value in vars(train).items())
    if 'mix' not in {train.name, validation.name} and same:
        problem = (
            'data.validation is the same as data.train, so that nothing is held out; give it '
            'another split, another options.seed when synthetic, or other options.start_s and '
            'end_s of a bag.'
        )
        return [problem]
    return [
        problem
        for chosen, held_out in itertools.product(_parts(train), _parts(validation))
        if chosen['name'] == held_out['name'] == 'bag'
        and _same_file(chosen['root'], held_out['root'])
        for problem in _overlap_problems(chosen, held_out)
    ]


def _parts(chosen: DatasetSettings) -> list[dict[str, Any]]:
    """Name, root, split and options of a data set, or of each in a mix."""
    datasets = chosen.options.get('datasets') if chosen.name == 'mix' else None
    if not isinstance(datasets, list):
        datasets = [vars(chosen)]
    return [
        {
            'name': item.get('name'),
            'root': str(item.get('root')),
            'split': item.get('split'),
            'options': item.get('options') or {},
        }
        for item in datasets
        if isinstance(item, Mapping)
    ]


def _same_file(first: str, second: str) -> bool:
    """Whether two paths name one bag: by links, or one its folder and the other a file in it."""
    one, other = (Path(item).expanduser().resolve() for item in (first, second))
    return one == other or one in other.parents[:1] or other in one.parents[:1]


def _overlap_problems(chosen: dict[str, Any], held_out: dict[str, Any]) -> list[str]:
    """Say which times of one recording would be trained on and held out as well."""
    options = chosen['options'], held_out['options']
    topics = {item.get('image_topic') for item in options}
    if len(topics) > 1 and None not in topics:  # None may mean either
        return []
    first, second = ((item.get('start_s'), item.get('end_s')) for item in options)
    try:
        shared_s = overlap_s(first, second)
    except TypeError:  # no numbers: the data set says so when it is opened
        return []
    if shared_s is None:
        return []
    end = 'its end' if math.isinf(shared_s[1]) else f'{shared_s[1]:g} s'
    problem = (
        f'data.train and data.validation both read bag {chosen["root"]} from {shared_s[0]:g} s to '
        f'{end}; give data.train.options.end_s and a data.validation.options.start_s that is not '
        'smaller, in seconds after the first message.'
    )
    return [problem]
