# SPDX-License-Identifier: Apache-2.0
"""Which of the entries of a file is the state dict: the weights, or an average of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from depth_core.errors import CheckpointError, unknown_name

_NAMES: Final = (
    *('state_dict', 'model_state_dict', 'model', 'net', 'network', 'params'),
    *('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema', 'net_ema', 'params_ema'),
)
"""What authors call the entry with the weights; the first that is there is read. Averages of the
weights over the steps stand in the second line."""

_DEEPEST: Final = 4
OF_TRAINING: Final = re.compile(r'optim|sched|scaler|callback|loop|hyper_param|config|args|opts?$')
"""Entries beside the weights that hold tensors of their own, or settings."""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """The state dict that a file wraps."""

    content: object
    """It, or what stands in its place."""
    entry: str | None = None
    """Name of the entry it was found in, entries in entries with dots; None at the top."""
    others: tuple[str, ...] = ()
    """Names of other entries that could have been meant."""


def inside(content: object, entry: str | None = None) -> Inside:
    """Find the state dict in what a file holds.

    Args:
        content: What was read; a copy is made, since its containers may have any attributes.
        entry: The entry to take; None = the first by custom.

    Raises:
        CheckpointError: There is no such entry.
    """
    path: list[str] = []
    others: tuple[str, ...] = ()
    for _ in range(_DEEPEST):
        if not isinstance(content, dict):
            break
        content = {
            str(key): value
            for key, value in dict.items(content)
            if not OF_TRAINING.search(str(key).lower()) or isinstance(value, Tensor)
        }
        named = [name for name in _NAMES if isinstance(content.get(name), dict)]
        if entry is not None and not path:
            named = _asked(entry, content)
        elif not named and not any(isinstance(value, Tensor) for value in content.values()):
            named = [key for key, value in content.items() if isinstance(value, dict)]
            named = named if len(named) == 1 else []
        if not named:
            break
        if not others:
            others = tuple(
                name for name in _NAMES if isinstance(content.get(name), dict) and name != named[0]
            )
        path.append(named[0])
        content = content[named[0]]
    return Inside(content=content, entry='.'.join(path) or None, others=others)


def _asked(entry: str, content: dict[str, object]) -> list[str]:
    groups = [key for key, value in content.items() if isinstance(value, dict)]
    if entry not in groups:
        raise CheckpointError(unknown_name('entry of the file', entry, groups))
    return [entry]
