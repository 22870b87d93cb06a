# SPDX-License-Identifier: Apache-2.0
"""A small ZoeDepth for robots: metric bins on the light decoder of any timm encoder.

Ours; see `zoedepth` for the paper. What it keeps: relative depth as an input of the metric head,
seeds at the coarsest level, attractors at strides 16 to 2, the conditional log-binomial. What is
other: the bins are split in the logarithm of depth, since a road has details at 1 m and at 50 m;
attractors move the centres by at most 0.03 of that range and are not sorted, since sorting is slow
in a graph; the answer is found at half resolution and enlarged; distributions start sharp, at a
temperature of about 1, so that training from random weights has a gradient from the first step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.backbones import EncoderWeights, TimmEncoder
from depth_core.models.base import DepthModel, ModelSpec
from depth_core.models.blocks import LightDecoder, check_decoder_channels, resize_bilinear
from depth_core.models.zoedepth.domains import ZoeDepthNK, check_domains, check_router_channels
from depth_core.models.zoedepth.dpt import DptFeatures
from depth_core.models.zoedepth.metric_bins import (
    BinEmbedding,
    BinHead,
    Bins,
    Likelihood,
    SpreadCalibration,
)
from depth_core.models.zoedepth.network import (
    ZoeDepthPrediction,
    clipped,
    neutral_calibration,
    predict,
    spec_of,
)
from depth_core.models.zoedepth.options import BinOptions
from depth_core.models.zoedepth.routing import DomainRouter
from depth_core.precision import at_least_float32

_COLD: Final = (-3.0, 2.0)
"""Biases of the two votes on temperature with which it starts at about 1.1."""
_ROUTER_GRID: Final = (6, 8)
"""What images of 192x256, the size of training, have at stride 32."""
_ROUTER_LAYERS: Final = 2
_ROUTER_HEADS: Final = 4


class ZoeDepthSmall(DepthModel):
    """A timm encoder, the light decoder, one head of metric bins at half resolution."""

    def __init__(
        self,
        spec: ModelSpec,
        encoder: TimmEncoder,
        channels: Sequence[int],
        bins: BinOptions,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.decoder = LightDecoder(encoder.channels, channels)
        self.embedding = _embedding(channels, bins)
        self.head = _log_head(channels, bins, highest=1.0)
        self.calibration = SpreadCalibration()

    def forward(self, images: Tensor) -> ZoeDepthPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        bins, relative = self._bins(images)
        depth = bins.mean()
        sigma = self.calibration(bins.spread(depth), clipped(self.spec, depth))
        size = (images.shape[-2], images.shape[-1])
        depth, sigma, relative = (
            resize_bilinear(x, size, 'half_pixel') for x in (depth, sigma, relative)
        )
        return predict(
            self.spec, depth, sigma, relative=relative.squeeze(1), bin_centres=bins.centres
        )

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the network on RGB in [0, 1]; this variant is ours and has no original.

        Returns:
            `metric_depth` [B, 1, H/2, W/2] metres, not clipped; `rel_depth` [B, H/2, W/2].
        """
        bins, relative = self._bins(x)
        return {'metric_depth': bins.mean(), 'rel_depth': relative.squeeze(1)}

    def relative_depth(self, images: Tensor) -> Tensor:
        """Run encoder and decoder alone: [B, H/2, W/2] inverse depth up to scale and shift."""
        self.check_input(images)
        return features_of(self.encoder, self.decoder, images).relative

    def own_state(self) -> dict[str, Tensor]:
        """The calibration of sigma, leaving the spread of the bins as it is."""
        return neutral_calibration(1)

    def _bins(self, images: Tensor) -> tuple[Bins, Tensor]:
        """The bins, centres in metres, and the relative depth, at half resolution."""
        features = features_of(self.encoder, self.decoder, images)
        x, embeddings = self.embedding(features.bottleneck, features.fused)
        bins = self.head(x, embeddings, features.last)
        return in_metres(bins, self.spec), features.relative.unsqueeze(1)


class SmallCore(nn.Module):
    """Encoder and decoder as a core that several heads share."""

    def __init__(self, encoder: TimmEncoder, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = LightDecoder(encoder.channels, channels)

    def forward(self, images: Tensor) -> DptFeatures:
        """What the heads see of images [B, 3, H, W]; all at half resolution at most."""
        return features_of(self.encoder, self.decoder, images)


class GridRouter(DomainRouter):
    """The router on a grid of one size, so that it reads images of any size alike.

    As many tokens for every image also keep a graph of free size simple: with a number of tokens
    that depends on the size, its export does not come to an end.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Turn coarsest features [B, C, h, w] into logits [B, n_domains]."""
        return super().forward(resize_bilinear(x, _ROUTER_GRID, 'half_pixel'))


class ZoeDepthSmallDomains(ZoeDepthNK):
    """The small network with a head for each domain and a router, as ZoeD-NK."""

    def __init__(
        self,
        spec: ModelSpec,
        core: SmallCore,
        channels: Sequence[int],
        bins: BinOptions,
        highest: Mapping[str, float],
        *,
        routing: str,
    ) -> None:
        span = math.log(spec.max_depth / spec.min_depth)
        heads = {
            name: _log_head(channels, bins, highest=math.log(metres / spec.min_depth) / span)
            for name, metres in highest.items()
        }
        router = GridRouter(
            channels[0],
            bins.embedding_dim,
            len(heads),
            layers=_ROUTER_LAYERS,
            heads=_ROUTER_HEADS,
            hidden_channels=2 * bins.embedding_dim,
        )
        super().__init__(spec, core, _embedding(channels, bins), heads, router, routing=routing)
        self.depth_ranges = {name: (spec.min_depth, metres) for name, metres in highest.items()}

    def _bins(self, name: str, x: Tensor, embeddings: Sequence[Tensor], last: Tensor) -> Bins:
        return in_metres(super()._bins(name, x, embeddings, last), self.spec)


def features_of(encoder: TimmEncoder, decoder: LightDecoder, images: Tensor) -> DptFeatures:
    """Run encoder and decoder; `last` holds the relative depth as its last channel."""
    maps = encoder(images)
    skips = list(maps[-2::-1])
    levels = [decoder.top(maps[-1])]
    for level, block in enumerate(decoder.blocks):
        levels.append(block(levels[-1], skips[level] if level < len(skips) else None))
    relative = F.softplus(at_least_float32(decoder.out(levels[-1])))
    return DptFeatures(
        relative=relative.squeeze(1),
        last=torch.cat((levels[-1], relative), dim=1),
        bottleneck=levels[0],
        fused=tuple(levels[1:]),
    )


def in_metres(bins: Bins, spec: ModelSpec) -> Bins:
    """Bins whose centres are shares of the logarithmic range of the network, in metres."""
    span = math.log(spec.max_depth / spec.min_depth)
    metres = spec.min_depth * torch.exp(span * bins.centres)
    return Bins(centres=metres, probabilities=bins.probabilities)


def _embedding(channels: Sequence[int], bins: BinOptions) -> BinEmbedding:
    width = bins.embedding_dim
    return BinEmbedding(channels, hidden=width, embedding_dim=width)


def _log_head(channels: Sequence[int], bins: BinOptions, *, highest: float) -> BinHead:
    """A head whose centres begin in the lower share `highest` of the logarithmic range."""
    head = bins.head(
        channels[0],
        channels[-1] + 1,
        depth_range=(0.0, highest),
        seed_hidden=2 * bins.embedding_dim,
        bottleneck=2,
    )
    if bins.likelihood == 'log_binomial':
        with torch.no_grad():
            head.likelihood.out.get_parameter('bias')[2:] = torch.tensor(_COLD)
    return head


def zoedepth_small(
    *,
    max_depth: float = 80.0,
    min_depth: float = 0.5,
    encoder: str = 'mobilenetv3_large_075',
    decoder_channels: Sequence[int] = (128, 128, 80, 48, 24),
    n_bins: int = 32,
    bin_embedding_dim: int = 32,
    n_attractors: Sequence[int] = (8, 4, 2, 1),
    domains: Sequence[str] = (),
    domain_max_depths: Sequence[float] = (),
    routing: str = 'image',
    likelihood: Likelihood = 'log_binomial',
    encoder_weights: EncoderWeights = 'none',
) -> ZoeDepthSmall | ZoeDepthSmallDomains:
    """Build the small ZoeDepth on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        encoder: Name of a timm network.
        decoder_channels: Channels at strides 32, 16, 8, 4 and 2.
        n_bins: Bins of each pixel.
        bin_embedding_dim: Channels of the bin embeddings.
        n_attractors: Points the centres are attracted to, from the coarsest level to the finest.
        domains: Names of domains, each with a head of its own, and a router that picks one for
            each image; in the order of the data sets trained on. None = one head, no router.
        domain_max_depths: Largest depth of each domain, metres: where its bins begin and what its
            truth is clipped to.
        routing: As of zoedepth_nk; of no account without domains.
        likelihood: How likely each bin is: log_binomial, that of the paper, or softmax.
        encoder_weights: Where the encoder starts from: none (random), packaged (installed with
            the extra `pretrained`, for tf_efficientnet_lite0 to 2) or download (timm's).

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown or gives no pyramid.
    """
    check_decoder_channels(decoder_channels)
    bins = BinOptions(
        n_bins=n_bins,
        embedding_dim=bin_embedding_dim,
        n_attractors=tuple(n_attractors),
        centres_type='hybrid1',
        aggregation='mean',
        attraction='inv',
        likelihood=likelihood,
    )
    size = (256, 320)
    names = tuple(domains)
    if names or domain_max_depths:
        check_domains(names, domain_max_depths, routing, min_depth=min_depth, max_depth=max_depth)
        check_router_channels(bin_embedding_dim)
    spec = spec_of('zoedepth_small', min_depth, max_depth, default_size=size, free_size=True)
    network, channels = TimmEncoder(encoder, weights=encoder_weights), tuple(decoder_channels)
    if not names:
        return ZoeDepthSmall(spec, network, channels, bins)
    highest = dict(zip(names, domain_max_depths, strict=True))
    core = SmallCore(network, channels)
    return ZoeDepthSmallDomains(spec, core, channels, bins, highest, routing=routing)
