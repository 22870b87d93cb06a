# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth: metric bins on the relative-depth network of MiDaS, for one domain or several.

Paper: S. F. Bhat, R. Birkl, D. Wofk, P. Wonka, M. Mueller, ZoeDepth: Zero-shot Transfer by
Combining Relative and Metric Depth, arXiv 2302.12288, 2023. Original code:
https://github.com/isl-org/ZoeDepth, MIT; this file shares no code with it and was written from
facts about the network (sizes, wiring, key names) and checked against numbers the original
produces.

The defaults are the networks of the published weights: N (indoor, free centres), K (roads, centres
within 0.001 to 80 m), NK (both, with a router). The published K answers 10 m at most unless its
data set is named to it; here it is 80 m from the start.

Changed: depth is clipped to the range the network states; sigma, the spread of the bins put
right by three learnt numbers, comes beside it; NK routes each image by itself, where the original
lets the whole batch vote (`routing='batch'`). Dead weight is dropped: the classifier of the
encoder, the first residual unit of the coarsest fusion block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from depth_core.contracts import DepthKind
from depth_core.errors import ModelError
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.zoedepth.dpt import HEAD_CHANNELS, STRIDE, DptCore, DptFeatures
from depth_core.models.zoedepth.dpt_encoders import LEVELS, Swin2Pyramid
from depth_core.models.zoedepth.metric_bins import (
    Aggregation,
    Attraction,
    BinEmbedding,
    BinHead,
    Bins,
    CentresType,
    SpreadCalibration,
)
from depth_core.models.zoedepth.options import BinOptions, CoreOptions

_SEED_HIDDEN: Final = 256


@dataclass(frozen=True, kw_only=True)
class ZoeDepthPrediction(Prediction):
    """Depth and sigma, and the raw outputs the losses are computed on."""

    metric_depth: Tensor
    """[B, 1, H, W] depth before it is clipped, metres."""
    relative_depth: Tensor
    """[B, H, W] inverse depth up to scale and shift, not negative."""
    domain_logits: Tensor | None = None
    """[B, domains] where there is a router."""
    bin_centres: Tensor | None = None
    """[B, K, h, w] centres of the bins of each pixel, metres; None with several heads."""


# Models


class ZoeDepth(DepthModel):
    """One head of metric bins on a DPT core: ZoeD-N and ZoeD-K."""

    def __init__(
        self, spec: ModelSpec, core: DptCore, embedding: BinEmbedding, head: BinHead
    ) -> None:
        super().__init__()
        self.spec = spec
        self.core = core
        self.embedding = embedding
        self.head = head
        self.calibration = SpreadCalibration()

    def forward(self, images: Tensor) -> ZoeDepthPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        features = self.core(images)
        bins = self._bins(features)
        depth = bins.mean()
        sigma = self.calibration(bins.spread(depth), clipped(self.spec, depth))
        return predict(
            self.spec, depth, sigma, relative=features.relative, bin_centres=bins.centres
        )

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' network on RGB in [0, 1] that is at network size already.

        Returns:
            `metric_depth` [B, 1, H, W] metres, not clipped; `rel_depth` [B, H, W].
        """
        self.check_input(x)
        features = self.core(x)
        return {'metric_depth': self._bins(features).mean(), 'rel_depth': features.relative}

    def relative_depth(self, images: Tensor) -> Tensor:
        """Run the core alone: [B, H, W] inverse depth up to scale and shift, not negative."""
        self.check_input(images)
        features: DptFeatures = self.core(images)
        return features.relative

    def own_state(self) -> dict[str, Tensor]:
        """The calibration of sigma, leaving the spread of the bins as it is."""
        return neutral_calibration(1)

    def check_input(self, images: Tensor) -> None:
        """Refuse a size the network cannot take."""
        super().check_input(images)
        check_square(self.spec, self.core, images)

    def _bins(self, features: DptFeatures) -> Bins:
        x, embeddings = self.embedding(features.bottleneck, features.fused)
        last = torch.cat((features.last, features.relative.unsqueeze(1)), dim=1)
        bins: Bins = self.head(x, embeddings, last)
        return bins


# What all heads share


def predict(
    spec: ModelSpec,
    depth: Tensor,
    sigma: Tensor,
    *,
    relative: Tensor,
    domain_logits: Tensor | None = None,
    bin_centres: Tensor | None = None,
) -> ZoeDepthPrediction:
    """Clip the depth to the range of the network; all maps [B, 1, H, W] but `relative`."""
    return ZoeDepthPrediction(
        depth=clipped(spec, depth).squeeze(1),
        sigma=sigma.squeeze(1),
        metric_depth=depth,
        relative_depth=relative,
        domain_logits=domain_logits,
        bin_centres=bin_centres,
    )


def clipped(spec: ModelSpec, depth: Tensor) -> Tensor:
    """Bring depth into the range of the network, metres."""
    return depth.clamp(spec.min_depth, spec.max_depth)


def neutral_calibration(n_domains: int) -> dict[str, Tensor]:
    """Weights of a calibration that leaves the spread of the bins as it is."""
    state = SpreadCalibration(n_domains).state_dict()
    return {f'calibration.{key}': value for key, value in state.items()}


def check_square(spec: ModelSpec, core: DptCore, images: Tensor) -> None:
    """Refuse what Swin V2 cannot take: it has windows for one size alone.

    Raises:
        ModelError: The encoder is a Swin V2 and the images are of another size.
    """
    if not isinstance(core.pyramid, Swin2Pyramid):
        return
    height, width = images.shape[-2:]
    if (height, width) == spec.default_size:
        return
    side = spec.default_size[0]
    message = (
        f'{spec.name} with a Swin V2 encoder was built for {side}x{side} pixels and cannot take '
        f'{height}x{width}. Nearest that fits: {side}x{side}; another square is '
        "encoder_options={'img_size': ...}."
    )
    raise ModelError(message)


def spec_of(
    name: str,
    min_depth: float,
    max_depth: float,
    *,
    default_size: tuple[int, int],
    free_size: bool = False,
) -> ModelSpec:
    """What travels with a network of this family."""
    return ModelSpec(
        name=name,
        family='zoedepth',
        kind=DepthKind.METRIC,
        min_depth=min_depth,
        max_depth=max_depth,
        free_size=free_size,
        divisor=STRIDE,
        default_size=default_size,
    )


# Variants


def zoedepth_n(
    *,
    max_depth: float = 10.0,
    min_depth: float = 1e-3,
    encoder: str = 'beit',
    encoder_options: dict[str, Any] | None = None,
    hooks: Sequence[int] | None = None,
    neck_channels: Sequence[int] | None = None,
    features: int = 256,
    n_bins: int = 64,
    bin_embedding_dim: int = 128,
    n_attractors: Sequence[int] = (16, 8, 4, 1),
    bin_centers_type: CentresType = 'softplus',
    attractor_kind: Aggregation = 'mean',
    attractor_type: Attraction = 'inv',
    pretrained: bool = False,
) -> ZoeDepth:
    """Build ZoeD-N, the network for rooms; the defaults are the published one.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        encoder: beit, swin2, vit (each the large one), or one of `dpt_presets.PRESETS`.
        encoder_options: Sizes of the encoder that differ from the published ones, by timm's names.
        hooks: Blocks of the encoder whose outputs are used, counted from 0; none = as published.
        neck_channels: Channels of the maps at strides 4, 8, 16, 32; none = as published.
        features: Channels of the decoder.
        n_bins: Bins of each pixel.
        bin_embedding_dim: Channels of the bin embeddings.
        n_attractors: Points the centres are attracted to, from the coarsest level to the finest.
        bin_centers_type: softplus (free), normed (within the range), hybrid1 (normed seeds, free
            attractors), hybrid2 (free seeds, normed attractors).
        attractor_kind: mean (published) or sum (the paper's equation 2) of the attractions.
        attractor_type: inv (published) or exp.
        pretrained: Start the encoder from timm's classification weights, which are downloaded.

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown.
    """
    return _of_one_domain('zoedepth_n', (384, 512), **locals())  # every option as it was given


def zoedepth_k(
    *,
    max_depth: float = 80.0,
    min_depth: float = 1e-3,
    encoder: str = 'beit',
    encoder_options: dict[str, Any] | None = None,
    hooks: Sequence[int] | None = None,
    neck_channels: Sequence[int] | None = None,
    features: int = 256,
    n_bins: int = 64,
    bin_embedding_dim: int = 128,
    n_attractors: Sequence[int] = (16, 8, 4, 1),
    bin_centers_type: CentresType = 'normed',
    attractor_kind: Aggregation = 'mean',
    attractor_type: Attraction = 'inv',
    pretrained: bool = False,
) -> ZoeDepth:
    """Build ZoeD-K, the network for roads; options as of `zoedepth_n`.

    The published loader bounds it at 10 m unless it is given the data set; 80 m is what it was
    trained for.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        encoder: As of zoedepth_n.
        encoder_options: As of zoedepth_n.
        hooks: As of zoedepth_n.
        neck_channels: As of zoedepth_n.
        features: Channels of the decoder.
        n_bins: Bins of each pixel.
        bin_embedding_dim: Channels of the bin embeddings.
        n_attractors: Points the centres are attracted to, from the coarsest level to the finest.
        bin_centers_type: As of zoedepth_n.
        attractor_kind: As of zoedepth_n.
        attractor_type: As of zoedepth_n.
        pretrained: Start the encoder from timm's classification weights, which are downloaded.

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown.
    """
    return _of_one_domain('zoedepth_k', (384, 768), **locals())  # every option as it was given


def _of_one_domain(
    name: str,
    published_size: tuple[int, int],
    *,
    max_depth: float,
    min_depth: float,
    encoder: str,
    encoder_options: dict[str, Any] | None,
    hooks: Sequence[int] | None,
    neck_channels: Sequence[int] | None,
    features: int,
    n_bins: int,
    bin_embedding_dim: int,
    n_attractors: Sequence[int],
    bin_centers_type: CentresType,
    attractor_kind: Aggregation,
    attractor_type: Attraction,
    pretrained: bool,
) -> ZoeDepth:
    core = CoreOptions(
        encoder=encoder,
        encoder_options=encoder_options,
        hooks=hooks,
        neck_channels=neck_channels,
        features=features,
        pretrained=pretrained,
    )
    bins = BinOptions(
        n_bins=n_bins,
        embedding_dim=bin_embedding_dim,
        n_attractors=tuple(n_attractors),
        centres_type=bin_centers_type,
        aggregation=attractor_kind,
        attraction=attractor_type,
    )
    spec = spec_of(name, min_depth, max_depth, default_size=core.input_size(published_size))
    embedding = BinEmbedding(
        (core.features,) * (1 + LEVELS),
        hidden=bins.embedding_dim,
        embedding_dim=bins.embedding_dim,
    )
    head = bins.head(
        core.features,
        HEAD_CHANNELS + 1,  # the relative depth is one of them
        depth_range=(spec.min_depth, spec.max_depth),
        seed_hidden=_SEED_HIDDEN,
        bottleneck=2,
    )
    return ZoeDepth(spec, core.build(), embedding, head)
