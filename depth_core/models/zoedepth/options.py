# SPDX-License-Identifier: Apache-2.0
"""The options the builders of ZoeDepth share: checked, and built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from depth_core.errors import ConfigError, unknown_name
from depth_core.models.zoedepth.dpt import DptCore
from depth_core.models.zoedepth.dpt_encoders import LEVELS
from depth_core.models.zoedepth.dpt_presets import build_pyramid, preset
from depth_core.models.zoedepth.metric_bins import (
    AGGREGATIONS,
    ATTRACTIONS,
    CENTRES_TYPES,
    LIKELIHOODS,
    Aggregation,
    Attraction,
    BinHead,
    CentresType,
    Likelihood,
)


@dataclass(frozen=True, kw_only=True)
class CoreOptions:
    """Which DPT core a model stands on."""

    encoder: str
    encoder_options: Mapping[str, Any] | None
    hooks: Sequence[int] | None
    neck_channels: Sequence[int] | None
    features: int
    pretrained: bool

    def build(self) -> DptCore:
        """Build it; see the builders for the options."""
        if self.features < 2:  # noqa: PLR2004  the head halves them
            message = f'features is {self.features}; at least 2, 256 is published.'
            raise ConfigError(message)
        pyramid = build_pyramid(
            self.encoder,
            options=self.encoder_options,
            hooks=self.hooks,
            channels=self.neck_channels,
            pretrained=self.pretrained,
        )
        return DptCore(pyramid, features=self.features)

    def input_size(self, published: tuple[int, int]) -> tuple[int, int]:
        """Size the model is trained at: the published one, or the only one Swin V2 takes."""
        entry = preset(self.encoder)
        if entry.kind != 'swin2':
            return published
        side = int({**entry.options, **(self.encoder_options or {})}['img_size'])
        return side, side


@dataclass(frozen=True, kw_only=True)
class BinOptions:
    """How the bins of a head are made."""

    n_bins: int
    embedding_dim: int
    n_attractors: Sequence[int]
    centres_type: CentresType
    aggregation: Aggregation
    attraction: Attraction
    likelihood: Likelihood = 'log_binomial'

    def __post_init__(self) -> None:
        if self.n_bins < 2 or self.embedding_dim < 2:  # noqa: PLR2004  one bin has no spread
            message = (
                f'n_bins {self.n_bins} and bin_embedding_dim {self.embedding_dim}: give at least '
                '2 of each; the published networks have 64 and 128.'
            )
            raise ConfigError(message)
        if len(self.n_attractors) != LEVELS or min(self.n_attractors) < 1:
            message = (
                f'n_attractors {list(self.n_attractors)}: give {LEVELS} positive numbers, from '
                'the coarsest level to the finest.'
            )
            raise ConfigError(message)
        for option, value, known in (
            ('bin_centers_type', self.centres_type, CENTRES_TYPES),
            ('attractor_kind', self.aggregation, AGGREGATIONS),
            ('attractor_type', self.attraction, ATTRACTIONS),
            ('likelihood', self.likelihood, LIKELIHOODS),
        ):
            if value not in known:
                raise ConfigError(unknown_name(option, value, known))

    def head(
        self,
        features: int,
        last_channels: int,
        *,
        depth_range: tuple[float, float],
        seed_hidden: int,
        bottleneck: int,
    ) -> BinHead:
        """Build the part a domain has for itself."""
        return BinHead(
            features,
            last_channels,
            n_bins=self.n_bins,
            embedding_dim=self.embedding_dim,
            n_attractors=self.n_attractors,
            centres_type=self.centres_type,
            depth_range=depth_range,
            seed_hidden=seed_hidden,
            bottleneck=bottleneck,
            aggregation=self.aggregation,
            attraction=self.attraction,
            likelihood=self.likelihood,
        )
