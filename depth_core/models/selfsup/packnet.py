# SPDX-License-Identifier: Apache-2.0
"""PackNet: an encoder that packs instead of pooling, and a decoder that unpacks.

Paper: V. Guizilini, R. Ambrus, S. Pillai, A. Raventos, A. Gaidon, 3D Packing for Self-Supervised
Monocular Depth Estimation, CVPR 2020, arXiv 1905.02693. Original code:
https://github.com/TRI-ML/packnet-sfm, MIT; this file was written from facts about the network
(sizes, wiring, key names) and checked against numbers the original produces.

Changed: all four scales come out in evaluation too; depth is clipped to a range, beside a
standard deviation from a head of our own that leaves the depth path untouched. Widths are options.
`packnet_slim` is the authors' narrower network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, unknown_name
from depth_core.models.base import ModelSpec
from depth_core.models.selfsup.inverse_depth import InverseDepthModel, inverse_depth_spec
from depth_core.models.selfsup.packnet_blocks import (
    FACTOR,
    GROUPS,
    ConvNormElu,
    InverseDepthHead,
    PackLayer,
    ResidualBlock,
    UnpackLayer,
)
from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d

Version: TypeAlias = Literal['1A', '1B']
"""How skips join the decoder: 1A concatenates them, 1B adds them."""

VERSIONS: Final[tuple[Version, ...]] = get_args(Version)

LEVEL_STRIDES: Final = (16, 8, 4, 2, 1)
"""Strides of the decoder's levels, in the order they run."""

_LEVELS: Final = len(LEVEL_STRIDES)
_SCALES: Final = 4
_STEM_KERNELS: Final = (5, 7)
_PACK_KERNELS: Final = (5, 3, 3, 3, 3)


# Blocks


class PackNetEncoder(nn.Module):
    """A stem and five stages, each a block that keeps the size and a packing that halves it.

    The first stage's block is a 7x7 layer, the others residual.
    """

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        *,
        features_3d: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = ConvNormElu(3, channels[0], _STEM_KERNELS[0])
        first = ConvNormElu(channels[0], channels[0], _STEM_KERNELS[1])
        self.blocks = nn.ModuleList(
            [
                first,
                *(
                    ResidualBlock(channels[level], width, count=count, dropout=dropout)
                    for level, (width, count) in enumerate(zip(channels[1:], blocks, strict=True))
                ),
            ]
        )
        self.packs = nn.ModuleList(
            PackLayer(width, kernel, features_3d=features_3d)
            for width, kernel in zip(channels, _PACK_KERNELS, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return six maps: the stem's at stride 1, and each packing's at 2, 4, 8, 16 and 32."""
        maps = [self.stem(images)]
        for block, pack in zip(self.blocks, self.packs, strict=True):
            maps.append(pack(block(maps[-1])))
        return maps


class DecoderLevel(nn.Module):
    """Unpack, join the skip and the coarser inverse depth, one 3x3 layer, perhaps a new depth."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        version: Version,
        features_3d: int,
        coarser_depth: bool,
        min_depth: float | None,
        guided: bool,
    ) -> None:
        super().__init__()
        self.adds = version == '1B'
        unpacked = skip_channels if self.adds else out_channels
        joined = unpacked if self.adds else unpacked + skip_channels
        self.unpack = UnpackLayer(in_channels, unpacked, 3, features_3d=features_3d)
        self.merge = ConvNormElu(joined + coarser_depth, out_channels, 3, guided=guided)
        self.head = (
            None if min_depth is None else InverseDepthHead(out_channels, min_depth=min_depth)
        )

    def forward(
        self, x: Tensor, skip: Tensor, coarser: Tensor | None, guide: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Climb one level; return the features and the inverse depth read from them."""
        x = self.unpack(x)
        parts = [x + skip] if self.adds else [x, skip]
        if coarser is not None:
            parts.append(F.interpolate(coarser, scale_factor=FACTOR, mode='nearest'))
        x = self.merge(torch.cat(parts, dim=1), guide)
        return x, None if self.head is None else self.head(x)


class PackNetDecoder(nn.Module):
    """Five levels; the four finest each read an inverse depth that the next finer one is given."""

    def __init__(
        self,
        channels: Sequence[int],
        *,
        version: Version,
        features_3d: int,
        min_depth: float,
        guided_strides: Sequence[int] = (),
    ) -> None:
        super().__init__()
        outs = channels[::-1]
        ins = (outs[0], *outs[:-1])
        skips = (*outs[1:], channels[0])  # the last is the stem
        self.levels = nn.ModuleList(
            DecoderLevel(
                ins[level],
                skips[level],
                outs[level],
                version=version,
                features_3d=features_3d,
                coarser_depth=level > _LEVELS - _SCALES,
                min_depth=min_depth if level >= _LEVELS - _SCALES else None,
                guided=LEVEL_STRIDES[level] in guided_strides,
            )
            for level in range(_LEVELS)
        )

    def forward(
        self, maps: Sequence[Tensor], guides: Sequence[Tensor | None] | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first, and the features at stride 1.

        Args:
            maps: What the encoder gives.
            guides: For each of LEVEL_STRIDES what its layer is guided by, None where it is not.
        """
        guides = (None,) * _LEVELS if guides is None else guides
        *skips, x = maps
        inv_depths: list[Tensor] = []
        inv_depth: Tensor | None = None
        for level, skip, guide in zip(self.levels, reversed(skips), guides, strict=True):
            x, inv_depth = level(x, skip, inv_depth, guide)
            if inv_depth is not None:
                inv_depths.insert(0, inv_depth)
        return tuple(inv_depths), x


# Models


class PackNet(InverseDepthModel):
    """The published network and a sigma head."""

    def __init__(self, spec: ModelSpec, encoder: PackNetEncoder, decoder: PackNetDecoder) -> None:
        super().__init__(spec, feature_channels=encoder.stem.norm.num_channels)
        self.encoder = encoder
        self.decoder = decoder
        initialise(self.encoder)
        initialise(self.decoder)

    def inverse_depths(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first, and the features at stride 1."""
        answer: tuple[tuple[Tensor, ...], Tensor] = self.decoder(self.encoder(images))
        return answer


def initialise(network: nn.Module) -> None:
    """Draw the weights as the authors do: Xavier, evenly distributed, biases 0."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d, PixelAdaptiveConv2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


# Variants


def packnet01(
    *,
    version: Version = '1A',
    max_depth: float = 100.0,
    min_depth: float = 0.5,
    metric: bool = False,
    channels: Sequence[int] = (64, 64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 3, 3),
    features_3d: int = 8,
    dropout: float = 0.0,
    pretrained: bool = False,
) -> PackNet:
    """Build PackNet01; the defaults are the published networks.

    Args:
        version: 1A joins skips by concatenation, 1B by addition.
        max_depth: Largest depth answered, in metres or the network's own unit; the published
            networks have no such bound. Losses work on inverse depth, which is not clipped.
        min_depth: Smallest depth; inverse depth is below 1 / min_depth.
        metric: The weights answer metres: they were trained with speeds or with depth.
        channels: Widths of the five stages, multiples of 16; the first is the stem's too.
        blocks: Residual convolutions in stages two to five.
        features_3d: Maps the 3-D convolutions make of each channel; 0 leaves these out.
        dropout: Share of the channels of each shortcut left out in training.
        pretrained: No such weights can be downloaded here; only False is taken.

    Raises:
        ConfigError: An option is out of range.
    """
    return _packnet(
        inverse_depth_spec('packnet01', min_depth=min_depth, max_depth=max_depth, metric=metric),
        version=version,
        channels=channels,
        blocks=blocks,
        features_3d=features_3d,
        dropout=dropout,
        pretrained=pretrained,
    )


def packnet_slim(
    *,
    version: Version = '1A',
    max_depth: float = 100.0,
    min_depth: float = 0.5,
    metric: bool = False,
    channels: Sequence[int] = (32, 64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 3, 3),
    features_3d: int = 4,
    dropout: float = 0.0,
    pretrained: bool = False,
) -> PackNet:
    """Build the authors' slim PackNet: half as wide at the start, half the 3-D features.

    The options are those of `packnet01`.
    """
    return _packnet(
        inverse_depth_spec(
            'packnet_slim', min_depth=min_depth, max_depth=max_depth, metric=metric
        ),
        version=version,
        channels=channels,
        blocks=blocks,
        features_3d=features_3d,
        dropout=dropout,
        pretrained=pretrained,
    )


def _packnet(
    spec: ModelSpec,
    *,
    version: Version,
    channels: Sequence[int],
    blocks: Sequence[int],
    features_3d: int,
    dropout: float,
    pretrained: bool,
) -> PackNet:
    check_packnet_options(
        version=version,
        channels=channels,
        blocks=blocks,
        features_3d=features_3d,
        dropout=dropout,
        pretrained=pretrained,
    )
    encoder = PackNetEncoder(channels, blocks, features_3d=features_3d, dropout=dropout)
    decoder = PackNetDecoder(
        channels, version=version, features_3d=features_3d, min_depth=spec.min_depth
    )
    return PackNet(spec, encoder, decoder)


def check_packnet_options(
    *,
    version: str,
    channels: Sequence[int],
    blocks: Sequence[int],
    features_3d: int,
    dropout: float,
    pretrained: bool,
) -> None:
    """Refuse what no PackNet can be built of.

    Raises:
        ConfigError: An option is out of range.
    """
    if version not in VERSIONS:
        raise ConfigError(unknown_name('PackNet version', version, VERSIONS))
    if len(channels) != _LEVELS or any(width < 1 or width % GROUPS for width in channels):
        message = f'channels {list(channels)}: give {_LEVELS} positive multiples of {GROUPS}.'
        raise ConfigError(message)
    if len(blocks) != _LEVELS - 1 or min(blocks) < 1:
        message = f'blocks {list(blocks)}: give {_LEVELS - 1} positive numbers.'
        raise ConfigError(message)
    if features_3d < 0 or any(
        width * FACTOR**2 % (GROUPS * max(features_3d, 1)) for width in channels
    ):
        message = (
            f'features_3d {features_3d} does not go with channels {list(channels)}: four times '
            f'each must be a multiple of {GROUPS} features_3d; 1, 2 and 4 always fit, and 0 '
            'leaves the 3-D convolutions out.'
        )
        raise ConfigError(message)
    if not 0.0 <= dropout < 1.0:
        message = f'dropout {dropout} is not in [0, 1).'
        raise ConfigError(message)
    if pretrained:
        message = (
            'PackNet has no encoder that ImageNet weights fit; build it with pretrained=False '
            'and bring published weights in with depth_core.convert.'
        )
        raise ConfigError(message)
