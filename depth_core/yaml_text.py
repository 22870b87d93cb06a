# SPDX-License-Identifier: Apache-2.0
"""YAML from outside, bounded: what a few kilobytes of text can become.

A text may name a thing once and repeat it a million times (aliases), or nest deeper than any
reader can follow.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from depth_core.documents import DEEPEST, DocumentError, reason, refuse_long, too_deep

MOST_NODES: Final = 200_000
"""Values, those behind aliases counted as often as they stand."""
_LOADER: Final[Any] = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_TOO_DEEP: Final = f'it {too_deep()}'


def parse_yaml(text: str) -> Any:  # noqa: ANN401  whatever YAML can say
    """Read YAML of plain values.

    Raises:
        DocumentError: It is none, nests more than `DEEPEST` levels or contains itself, or its
            aliases stand for more than `MOST_NODES` values.
    """
    check_yaml(text)
    try:
        return yaml.load(text, _LOADER)  # noqa: S506  it is a safe one
    except (yaml.YAMLError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DocumentError(reason(error)) from error


def check_yaml(text: str) -> None:
    """Refuse what `parse_yaml` does not read, for text that another parser reads after it.

    Raises:
        DocumentError: As `parse_yaml`; what its values mean is not looked at.
    """
    refuse_long(text)
    _check_depth(text)
    try:
        root = yaml.compose(text, _LOADER)
        if root is None:
            return
        size = _expanded(root, {}, set())
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DocumentError(reason(error)) from error
    if size > MOST_NODES:
        message = f'its aliases stand for {size:.2g} values, and {MOST_NODES} are read'
        raise DocumentError(message)


def _check_depth(text: str) -> None:
    """Walk the events, which need no stack; what follows has one of a fixed size in C."""
    depth = 0
    try:
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                depth += 1
                if depth > DEEPEST:
                    raise DocumentError(_TOO_DEEP)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                depth -= 1
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(reason(error)) from error


def _expanded(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """How many values a node stands for, each alias counted as what it repeats."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    place = id(node)
    if place in above:
        message = 'an alias stands within what it repeats'
        raise DocumentError(message)
    if len(above) > DEEPEST:
        raise DocumentError(_TOO_DEEP)
    if place not in known:
        above.add(place)
        inside = (
            [one for pair in node.value for one in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        known[place] = 1 + sum(_expanded(one, known, above) for one in inside)
        above.remove(place)
    return known[place]
