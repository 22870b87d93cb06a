# SPDX-License-Identifier: Apache-2.0
"""The CNN branch of URCDC-Depth: a DenseNet that the Transformer looks into, and its decoder.

Coupling units after Z. Peng et al., Conformer, arXiv 2105.03889, 2021; the decoder after D. Kim
et al., Global-Local Path Networks, arXiv 2201.07436, 2022. Both as the authors of URCDC-Depth
combined them; see `depth_core.models.urcdc.network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from torchvision.models import DenseNet

from depth_core.models.blocks import resize_bilinear
from depth_core.precision import at_least_float32

TAPS: Final = ('pool0', 'transition1', 'transition2', 'norm5')
"""Layers of a DenseNet whose output is coupled, at strides 4, 8, 16 and 32."""


class CouplingUnit(nn.Module):
    """Add the Transformer's map of the same size to a map of the CNN.

    The Transformer's map is detached: the CNN learns from it and cannot disturb it. In training
    mode the unit is left out with a small probability, drawn from torch's default generator, which
    the training loop seeds anew for each step.
    """

    def __init__(self, channels: int, transformer_channels: int, *, bypass: float) -> None:
        super().__init__()
        self.bypass = bypass
        wide = transformer_channels
        self.norm_transformer = nn.BatchNorm2d(wide)
        self.conv1 = nn.Conv2d(channels, wide, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.conv3 = nn.Conv2d(wide, channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, transformer: Tensor) -> Tensor:
        """Map [B, C, H, W] and the Transformer's [B, T, H, W] to [B, C, H, W]."""
        if self.training and self.bypass and float(torch.rand(())) < self.bypass:
            return x
        return F.relu(self.norm3(self.conv3(self.joined(x, transformer))) + x)

    def joined(self, x: Tensor, transformer: Tensor) -> Tensor:
        """Both maps at the width of the Transformer, [B, T, H, W]."""
        known = F.relu(self.norm_transformer(transformer.detach()))
        own = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(own + known)))


class CoupledDenseNet(nn.Module):
    """torchvision's DenseNet without classifier; a coupled map goes on in place of the tap."""

    def __init__(
        self,
        *,
        growth_rate: int,
        blocks: Sequence[int],
        init_features: int,
        transformer_channels: Sequence[int],
        bypass: float,
    ) -> None:
        super().__init__()
        network = DenseNet(growth_rate, tuple(blocks), init_features, num_classes=1)
        self.features: nn.Sequential = network.features
        self.channels = _tap_channels(self.features)
        self.units = nn.ModuleList(
            CouplingUnit(own, theirs, bypass=bypass)
            for own, theirs in zip(self.channels, transformer_channels, strict=True)
        )

    def forward(self, images: Tensor, transformer_maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the four coupled maps, finest first; the last has no ReLU before its unit."""
        maps: list[Tensor] = []
        x = images
        for name, layer in self.features.named_children():
            x = layer(x)
            if name in TAPS:
                level = len(maps)
                x = self.units[level](x, transformer_maps[level])
                maps.append(x)
        return maps


def _tap_channels(features: nn.Sequential) -> tuple[int, ...]:
    weights = features.state_dict()
    names = ('norm0', 'transition1.conv', 'transition2.conv', 'norm5')
    return tuple(weights[f'{name}.weight'].shape[0] for name in names)


class SelectiveFusion(nn.Module):
    """Two maps of the same shape, each weighed by an attention map computed from both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels // 2)
        self.conv3 = nn.Conv2d(channels // 2, 2, 3, padding=1)

    def forward(self, local: Tensor, wide: Tensor) -> Tensor:
        """Fuse the skip `local` with `wide`, which came from coarser maps."""
        x = F.relu(self.norm1(self.conv1(torch.cat((local, wide), dim=1))))
        x = F.relu(self.norm2(self.conv2(x)))
        attention = torch.sigmoid(self.conv3(x))
        return local * attention[:, :1] + wide * attention[:, 1:]


class FusionDecoder(nn.Module):
    """From four maps to features at the size of the image, by selective fusion.

    The finest map enters as it is, so that its width is the decoder's.
    """

    def __init__(self, encoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.channels, *middle, coarsest = encoder_channels
        self.narrow = nn.Conv2d(coarsest, self.channels, 1)
        self.skips = nn.ModuleList(nn.Conv2d(width, self.channels, 1) for width in middle)
        self.fusions = nn.ModuleList(SelectiveFusion(self.channels) for _ in encoder_channels[1:])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map four maps, finest first, to [B, C, H, W] at four times the finest's size."""
        finest, *middle, coarsest = maps
        skips = [finest, *(skip(x) for skip, x in zip(self.skips, middle, strict=True))]
        x = _doubled(self.narrow(coarsest))
        for fusion, skip in zip(reversed(self.fusions), reversed(skips), strict=True):
            x = _doubled(fusion(skip, x))
        return _doubled(x)


def _doubled(x: Tensor) -> Tensor:
    return resize_bilinear(x, (2 * x.shape[-2], 2 * x.shape[-1]), 'half_pixel')


class FullHead(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, and a sigmoid, at full resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, 1, H, W] in (0, 1), float32."""
        return torch.sigmoid(at_least_float32(self.out(F.relu(self.hidden(features)))))
