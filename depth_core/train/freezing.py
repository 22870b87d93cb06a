# SPDX-License-Identifier: Apache-2.0
"""Weights that stay as they are, for the whole run or for its first steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from depth_core.errors import ConfigError

_NAMES_SHOWN: Final = 6


def freeze_norms(module: nn.Module) -> None:
    """Keep the statistics and the weights of all batch norm layers as they are."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval().requires_grad_(requires_grad=False)


class Frozen:
    """Weights named by patterns, without a gradient while they are frozen.

    Batch norm layers whose weights are all frozen keep their statistics too. What was frozen
    otherwise, as by `freeze_norms`, stays so when these are released.
    """

    def __init__(self, module: nn.Module, patterns: Sequence[str], steps: int | None) -> None:
        """Find the weights; `apply` freezes them.

        Args:
            module: All that is trained.
            patterns: Of names of weights; `*` is any run of characters.
            steps: They are frozen in so many first steps; None = in all.

        Raises:
            ConfigError: A pattern matches no weight, or nothing would ever be trained.
        """
        named = dict(module.named_parameters())
        check_patterns('optimizer.frozen', patterns, named)
        found = {
            name: weight
            for name, weight in named.items()
            if weight.requires_grad and any(fnmatchcase(name, pattern) for pattern in patterns)
        }
        if found and len(found) == sum(weight.requires_grad for weight in named.values()):
            message = (
                f'optimizer.frozen {list(patterns)} holds all {len(found)} weights, so that '
                'nothing is trained; leave out what is to learn.'
            )
            raise ConfigError(message)
        self._weights = list(found.values())
        held = {id(weight) for weight in self._weights}
        self._norms = [
            layer
            for layer in module.modules()
            if isinstance(layer, _BatchNorm)
            and layer.training
            and (own := list(layer.parameters(recurse=False)))
            and all(id(weight) in held for weight in own)
        ]
        self._steps = steps
        self._holds = False

    @property
    def for_a_time(self) -> bool:
        """Whether what is frozen is released in the course of the run."""
        return bool(self._weights) and self._steps is not None

    def apply(self, step: int) -> None:
        """Freeze or release for the step after `step` finished ones."""
        holds = self._steps is None or step < self._steps
        if holds == self._holds:
            return
        self._holds = holds
        for weight in self._weights:
            weight.requires_grad_(not holds)
        for layer in self._norms:
            layer.train(not holds)


def check_patterns(setting: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """Refuse patterns that match no weight.

    Args:
        setting: Which setting they are given in.
        patterns: Of names.
        names: Of the weights they may be about.

    Raises:
        ConfigError: One of them matches none.
    """
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            message = (
                f'{setting}: {pattern!r} matches none of the {len(known)} trainable weights; '
                f'their names are as {", ".join(known[:_NAMES_SHOWN])}.'
            )
            raise ConfigError(message)
