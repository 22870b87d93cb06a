# SPDX-License-Identifier: Apache-2.0
"""A small network of the self-supervised family, for robots; it has no published original.

It keeps what training without depth needs, inverse depth at four scales over a fixed range, and
takes the rest from the small networks of the other families: a light timm encoder and the light
decoder, which ends at half resolution. The finest inverse depth is that of half resolution,
resized; those of a quarter and an eighth have heads of their own, which serve training alone and
are not in the exported graph.

With `guided_strides` the 3x3 layers that join the skips there are pixel-adaptive, guided by a
frozen semantic network inside the graph, as in the networks of guided.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError
from depth_core.models.backbones import EncoderWeights, TimmEncoder
from depth_core.models.base import ModelSpec
from depth_core.models.blocks import (
    STRIDES,
    ConvNormAct,
    LightDecoder,
    check_decoder_channels,
    resize_bilinear,
)
from depth_core.models.selfsup.guidance import SemanticGuidance
from depth_core.models.selfsup.guided import frozen_semantics
from depth_core.models.selfsup.inverse_depth import InverseDepthModel, inverse_depth_spec
from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d
from depth_core.models.selfsup.semantic import CITYSCAPES_CLASSES, FrozenSemantics
from depth_core.precision import at_least_float32

LEVEL_STRIDES: Final = STRIDES[-2::-1]
"""Strides that the levels of the decoder climb to, in the order they run."""


class GuidedUpsampleBlock(nn.Module):
    """The block of the light decoder with a pixel-adaptive layer that merges the skip."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = ConvNormAct(in_channels, out_channels, kernel_size=1)
        self.merge = PixelAdaptiveConv2d(
            out_channels + skip_channels, out_channels, 3, padding=1, bias=False, recompute=False
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, skip: Tensor | None, guide: Tensor) -> Tensor:
        """Climb one level along `guide`, [B, G, H, W] at the size that is reached."""
        x = self.narrow(x)
        size = (guide.shape[-2], guide.shape[-1])
        x = resize_bilinear(x, size, 'half_pixel')
        x = x if skip is None else torch.cat((x, skip), dim=1)
        return F.relu(self.norm(self.merge(x, guide)))


class SelfSupSmall(InverseDepthModel):
    """A timm encoder, the light decoder, and heads of inverse depth.

    Inverse depth is 1 / max_depth + (1 / min_depth - 1 / max_depth) sigmoid(raw), as in the ResNet
    network of the family. Guided, it has `semantics` and `guidance` too.
    """

    def __init__(
        self,
        spec: ModelSpec,
        encoder: TimmEncoder,
        channels: Sequence[int],
        *,
        semantics: FrozenSemantics | None = None,
        guidance: SemanticGuidance | None = None,
    ) -> None:
        super().__init__(spec, feature_channels=channels[-1])
        self.encoder = encoder
        self.decoder = LightDecoder(encoder.channels, channels)
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in channels[2:4])
        self.semantics = semantics
        self.guidance = guidance
        skips = (*encoder.channels[-2::-1], *[0] * len(STRIDES))
        for level, stride in enumerate(LEVEL_STRIDES):
            if guidance is not None and str(stride) in guidance.adapters:
                self.decoder.blocks[level] = GuidedUpsampleBlock(
                    channels[level], skips[level], channels[level + 1]
                )

    def inverse_depths(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first, and the features at stride 2."""
        maps = self.encoder(images)
        skips = [*maps[-2::-1], *[None] * len(STRIDES)]
        x = self.decoder.top(maps[-1])
        levels = []
        for block, skip, guide in zip(
            self.decoder.blocks, skips, self._guides(images), strict=False
        ):
            x = block(x, skip) if guide is None else block(x, skip, guide)
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

    def _guides(self, images: Tensor) -> Sequence[Tensor | None]:
        if self.semantics is None or self.guidance is None:
            return (None,) * len(LEVEL_STRIDES)
        guides: Sequence[Tensor | None] = self.guidance(self.semantics(images))
        return guides

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
    guided_strides: Sequence[int] = (),
    guide_channels: int = 16,
    semantic_encoder: str = 'tu-tf_efficientnet_lite0',
    semantic_channels: int = 64,
    semantic_head_channels: int = 64,
    semantic_classes: int = CITYSCAPES_CLASSES,
    semantic_weights: str | Path | None = None,
    encoder_weights: EncoderWeights = 'none',
) -> SelfSupSmall:
    """Build the small network of the family on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth the network can state, in metres or its own unit.
        min_depth: Smallest depth it can state.
        metric: The weights answer metres: they were trained with speeds or with depth.
        encoder: Name of a timm network.
        decoder_channels: Channels at strides 32, 16, 8, 4 and 2.
        guided_strides: Strides of the decoder's levels, of 16, 8, 4 and 2, that are guided by a
            semantic network inside the graph; none = no such network. The rest goes with it.
        guide_channels: Width of the guides, a multiple of 16.
        semantic_encoder: Encoder of segmentation-models-pytorch, or tu- and one of timm.
        semantic_channels: Width of the semantic pyramid.
        semantic_head_channels: Width of the semantic head, a multiple of 32.
        semantic_classes: Number of its classes; 19 are those of Cityscapes.
        semantic_weights: File of a trained semantic network (semantic_file.py).
        encoder_weights: Where the encoder starts from, and that of an untrained semantic network:
            none (random), packaged (installed with the extra `pretrained`, for
            tf_efficientnet_lite0 to 2) or download (timm's).

    Raises:
        CheckpointError: The semantic weights are missing, broken or of another network.
        ConfigError: An option is out of range, or semantic weights are given and nothing guided.
        ModelError: An encoder is unknown or gives no pyramid.
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
    if not guided_strides:
        if semantic_weights is not None:
            message = (
                f'semantic_weights is {semantic_weights} and guided_strides is empty: nothing '
                f'would use it; give some of {list(LEVEL_STRIDES)}.'
            )
            raise ConfigError(message)
        return SelfSupSmall(spec, network, tuple(decoder_channels))
    guidance = SemanticGuidance(
        semantic_channels,
        channels=guide_channels,
        level_strides=LEVEL_STRIDES,
        guided_strides=guided_strides,
    )
    semantics = frozen_semantics(
        semantic_encoder,
        channels=semantic_channels,
        head_channels=semantic_head_channels,
        classes=semantic_classes,
        weights=semantic_weights,
        encoder_weights=encoder_weights,
    )
    return SelfSupSmall(
        spec, network, tuple(decoder_channels), semantics=semantics, guidance=guidance
    )
