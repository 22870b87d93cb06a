# SPDX-License-Identifier: Apache-2.0
"""A small network of the self-supervised family, for robots; it has no published original.

It keeps what training without depth needs, inverse depth at four scales over a fixed range, and
takes the rest from the small networks of the other families: a light timm encoder and the light
decoder, which ends at half resolution. The finest inverse depth is that of half resolution,
resized; those of a quarter and an eighth have heads of their own, which serve training alone and
are not in the exported graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depth_core.models.backbones import EncoderWeights, TimmEncoder
from depth_core.models.base import ModelSpec
from depth_core.models.blocks import STRIDES, LightDecoder, check_decoder_channels, resize_bilinear
from depth_core.models.selfsup.inverse_depth import InverseDepthModel, inverse_depth_spec
from depth_core.precision import at_least_float32


class SelfSupSmall(InverseDepthModel):
    """A timm encoder, the light decoder, and heads of inverse depth.

    Inverse depth is 1 / max_depth + (1 / min_depth - 1 / max_depth) sigmoid(raw), as in the ResNet
    network of the family.
    """

    def __init__(self, spec: ModelSpec, encoder: TimmEncoder, channels: Sequence[int]) -> None:
        super().__init__(spec, feature_channels=channels[-1])
        self.encoder = encoder
        self.decoder = LightDecoder(encoder.channels, channels)
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in channels[2:4])

    def inverse_depths(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first, and the features at stride 2."""
        maps = self.encoder(images)
        skips = [*maps[-2::-1], *[None] * len(STRIDES)]
        x = self.decoder.top(maps[-1])
        levels = []
        for block, skip in zip(self.decoder.blocks, skips, strict=False):
            x = block(x, skip)
            levels.append(x)
        eighth, quarter, half = levels[1:]
        inv_half = self._inverse(self.decoder.out(half))
        size = (images.shape[-2], images.shape[-1])
        inv_depths = (
            resize_bilinear(inv_half, size, 'half_pixel'),
            inv_half,
            self._inverse(self.heads[1](quarter)),
            self._inverse(self.heads[0](eighth)),
        )
        return inv_depths, half

    def _inverse(self, raw: Tensor) -> Tensor:
        low, high = 1.0 / self.spec.max_depth, 1.0 / self.spec.min_depth
        return low + (high - low) * torch.sigmoid(at_least_float32(raw))


def selfsup_small(
    *,
    max_depth: float = 100.0,
    min_depth: float = 0.1,
    metric: bool = False,
    encoder: str = 'mobilenetv3_large_075',
    decoder_channels: Sequence[int] = (128, 128, 80, 48, 24),
    encoder_weights: EncoderWeights = 'none',
) -> SelfSupSmall:
    """Build the small network of the family on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth the network can state, in metres or its own unit.
        min_depth: Smallest depth it can state.
        metric: The weights answer metres: they were trained with speeds or with depth.
        encoder: Name of a timm network.
        decoder_channels: Channels at strides 32, 16, 8, 4 and 2.
        encoder_weights: Where the encoder starts from: none (random), packaged (installed with
            the extra `pretrained`, for tf_efficientnet_lite0 to 2) or download (timm's).

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown or gives no pyramid.
    """
    check_decoder_channels(decoder_channels)
    spec = inverse_depth_spec(
        'selfsup_small',
        min_depth=min_depth,
        max_depth=max_depth,
        metric=metric,
        default_size=(256, 320),
    )
    network = TimmEncoder(encoder, weights=encoder_weights)
    return SelfSupSmall(spec, network, tuple(decoder_channels))
