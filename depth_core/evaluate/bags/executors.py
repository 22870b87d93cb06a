# SPDX-License-Identifier: Apache-2.0
"""How parts are evaluated: one after the other, in this process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from depth_core.errors import DepthError
from depth_core.evaluate.bags.part import evaluate_part
from depth_core.evaluate.bags.request import BagRequest, Part

Outcome: TypeAlias = tuple[Part, 'bytes | DepthError']
"""What became of a part: its result, or why it could not be read."""

Execute: TypeAlias = Callable[[BagRequest, Sequence[Part]], Iterator[Outcome]]
"""Evaluates parts, in any order."""


def in_this_process(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
    """Evaluate one part after the other."""
    for part in parts:
        yield part, _tried(functools.partial(evaluate_part, request, part))


def _tried(result: Callable[[], bytes]) -> bytes | DepthError:
    try:
        return result()
    except DepthError as error:
        return error
