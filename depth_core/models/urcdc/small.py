# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth for robots: the ideas of the family on a light encoder.

What is kept: neural CRF stages on the branch that is exported, a CNN branch that sees the maps of
the other through coupling units and exists in training only, a confidence of each branch, and with
the recipe cross-distillation where the teacher is sure. What is smaller: any pyramidal timm
encoder stands for Swin, five residual stages for DenseNet, CRF stages are narrow and project by
1x1 convolutions. What is else: depth is the exponential of the head's sigmoid over the range, so
that training from random weights starts at its geometric middle and learns near and far alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from depth_core.errors import ModelError
from depth_core.models.backbones import EncoderWeights, TimmEncoder
from depth_core.models.base import DepthModel, ModelSpec
from depth_core.models.urcdc.confidence import sigma_from_confidence
from depth_core.models.urcdc.coupling import CouplingUnit, FullHead, FusionDecoder
from depth_core.models.urcdc.network import (
    LEVELS,
    BranchPrediction,
    UrcdcPrediction,
    check_sizes,
    urcdc_spec,
)
from depth_core.models.urcdc.neural_crf import CrfDecoder, QuarterHead

_RANGE_MARGIN: Final = 1.25
_STEM_CHANNELS: Final = 16


class CoupledResNet(nn.Module):
    """A stem and four residual blocks, each halving the size; a coupled map goes on."""

    def __init__(
        self, channels: Sequence[int], *, transformer_channels: Sequence[int], bypass: float
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_STEM_CHANNELS),
            nn.ReLU(inplace=True),
        )
        before = (_STEM_CHANNELS, *channels)
        self.stages = nn.ModuleList(
            _halving_block(before[level], channels[level]) for level in range(len(channels))
        )
        self.units = nn.ModuleList(
            CouplingUnit(own, theirs, bypass=bypass)
            for own, theirs in zip(channels, transformer_channels, strict=True)
        )

    def forward(self, images: Tensor, transformer_maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the four coupled maps at strides 4 to 32, finest first."""
        maps = []
        x = self.stem(images)
        for stage, unit, known in zip(self.stages, self.units, transformer_maps, strict=True):
            x = unit(stage(x), known)
            maps.append(x)
        return maps


def _halving_block(in_channels: int, channels: int) -> BasicBlock:
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, stride=2, bias=False), nn.BatchNorm2d(channels)
    )
    return BasicBlock(in_channels, channels, stride=2, downsample=shortcut)


class UrcdcSmall(DepthModel):
    """A timm encoder with CRF stages, and a small CNN beside it in training."""

    def __init__(
        self, spec: ModelSpec, encoder: TimmEncoder, decoder: CrfDecoder, cnn: CoupledResNet
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.decoder = decoder
        self.depth_head = QuarterHead(decoder.out_channels)
        self.confidence_head = QuarterHead(decoder.out_channels)
        self.cnn = cnn
        self.cnn_decoder = FusionDecoder(cnn.channels)
        self.cnn_depth_head = FullHead(self.cnn_decoder.channels)
        self.cnn_confidence_head = FullHead(self.cnn_decoder.channels)

    def forward(self, images: Tensor) -> UrcdcPrediction:
        """Predict depth and sigma; the CNN branch runs in training mode only."""
        self.check_input(images)
        maps = self.encoder(images)[-LEVELS:]
        transformer = self._transformer(maps)
        depth = transformer.depth.clamp(self.spec.min_depth, self.spec.max_depth)
        return UrcdcPrediction(
            depth=depth.squeeze(1),
            sigma=sigma_from_confidence(transformer.confidence, depth).squeeze(1),
            transformer=transformer,
            cnn=self._cnn(images, maps) if self.training else None,
        )

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run both branches on RGB in [0, 1]; this variant is ours and has no original.

        Returns:
            The names of the published network: `pred_d`, `pred_d2`, `u1`, `u2`.
        """
        self.check_input(x)
        maps = self.encoder(x)[-LEVELS:]
        transformer, cnn = self._transformer(maps), self._cnn(x, maps)
        return {
            'pred_d': transformer.depth,
            'pred_d2': cnn.depth,
            'u1': transformer.confidence,
            'u2': cnn.confidence,
        }

    def _transformer(self, maps: Sequence[Tensor]) -> BranchPrediction:
        features = self.decoder(maps)
        return BranchPrediction(
            depth=self._decode(self.depth_head(features)),
            confidence=self.confidence_head(features),
        )

    def _cnn(self, images: Tensor, maps: Sequence[Tensor]) -> BranchPrediction:
        # Centred images are all the normalisation a network from random weights needs.
        features = self.cnn_decoder(self.cnn(2.0 * images - 1.0, maps))
        return BranchPrediction(
            depth=self._decode(self.cnn_depth_head(features)),
            confidence=self.cnn_confidence_head(features),
        )

    def _decode(self, share: Tensor) -> Tensor:
        """Depth over the range and a factor of 1.25 beyond either end, for a share in (0, 1)."""
        lowest = math.log(self.spec.min_depth / _RANGE_MARGIN)
        highest = math.log(self.spec.max_depth * _RANGE_MARGIN)
        return torch.exp(lowest + (highest - lowest) * share)


def urcdc_small(
    *,
    max_depth: float = 80.0,
    min_depth: float = 0.5,
    encoder: str = 'mobilenetv3_large_075',
    crf_channels: Sequence[int] = (32, 64, 96, 128),
    crf_heads: Sequence[int] = (1, 2, 3, 4),
    window: int = 8,
    pooled_channels: int = 64,
    cnn_channels: Sequence[int] = (16, 48, 96, 128),
    bypass: float = 0.05,
    encoder_weights: EncoderWeights = 'none',
) -> UrcdcSmall:
    """Build the small URCDC-Depth for robots on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        encoder: Name of a timm network with maps at strides 4, 8, 16 and 32.
        crf_channels: Channels of the CRF stages at these strides, multiples of 4.
        crf_heads: Attention heads of these.
        window: Side of their attention windows; 8 cuts 256x320 images nearly without padding.
        pooled_channels: Channels of the pyramid pooling, even.
        cnn_channels: Channels of the CNN branch at these strides; even at stride 4.
        bypass: Probability that a coupling unit is left out in a training step.
        encoder_weights: Where the encoder starts from: none (random), packaged (installed with
            the extra `pretrained`, for tf_efficientnet_lite0 to 2) or download (timm's).

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown or gives no such pyramid.
    """
    check_sizes(
        {'crf_channels': crf_channels, 'crf_heads': crf_heads, 'cnn_channels': cnn_channels},
        [
            *zip(crf_channels, crf_heads, strict=False),
            *((channels, 4) for channels in crf_channels[1:]),
            *((channels, 2) for channels in (*cnn_channels[:1], pooled_channels)),
        ],
        {'window': window},
        {'bypass': bypass},
    )
    network = TimmEncoder(encoder, weights=encoder_weights)
    if len(network.channels) < LEVELS:
        message = (
            f'timm encoder {encoder!r} has maps at strides {list(network.strides)}; urcdc_small '
            'needs strides 4, 8, 16 and 32.'
        )
        raise ModelError(message)
    channels = network.channels[-LEVELS:]
    spec = urcdc_spec('urcdc_small', min_depth, max_depth, default_size=(256, 320))
    decoder = CrfDecoder(
        channels,
        crf_channels,
        heads=crf_heads,
        window=window,
        pooled_channels=pooled_channels,
        pooled_groups=pooled_channels // 2,
        kernel_size=1,
    )
    cnn = CoupledResNet(cnn_channels, transformer_channels=channels, bypass=bypass)
    return UrcdcSmall(spec, network, decoder, cnn)
