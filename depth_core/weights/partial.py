# SPDX-License-Identifier: Apache-2.0
"""Weights of which only a part fits a network: what may be missing or left over is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from torch import Tensor, nn

from depth_core.errors import CheckpointError, ConfigError, unknown_name
from depth_core.tensor_files.differences import Differences, shown

_BOTH_LISTS: Final = (
    'Nothing was loaded; give the options of the checkpoint, or name what may differ: weights of '
    'the network that keep their first values in model.weights_missing, weights of the file that '
    'have no place in model.weights_left_over.'
)


@dataclass(frozen=True, kw_only=True)
class MayDiffer:
    """Patterns of names; `*` is any run of characters."""

    missing: Sequence[str] = ()
    """Weights of the network that may be missing, or of another shape."""
    left_over: Sequence[str] = ()
    """Weights of the file that may have no place; of those that may be missing too, none is taken,
    even where it would fit."""

    def __bool__(self) -> bool:
        """Whether anything may differ."""
        return bool(self.missing or self.left_over)


@dataclass(frozen=True, kw_only=True)
class PartialFit:
    """Weights for a whole network, some of a file and some that the network was built with."""

    state: Mapping[str, Tensor]
    """Every weight of the network."""
    kept: Sequence[str]
    """Names of those that are not of the file."""
    left_over: Sequence[str]
    """Names in the file that were not used."""

    @property
    def summary(self) -> str:
        """How much is of the file, in a line of the log."""
        taken = len(self.state) - len(self.kept)
        text = f'{taken} of {len(self.state)} tensors of the network are taken from it'
        if self.kept:
            text += f'; {len(self.kept)} start as they are built: {shown(self.kept)}'
        if self.left_over:
            text += f'; {len(self.left_over)} of the file are left over: {shown(self.left_over)}'
        return text


def placed_in(part: str, given: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Name weights as those of a part of `model`, which may lie deeper (`core.decoder`).

    Raises:
        ConfigError: The network has no such part.
    """
    parts = {name: module for name, module in model.named_modules() if name}
    if part not in parts:
        direct = [name for name in parts if '.' not in name]
        raise ConfigError(unknown_name('part in model.weights_part', part, direct))
    return {f'{part}.{name}': tensor for name, tensor in given.items()}


def fit_partly(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], may: MayDiffer, *, source: str
) -> PartialFit:
    """Take of a file what fits a network, where the rest is named.

    Args:
        given: Weights of the file by name.
        own: Those the network was built with.
        may: What may be missing or left over.
        source: Where `given` comes from, for the messages.

    Raises:
        CheckpointError: Something differs that is not named, a pattern names nothing, or nothing
            of the file is used.
    """
    _refuse_idle('model.weights_missing', may.missing, own, source)
    _refuse_idle('model.weights_left_over', may.left_over, given, source)
    anew = {key for key in own if matches(key, may.missing) and matches(key, may.left_over)}
    unused = [key for key in given if key in anew]
    given = {key: weight for key, weight in given.items() if key not in anew}
    missing = [key for key in own if key not in given]
    reshaped = [key for key in own if key in given and given[key].shape != own[key].shape]
    surplus = [key for key in given if key not in own]
    wrong = Differences(
        missing=[key for key in missing if not matches(key, may.missing)],
        surplus=[key for key in surplus if not matches(key, may.left_over)],
        of_another_shape=[
            f'{key} (given {tuple(given[key].shape)}, network {tuple(own[key].shape)})'
            for key in reshaped
            if not matches(key, may.missing)
        ],
    )
    if wrong:
        before = f'{source} does not fit the network, beyond what may differ:'
        raise CheckpointError(wrong.message(before, _BOTH_LISTS))
    kept = [key for key in own if key in missing or key in reshaped]
    if len(kept) == len(own):
        message = (
            f'nothing of {source} fits the network, so that training would start from random '
            'weights; leave out model.weights, or give a checkpoint of a related network.'
        )
        raise CheckpointError(message)
    state = {key: own[key] if key in kept else given[key] for key in own}
    return PartialFit(state=state, kept=kept, left_over=[*unused, *surplus])


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of `patterns` means `name`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_idle(
    setting: str, patterns: Iterable[str], names: Mapping[str, Tensor], source: str
) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            place = source if setting.endswith('left_over') else 'the network'
            message = (
                f'{setting}: {pattern!r} matches none of the {len(names)} weights of {place}; '
                f'their names are as {shown(list(names))}.'
            )
            raise CheckpointError(message)
