# SPDX-License-Identifier: Apache-2.0
"""What a family of networks states of itself, once, for all who need it.

The registry, the conversion of published weights, the tables of docs/models.md, the test of the
contract and that of the training files read it; nothing else lists families or their networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from depth_core.errors import ConfigError
from depth_core.models.base import DepthModel

Keep = Callable[[str], bool]
"""Says of a key of the authors whether it belongs to a part."""


Range = tuple[float, float]
"""Smallest and largest depth a network states, metres."""

Rescale = Callable[[Mapping[str, Tensor], Range, Range], Mapping[str, Tensor]]
"""Takes weights, the range they were trained with and another one; gives the weights that state
the same depth with the other range, wherever both have it."""


def limits_only(state: Mapping[str, Tensor], before: Range, after: Range) -> Mapping[str, Tensor]:
    """Leave weights as they are: the range only cuts off what the network states."""
    del before, after
    return state


def reciprocal(layer: str) -> Rescale:
    """Rescale where a last layer, linear, gives y = max_depth / depth.

    Args:
        layer: Name of the layer with that output, its weight and its bias.
    """

    def rescale(state: Mapping[str, Tensor], before: Range, after: Range) -> Mapping[str, Tensor]:
        factor, last = after[1] / before[1], {f'{layer}.weight', f'{layer}.bias'}
        return {key: value * factor if key in last else value for key, value in state.items()}

    return rescale


def everything(key: str) -> bool:
    """Keep every key."""
    del key
    return True


def nothing(key: str) -> bool:
    """Keep no key."""
    del key
    return False


@dataclass(frozen=True, kw_only=True)
class OfficialWeights:
    """One published network: how its files are named, and what of them has no place here.

    A file is read in three steps: `to_authors` brings any published naming to that of the
    authors' own code, `official_key` says which of those keys a weight of ours takes, and
    everything that is left must be `dropped` knowingly.
    """

    official_key: Callable[[str], str]
    """Our key to the authors'; one to one."""
    dropped: Keep = nothing
    """Keys of the authors that are knowingly left behind."""
    to_authors: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """Other published namings to the authors' own; what is in none of them stays as it is."""
    parts: Mapping[str, Keep] = field(default_factory=dict)
    """Published files that hold only part of the network, by name: which of the authors' keys
    they hold. The rest of the network keeps the weights it is built with."""
    keras_name: Callable[[str], str | None] | None = None
    """The authors' PyTorch key to `layer/parameter` of their Keras file; None where there is
    none."""
    variants: Sequence[Mapping[str, object]] = ({},)
    """Options of the networks that files may be of; the weights decide between them."""
    with_pose: bool = False
    """Whether the files may hold a pose network too (`depth_core.weights.pose_file`)."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network of a family."""

    builder: Callable[..., DepthModel]
    """Takes keyword-only options; its name is the name of the model."""
    summary: str
    """What it is, in a line of the documentation."""
    tiny: Mapping[str, Any] = field(default_factory=dict)
    """Options of a small form of the same wiring, which tests run in a moment."""
    official: OfficialWeights | None = None
    """None where nobody published weights."""

    rescale: Rescale | None = None
    """Brings weights to another range of depth; None where that cannot be exact."""

    @property
    def name(self) -> str:
        """Registry name of the model."""
        return self.builder.__name__

    @property
    def weights(self) -> OfficialWeights:
        """Its published weights.

        Raises:
            ConfigError: There are none.
        """
        if self.official is None:
            message = f'no weights of {self.name} were ever published; train it.'
            raise ConfigError(message)
        return self.official


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks of one kind, trained by one recipe."""

    name: str
    """As `ModelSpec.family` and `depth_core.convert --family` have it."""
    title: str
    """As its authors write it."""
    paper: str
    """Where it is described."""
    recipe: str
    """Name of the recipe of `depth_core.train` that trains it."""
    networks: Sequence[Network]
    sigma: str
    """Where its standard deviation comes from, in a line of the documentation."""
    published: str
    """Which published files are read, in a line of the documentation."""
    aliases: tuple[str, ...] = ()
    """Former names, which `depth_core.convert --family` takes too."""
