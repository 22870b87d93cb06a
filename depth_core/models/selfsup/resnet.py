# SPDX-License-Identifier: Apache-2.0
"""The ResNet depth network of monodepth2, as packnet-sfm scales it.

Paper: C. Godard, O. Mac Aodha, M. Firman, G. Brostow, Digging Into Self-Supervised Monocular Depth
Estimation, ICCV 2019, arXiv 1806.01260. Original code: https://github.com/nianticlabs/monodepth2,
non-commercial; https://github.com/TRI-ML/packnet-sfm (MIT) has the same network. This file shares
no code with either; it was written from facts about the network (sizes, wiring, key names) and
checked against numbers the originals produce.

Changed: depth is clipped to a range, beside a standard deviation from a head of our own that
leaves the depth path untouched; the ImageNet classifier that the originals keep as dead weight is
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, ModelError, unknown_name
from depth_core.models.base import ModelSpec
from depth_core.models.selfsup.inverse_depth import InverseDepthModel, inverse_depth_spec
from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d
from depth_core.precision import at_least_float32

Encoder: TypeAlias = Literal['resnet18', 'resnet34', 'resnet50']
ENCODERS: Final[tuple[Encoder, ...]] = get_args(Encoder)

LEVEL_STRIDES: Final = (16, 8, 4, 2, 1)
"""Strides of the decoder's levels after they have climbed, in the order they run."""

DECODER_CHANNELS: Final = (256, 128, 64, 32, 16)
"""Widths of the decoder's levels, in the order they run."""

_MEAN: Final = 0.45
_STD: Final = 0.225
_SCALES: Final = 4
SMALLEST_SIDE: Final = 64
"""Pixels: an image is mirrored at its border, and one row of features has nothing to mirror."""


# Blocks


class ResNetEncoder(nn.Module):
    """A torchvision ResNet without its classifier, for one image or several stacked ones.

    Gives five maps at strides 2, 4, 8, 16 and 32: after the stem's ReLU, and after each stage.

    Args:
        name: resnet18, resnet34 or resnet50.
        images: How many images are stacked along the channels.
        pretrained: Start from torchvision's first ImageNet weights, which the authors used; they
            are downloaded. Those of the stem are repeated for each image and divided by their
            number, so that equal images answer as one.

    Raises:
        ConfigError: The name is unknown.
        ModelError: The weights cannot be downloaded.
    """

    def __init__(self, name: str, *, images: int = 1, pretrained: bool = False) -> None:
        super().__init__()
        if name not in ENCODERS:
            raise ConfigError(unknown_name('ResNet encoder', name, ENCODERS))
        try:
            network = torchvision.models.get_model(
                name, weights='IMAGENET1K_V1' if pretrained else None
            )
        except OSError as error:
            message = (
                f'pretrained weights of {name} cannot be downloaded ({error}); connect to the '
                'network or build with pretrained=False.'
            )
            raise ModelError(message) from error
        stem: nn.Conv2d = network.conv1
        self.conv1 = stem if images == 1 else _stacked(stem, images, repeat=pretrained)
        self.bn1: nn.BatchNorm2d = network.bn1
        self.stages = nn.ModuleList(
            (network.layer1, network.layer2, network.layer3, network.layer4)
        )
        last = 2048 if name == 'resnet50' else 512
        self.channels = (64, *(last // 2**power for power in (3, 2, 1, 0)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the five maps of RGB in [0, 1], finest first."""
        x = (images - _MEAN) / _STD
        maps = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(maps[0], 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _stacked(stem: nn.Conv2d, images: int, *, repeat: bool) -> nn.Conv2d:
    wide = nn.Conv2d(3 * images, stem.out_channels, 7, stride=2, padding=3, bias=False)
    with torch.no_grad():
        if repeat:
            wide.weight.copy_(stem.weight.repeat(1, images, 1, 1) / images)
        else:
            nn.init.kaiming_normal_(wide.weight, mode='fan_out', nonlinearity='relu')
    return wide


class ReflectedConv(nn.Module):
    """A 3x3 convolution over an image mirrored at its border; pixel-adaptive when `guided`."""

    def __init__(self, in_channels: int, out_channels: int, *, guided: bool = False) -> None:
        super().__init__()
        layer = PixelAdaptiveConv2d if guided else nn.Conv2d
        self.conv: nn.Module = layer(in_channels, out_channels, 3)

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Keep the size; `guide` [B, G, H, W] goes to a guided layer, and to no other."""
        x = _reflect(x)
        convolved: Tensor = self.conv(x) if guide is None else self.conv(x, _reflect(guide))
        return convolved


def _reflect(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode='reflect')


class DecoderLevel(nn.Module):
    """A layer, nearest enlargement, the skip, a second layer, perhaps a new depth."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        has_depth: bool,
        guided: bool,
    ) -> None:
        super().__init__()
        self.narrow = ReflectedConv(in_channels, out_channels)
        self.merge = ReflectedConv(out_channels + skip_channels, out_channels, guided=guided)
        self.head = ReflectedConv(out_channels, 1) if has_depth else None

    def forward(
        self, x: Tensor, skip: Tensor | None, guide: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Climb one level; return the features and sigmoid disparity in (0, 1)."""
        x = F.interpolate(F.elu(self.narrow(x)), scale_factor=2, mode='nearest')
        x = x if skip is None else torch.cat((x, skip), dim=1)
        x = F.elu(self.merge(x, guide))
        return x, None if self.head is None else torch.sigmoid(at_least_float32(self.head(x)))


class ResNetDecoder(nn.Module):
    """Five levels; the four finest each read a disparity in (0, 1)."""

    def __init__(
        self,
        encoder_channels: Sequence[int],
        *,
        channels: Sequence[int] = DECODER_CHANNELS,
        guided_strides: Sequence[int] = (),
    ) -> None:
        super().__init__()
        ins = (encoder_channels[-1], *channels)
        skips = (*encoder_channels[-2::-1], 0)
        self.levels = nn.ModuleList(
            DecoderLevel(
                ins[level],
                skips[level],
                width,
                has_depth=level >= len(channels) - _SCALES,
                guided=LEVEL_STRIDES[level] in guided_strides,
            )
            for level, width in enumerate(channels)
        )
        self.out_channels = channels[-1]

    def forward(
        self, maps: Sequence[Tensor], guides: Sequence[Tensor | None] | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return disparity in (0, 1), finest first, and the features at stride 1.

        Args:
            maps: What the encoder gives.
            guides: For each of LEVEL_STRIDES what its layer is guided by, None where it is not.
        """
        guides = (None,) * len(self.levels) if guides is None else guides
        *skips, x = maps
        disparities: list[Tensor] = []
        for level, skip, guide in zip(self.levels, (*skips[::-1], None), guides, strict=True):
            x, disparity = level(x, skip, guide)
            if disparity is not None:
                disparities.insert(0, disparity)
        return tuple(disparities), x


# Models


class SelfSupResNet(InverseDepthModel):
    """The published network and a sigma head.

    Inverse depth is 1 / max_depth + (1 / min_depth - 1 / max_depth) disparity, so that the range
    of the depth is that of the network itself.
    """

    def __init__(self, spec: ModelSpec, encoder: ResNetEncoder, decoder: ResNetDecoder) -> None:
        super().__init__(spec, feature_channels=decoder.out_channels)
        self.encoder = encoder
        self.decoder = decoder

    def inverse_depths(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first, and the features at stride 1."""
        disparities, features = self.disparities(images)
        return self._scaled(disparities), features

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' network on RGB in [0, 1], not normalised.

        Returns:
            `disp0` to `disp3`: [B, 1, H / 2^i, W / 2^i] disparity in (0, 1), as monodepth2 names
            it; `inv_depth0` to `inv_depth3`: inverse depth.
        """
        disparities, _ = self.disparities(x)
        outputs = {f'disp{scale}': value for scale, value in enumerate(disparities)}
        for scale, value in enumerate(self._scaled(disparities)):
            outputs[f'inv_depth{scale}'] = value
        return outputs

    def disparities(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return disparity in (0, 1), finest first, and the features at stride 1."""
        answer: tuple[tuple[Tensor, ...], Tensor] = self.decoder(self.encoder(images))
        return answer

    def _scaled(self, disparities: Sequence[Tensor]) -> tuple[Tensor, ...]:
        low, high = 1.0 / self.spec.max_depth, 1.0 / self.spec.min_depth
        return tuple(low + (high - low) * disparity for disparity in disparities)


# Variants


def selfsup_resnet18(
    *,
    max_depth: float = 100.0,
    min_depth: float = 0.1,
    metric: bool = False,
    encoder: Encoder = 'resnet18',
    pretrained: bool = False,
) -> SelfSupResNet:
    """Build the ResNet-18 depth network.

    Args:
        max_depth: Largest depth the network can state, in metres or its own unit.
        min_depth: Smallest depth it can state.
        metric: The weights answer metres: they were trained with speeds or with depth. Published
            weights trained on stereo pairs are not: their depth times 5.4 is metres.
        encoder: resnet18, resnet34 or resnet50.
        pretrained: Start the encoder from ImageNet weights, which are downloaded.

    Raises:
        ConfigError: An option is out of range.
        ModelError: The weights cannot be downloaded.
    """
    return _selfsup_resnet(
        inverse_depth_spec(
            'selfsup_resnet18',
            min_depth=min_depth,
            max_depth=max_depth,
            metric=metric,
            min_side=SMALLEST_SIDE,
        ),
        encoder,
        pretrained=pretrained,
    )


def selfsup_resnet50(
    *,
    max_depth: float = 100.0,
    min_depth: float = 0.1,
    metric: bool = False,
    encoder: Encoder = 'resnet50',
    pretrained: bool = False,
) -> SelfSupResNet:
    """Build the ResNet-50 depth network; the options are those of `selfsup_resnet18`."""
    return _selfsup_resnet(
        inverse_depth_spec(
            'selfsup_resnet50',
            min_depth=min_depth,
            max_depth=max_depth,
            metric=metric,
            min_side=SMALLEST_SIDE,
        ),
        encoder,
        pretrained=pretrained,
    )


def _selfsup_resnet(spec: ModelSpec, encoder: str, *, pretrained: bool) -> SelfSupResNet:
    network = ResNetEncoder(encoder, pretrained=pretrained)
    return SelfSupResNet(spec, network, ResNetDecoder(network.channels))
