# SPDX-License-Identifier: Apache-2.0
"""Official weights beside the network they are said to be of: what fits, and what does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, unknown_name
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.models.official import Keep, OfficialWeights, everything

_KEYS_SHOWN: Final = 10
_SEED_OF_THE_REST: Final = 0


@dataclass(frozen=True, kw_only=True)
class OfficialRequest:
    """A network that weights may be of."""

    name: str
    """Registry name of the model."""
    entry: OfficialWeights
    part: str | None = None
    """Which part of the network the weights are; None for the whole."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Of the model, where they are not its defaults."""

    @property
    def holds(self) -> Keep:
        """Which of the authors' keys the weights must have."""
        if self.part is None:
            return everything
        if self.part not in self.entry.parts:
            raise ConfigError(unknown_name(f'part of {self.name}', self.part, self.entry.parts))
        return self.entry.parts[self.part]

    def skeleton(self) -> DepthModel:
        """Build the network without memory for its weights: names and shapes alone."""
        with torch.device('meta'):
            return create_model(self.name, **self.options)


@dataclass(frozen=True, kw_only=True)
class OfficialFit:
    """Official weights beside the network that they are said to be of."""

    request: OfficialRequest
    model: DepthModel
    """Without memory for its weights."""
    official: Mapping[str, Tensor]
    """By the authors' names."""
    expected: Mapping[str, str]
    """Each of the authors' names that the weights must have, and ours."""
    missing: Sequence[str]
    surplus: Sequence[str]
    of_another_shape: Sequence[str]
    """The authors' names, and both shapes."""

    @property
    def differences(self) -> int:
        """How many weights do not fit."""
        return len(self.missing) + len(self.surplus) + len(self.of_another_shape)

    @property
    def faults(self) -> list[str]:
        """A line for each way in which they do not fit: the first ten names and the count."""
        return [
            *_listed('missing', self.missing),
            *_listed('surplus', self.surplus),
            *_listed('of another shape', self.of_another_shape),
        ]

    def converted(self) -> dict[str, Tensor]:
        """Every weight of the network, by our names: new tensors on the CPU.

        Raises:
            CheckpointError: The weights do not fit.
        """
        if self.faults:
            raise CheckpointError(self._refusal())
        like = self.model.state_dict()
        weights = {
            ours: self.official[theirs]
            .detach()
            .to('cpu', like[ours].dtype)
            .clone(memory_format=torch.preserve_format)
            for theirs, ours in self.expected.items()
        }
        weights |= self.model.own_state()
        if self.request.part is not None:
            built = _built_with_a_seed(self.request)
            weights |= {key: built[key] for key in like if key not in weights}
        return weights

    def _refusal(self) -> str:
        name, part = self.request.name, self.request.part
        remedy = 'Give the file of this model, or the options of the network it was saved from.'
        for known in () if part is not None else self.request.entry.parts:
            if _fit(dataclasses.replace(self.request, part=known), self.official).differences == 0:
                remedy = f'They are the part {known} of it alone: ask for that part.'
        return (
            f'these are not the official weights of {f"the part {part} of " if part else ""}'
            f'{name} as it was asked for:\n  ' + '\n  '.join(self.faults) + f'\n{remedy}'
        )


def _fit(request: OfficialRequest, official: Mapping[str, Tensor]) -> OfficialFit:
    entry, holds, model = request.entry, request.holds, request.skeleton()
    official = _by_the_authors_names(request, official)
    own_state, state = model.own_state(), model.state_dict()
    names = {key: entry.official_key(key) for key in state if key not in own_state}
    expected = {theirs: ours for ours, theirs in names.items() if holds(theirs)}
    shapes = {theirs: state[ours].shape for theirs, ours in expected.items()}
    return OfficialFit(
        request=request,
        model=model,
        official=official,
        expected=expected,
        missing=[key for key in expected if key not in official],
        surplus=[key for key in official if key not in expected and not entry.dropped(key)],
        of_another_shape=[
            f'{key} (given {tuple(official[key].shape)}, network {tuple(shape)})'
            for key, shape in shapes.items()
            if key in official and official[key].shape != shape
        ],
    )


def _by_the_authors_names(
    request: OfficialRequest, official: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    official = {
        key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for key, value in official.items()
    }
    if official and all(key.startswith('module.') for key in official):
        official = {key.removeprefix('module.'): value for key, value in official.items()}
    return request.entry.to_authors(official)


def best_fit(requests: Sequence[OfficialRequest], official: Mapping[str, Tensor]) -> OfficialFit:
    """Find the one of `requests` that `official` differs least from.

    Raises:
        ConfigError: It fits several of them, or one of them is impossible.
    """
    fits = [_fit(request, official) for request in requests]
    fits.sort(key=lambda fit: fit.differences)
    fitting = dict.fromkeys(fit.request.name for fit in fits if fit.differences == 0)
    if len(fitting) > 1:
        message = f'these weights fit {", ".join(fitting)} equally; name the model instead.'
        raise ConfigError(message)
    return fits[0]


def _built_with_a_seed(request: OfficialRequest) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED_OF_THE_REST)
        return create_model(request.name, **request.options).state_dict()


def _listed(rule: str, keys: Sequence[str]) -> list[str]:
    if not keys:
        return []
    more = f', and {len(keys) - _KEYS_SHOWN} more' if len(keys) > _KEYS_SHOWN else ''
    return [f'{len(keys)} {rule}: {", ".join(keys[:_KEYS_SHOWN])}{more}']
