# SPDX-License-Identifier: Apache-2.0
"""What version 2 of a manifest groups: the size of the input and the kind of the depth.

`input.size` is `{"fixed": [height, width]}` or `{"mode": "short", "target": 518}`, either with
`multiple` and `min_side`; `depth.kind` says at once what is decoded and what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from depth_core.contracts import DepthKind, InputSpec, OutputSpec, SizeRule
from depth_core.errors import ConfigError, unknown_name

HIDDEN: Final[Mapping[type, tuple[str, ...]]] = {
    InputSpec: ('height', 'width', 'multiple', 'min_side', 'size'),
    OutputSpec: ('kind', 'coding', 'sigma'),
}
"""Attributes that version 2 says in a group, or elsewhere."""

EXTRA: Final[Mapping[type, tuple[str, ...]]] = {InputSpec: ('size',), OutputSpec: ('kind',)}
"""Keys of version 2 that stand for them."""

KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    'Manifest': {'output': 'depth'},
    'InputSpec': {'channels': 'colour'},
    'OutputSpec': {'depth': 'output', 'min_depth': 'min_m', 'max_depth': 'max_m'},
    'DomainSection': {'requires_intrinsics': 'requires_K'},
}
"""What version 2 calls an attribute, by the name of its class, where it renames it."""

STATED: Final[Mapping[str, frozenset[str]]] = {
    'InputSpec': frozenset(
        {'name', 'layout', 'dtype', 'channels', 'mean', 'std', 'scale', 'batch'}
    ),
    'OutputSpec': frozenset({'depth', 'sigma', 'unit_m'}),
    'Manifest': frozenset(
        {'family', 'options', 'divisor', 'licence', 'weights_sha256', 'training', 'parity',
         'precision', 'precision_target', 'calibration', 'precision_error', 'versions'}
    ),
}  # fmt: skip
"""Attributes that are written at their default too."""

_RELATIVE_RANGE: Final = (1e-6, 1e6)
"""In the graph's own unit, where a relative one states none."""
_NOMINAL: Final = (480, 640)
"""Shape of the images that a size rule is applied to before a camera is known."""
_SIZE_KEYS: Final = ('fixed', 'mode', 'target', 'multiple', 'min_side', 'round', 'nominal')

_SHOWN: Final = 200
"""Characters of a value that is refused."""


class _Meaning(NamedTuple):
    kind: DepthKind
    coding: str


_KINDS: Final[Mapping[str, _Meaning]] = {
    'metric': _Meaning(DepthKind.METRIC, 'depth'),
    'canonical': _Meaning(DepthKind.CANONICAL, 'depth'),
    'inverse_canonical': _Meaning(DepthKind.CANONICAL, 'inverse'),
    'up_to_scale': _Meaning(DepthKind.UP_TO_SCALE, 'depth'),
    'inverse_affine': _Meaning(DepthKind.INVERSE, 'depth'),
    'sigmoid_disparity': _Meaning(DepthKind.METRIC, 'sigmoid_disparity'),
}
_OTHER_KINDS: Final[Mapping[str, _Meaning]] = {
    'inverse': _Meaning(DepthKind.INVERSE, 'depth'),
    'inverse_up_to_scale': _Meaning(DepthKind.UP_TO_SCALE, 'inverse'),
}
"""Read too, though no public graph needs them."""


def ungroup(
    kind: type, content: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take what version 2 groups out of the content of a section.

    Args:
        kind: The dataclass of the section.
        content: Its JSON.
        where: Its dotted key.

    Returns:
        The rest of the content, and values by the names of attributes.

    Raises:
        ConfigError: A group is missing or not understood.
    """
    rest = dict(content)
    if kind is InputSpec:
        return rest, _read_size(rest.pop('size', None), f'{where}.size')
    if kind is OutputSpec:
        values = _read_kind(rest.pop('kind', None), f'{where}.kind')
        if not values['kind'].is_metric and not {'min_m', 'max_m'} & set(rest):
            values['min_depth'], values['max_depth'] = _RELATIVE_RANGE
        return rest, {**values, 'sigma': None}
    return rest, {}


def _read_size(content: object, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        refuse(where, content, 'an object: {"fixed": [256, 320]} or {"mode": "short", ...}')
    for key in content:
        if key not in _SIZE_KEYS:
            raise ConfigError(
                unknown_name('key', f'{where}.{key}', [f'{where}.{one}' for one in _SIZE_KEYS])
            )
    multiple = _whole(content.get('multiple', 1), f'{where}.multiple')
    min_side = _whole(content.get('min_side', 1), f'{where}.min_side')
    sides = {'multiple': multiple, 'min_side': min_side}
    if 'fixed' in content:
        if others := set(content) - {'fixed', *sides}:
            refuse(where, content, f'fixed alone, or {" and ".join(sorted(others))} without it')
        height, width = _pair(content['fixed'], f'{where}.fixed')
        return {'height': height, 'width': width, **sides}
    modes, rounds = ('short', 'long', 'pixels'), ('nearest', 'up', 'down')
    mode, rounding = content.get('mode'), content.get('round', 'nearest')
    if mode not in modes:
        refuse(f'{where}.mode', mode, 'one of ' + ', '.join(map(repr, modes)))
    if rounding not in rounds:
        refuse(f'{where}.round', rounding, 'one of ' + ', '.join(map(repr, rounds)))
    target = _whole(content.get('target'), f'{where}.target')
    rule = SizeRule(mode=mode, target=target, round=rounding)
    if 'nominal' in content:
        height, width = _pair(content['nominal'], f'{where}.nominal')
    else:
        height, width = rule.choose(*_NOMINAL, **sides)
    return {'height': height, 'width': width, **sides, 'size': rule}


def _read_kind(content: object, where: str) -> dict[str, Any]:
    known = {**_KINDS, **_OTHER_KINDS}
    if not isinstance(content, str) or content not in known:
        refuse(where, content, 'one of ' + ', '.join(map(repr, _KINDS)))
    return known[content]._asdict()


def group_size(content: dict[str, Any]) -> dict[str, Any]:
    """Spell the size of an `InputSpec`, given by its attributes, as version 2 does."""
    height, width = content.pop('height'), content.pop('width')
    rule: dict[str, Any] | None = content.pop('size', None)
    size = {'fixed': [height, width]} if rule is None else {**rule, 'nominal': [height, width]}
    sides = {key: content.pop(key) for key in ('multiple', 'min_side') if key in content}
    return {
        'name': content.pop('name'),
        'size': {**size, **sides},
        **content,
    }


def name_kind(content: dict[str, Any]) -> dict[str, Any]:
    """Spell the kind of an `OutputSpec`, given by its attributes, as version 2 does."""
    meaning = _Meaning(content.pop('kind'), content.pop('coding', 'depth'))
    content.pop('sigma')
    names = {meant: name for name, meant in (*_OTHER_KINDS.items(), *_KINDS.items())}
    # Whether a sigmoid gives metres is said by the domain.
    name = names.get(meaning, 'sigmoid_disparity')
    return {'output': content.pop('output'), 'kind': name, **content}


def _pair(content: object, where: str) -> tuple[int, int]:
    if not isinstance(content, list) or len(content) != 2:  # noqa: PLR2004  rows, columns
        refuse(where, content, 'a list of 2 whole numbers, [height, width]')
    first, second = (_whole(item, where) for item in content)
    return first, second


def _whole(content: object, where: str) -> int:
    if isinstance(content, bool) or not isinstance(content, int) or content < 1:
        refuse(where, content, 'a whole number of at least 1')
    return content


def refuse(where: str, content: object, rule: str) -> NoReturn:
    """Refuse the value of a key.

    Raises:
        ConfigError: Always.
    """
    shown = json.dumps(content)
    if len(shown) > _SHOWN:
        shown = f'{shown[:_SHOWN]}...'
    message = f'{where} is {shown}; give {rule}.'
    raise ConfigError(message)
