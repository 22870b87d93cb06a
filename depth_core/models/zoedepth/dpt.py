# SPDX-License-Identifier: Apache-2.0
"""DPT, the network of MiDaS 3: a transformer's maps, fused from coarse to fine, to inverse depth.

Papers: R. Ranftl, A. Bochkovskiy, V. Koltun, Vision Transformers for Dense Prediction, arXiv
2103.13413, 2021; R. Birkl, D. Wofk, M. Mueller, MiDaS v3.1, arXiv 2307.14460, 2023. Original code:
https://github.com/isl-org/MiDaS, MIT; this file shares no code with it. ZoeDepth stands on this
network: it takes the relative depth and the features on the way to it.

Left out: the first residual unit of the coarsest fusion block, which the original has and never
runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.blocks import resize_bilinear
from depth_core.models.zoedepth.dpt_encoders import Swin2Pyramid, TokenPyramid

HEAD_CHANNELS: Final = 32
"""Channels of the last features, at the size of the image."""
STRIDE: Final = 32
"""Both sides of the image are multiples of this."""


@dataclass(frozen=True, kw_only=True)
class DptFeatures:
    """What the network has found, from coarse to fine."""

    relative: Tensor
    """[B, H, W] inverse depth up to scale and shift, not negative."""
    last: Tensor
    """[B, 32, H, W] features the relative depth is made from."""
    bottleneck: Tensor
    """[B, C, H/32, W/32] coarsest map, before any fusion."""
    fused: tuple[Tensor, ...]
    """[B, C, h, w] after each fusion block, at strides 16, 8, 4, 2."""


class ResidualUnit(nn.Module):
    """x + conv(ReLU(conv(ReLU(x)))), 3x3, no norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        refined: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + refined


class FusionBlock(nn.Module):
    """Add the features of the encoder at this size, refine, enlarge to the next size."""

    def __init__(self, channels: int, *, has_skip: bool) -> None:
        super().__init__()
        self.skip_unit = ResidualUnit(channels) if has_skip else None
        self.unit = ResidualUnit(channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Climb one level; `skip` is None at the coarsest, where `x` is the encoder's own."""
        if self.skip_unit is not None and skip is not None:
            x = x + self.skip_unit(skip)
        x = resize_bilinear(self.unit(x), size, 'align_corners')
        fused: Tensor = self.out(x)
        return fused


class RelativeHead(nn.Module):
    """From the finest fused map to relative inverse depth at the size of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.features = nn.Conv2d(channels // 2, HEAD_CHANNELS, 3, padding=1)
        self.out = nn.Conv2d(HEAD_CHANNELS, 1, 1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the relative depth [B, 1, H, W] and the features it is made from."""
        x = resize_bilinear(self.narrow(x), size, 'align_corners')
        features = F.relu(self.features(x))
        return F.relu(self.out(features)), features


class DptCore(nn.Module):
    """Encoder, fusion and head of MiDaS 3; RGB in [0, 1] in, features and relative depth out."""

    def __init__(self, pyramid: TokenPyramid | Swin2Pyramid, *, features: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.narrow = nn.ModuleList(
            nn.Conv2d(channels, features, 3, padding=1, bias=False)
            for channels in pyramid.channels
        )
        coarsest = len(pyramid.channels) - 1
        self.fusions = nn.ModuleList(
            FusionBlock(features, has_skip=level < coarsest) for level in range(coarsest + 1)
        )
        self.head = RelativeHead(features)

    def forward(self, images: Tensor) -> DptFeatures:
        """Run on [B, 3, H, W] RGB in [0, 1], both sides multiples of 32."""
        maps = self.pyramid((images - 0.5) / 0.5)
        skips = [conv(x) for conv, x in zip(self.narrow, maps, strict=True)]
        x = skips[-1]
        fused = []
        for level in reversed(range(len(skips))):
            size = _size(skips[level - 1]) if level else _doubled(skips[0])
            x = self.fusions[level](x, skips[level], size)
            fused.append(x)
        relative, last = self.head(x, _size(images))
        return DptFeatures(
            relative=relative.squeeze(1), last=last, bottleneck=skips[-1], fused=tuple(fused)
        )


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _doubled(x: Tensor) -> tuple[int, int]:
    return 2 * x.shape[-2], 2 * x.shape[-1]
