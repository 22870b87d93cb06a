# SPDX-License-Identifier: Apache-2.0
"""Official weights beside the network they are said to be of: what fits, and what does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, unknown_name
from depth_core.models import Network, create_model
from depth_core.models.base import DepthModel
from depth_core.models.family import Keep, everything
from depth_core.tensor_files.differences import Differences, differences
from depth_core.tensor_files.tensors import as_weights, cleaned, with_counters

_SEED_OF_THE_REST: Final = 0
_WRAPPERS: Final = ('model.', 'net.', 'network.')


@dataclass(frozen=True, kw_only=True)
class OfficialRequest:
    """A network that weights may be of."""

    network: Network
    part: str | None = None
    """Which part of the network the weights are; None for the whole."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Of the model, where they are not its defaults."""

    @property
    def name(self) -> str:
        """Registry name of the model."""
        return self.network.name

    @property
    def holds(self) -> Keep:
        """Which of the authors' keys the weights must have."""
        if self.part is None:
            return everything
        if self.part not in self.network.weights.parts:
            raise ConfigError(
                unknown_name(f'part of {self.name}', self.part, self.network.weights.parts)
            )
        return self.network.weights.parts[self.part]

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
    differences: Differences
    """By the authors' names."""

    def converted(self, source: str = 'these weights') -> dict[str, Tensor]:
        """Every weight of the network, by our names: new tensors on the CPU.

        Args:
            source: Where they come from, for the error message.

        Raises:
            CheckpointError: The weights do not fit, or have values that are NaN or infinite.
        """
        if self.differences:
            raise CheckpointError(self._refusal())
        like = self.model.state_dict()
        of_theirs = {theirs: like[ours] for theirs, ours in self.expected.items()}
        copied = as_weights(self.official, of_theirs, source=source)
        weights = {ours: copied[theirs] for theirs, ours in self.expected.items()}
        weights |= self.model.own_state()
        if self.request.part is not None:
            built = _built_with_a_seed(self.request)
            weights |= {key: built[key] for key in like if key not in weights}
        return weights

    def _refusal(self) -> str:
        name, part = self.request.name, self.request.part
        remedy = 'Give the file of this model, or the options of the network it was saved from.'
        for known in () if part is not None else self.request.network.weights.parts:
            if not _fit(dataclasses.replace(self.request, part=known), self.official).differences:
                remedy = f'They are the part {known} of it alone: ask for that part.'
        of_part = '' if part is None else f'the part {part} of '
        return self.differences.message(
            f'these are not the official weights of {of_part}{name} with the given options:',
            remedy,
        )


def _fit(request: OfficialRequest, official: Mapping[str, Tensor]) -> OfficialFit:
    weights, holds, model = request.network.weights, request.holds, request.skeleton()
    own_state, state = model.own_state(), model.state_dict()
    names = {key: weights.official_key(key) for key in state if key not in own_state}
    expected = {theirs: ours for ours, theirs in names.items() if holds(theirs)}
    official = with_counters(weights.to_authors(cleaned(official)), expected)
    kept = {
        key: value
        for key, value in official.items()
        if key in expected or not weights.dropped(key)
    }
    return OfficialFit(
        request=request,
        model=model,
        official=official,
        expected=expected,
        differences=differences(kept, {theirs: state[ours] for theirs, ours in expected.items()}),
    )


def best_fit(requests: Sequence[OfficialRequest], official: Mapping[str, Tensor]) -> OfficialFit:
    """Find the one of `requests` that `official` differs least from.

    Raises:
        ConfigError: It fits several of them, or one of them is impossible.
    """
    fits = [_fit(request, given) for request in requests for given in _spellings(official)]
    fits.sort(key=lambda fit: fit.differences.count)
    fitting = dict.fromkeys(fit.request.name for fit in fits if not fit.differences)
    if len(fitting) > 1:
        message = f'these weights fit {", ".join(fitting)} equally; name the model instead.'
        raise ConfigError(message)
    return fits[0]


def _spellings(official: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
    """The names as they are, and without the attribute that a trainer kept the network in."""
    given = cleaned(official)
    stripped = [
        {name.removeprefix(wrapper): value for name, value in given.items()}
        for wrapper in _WRAPPERS
        if given and all(name.startswith(wrapper) for name in given)
    ]
    return [given, *stripped]


def _built_with_a_seed(request: OfficialRequest) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED_OF_THE_REST)
        return create_model(request.name, **request.options).state_dict()
