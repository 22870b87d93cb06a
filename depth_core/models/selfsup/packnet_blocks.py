# SPDX-License-Identifier: Apache-2.0
"""Layers of PackNet: convolutions with group norm, packing and unpacking, inverse depth.

Paper: V. Guizilini, R. Ambrus, S. Pillai, A. Raventos, A. Gaidon, 3D Packing for Self-Supervised
Monocular Depth Estimation, CVPR 2020, arXiv 1905.02693. Original code:
https://github.com/TRI-ML/packnet-sfm, MIT; this file was written from facts about the layers and
checked against numbers the original produces.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d
from depth_core.precision import at_least_float32

GROUPS: Final = 16
"""Groups of every group norm of the family, so that widths are multiples of it."""

FACTOR: Final = 2
"""How much packing halves and unpacking doubles the sides."""


class ConvNormElu(nn.Module):
    """Zero-padded convolution with bias, group norm over 16 groups, ELU.

    With `guided`, the convolution is a pixel-adaptive one, whose kernels are weighed by a guide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        guided: bool = False,
    ) -> None:
        super().__init__()
        layer = PixelAdaptiveConv2d if guided else nn.Conv2d
        self.conv: nn.Module = layer(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2
        )
        self.norm = nn.GroupNorm(GROUPS, out_channels)

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Convolve; `guide` [B, G, H, W] goes to a guided layer, and to no other."""
        x = self.conv(x) if guide is None else self.conv(x, guide)
        return F.elu(self.norm(x))


class ResidualConv(nn.Module):
    """Two 3x3 layers and a 1x1 shortcut, which is there whatever the widths, then norm and ELU."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = ConvNormElu(in_channels, out_channels, 3)
        self.conv2 = ConvNormElu(out_channels, out_channels, 3)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.norm = nn.GroupNorm(GROUPS, out_channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size."""
        shortcut = self.dropout(self.shortcut(x))
        return F.elu(self.norm(self.conv2(self.conv1(x)) + shortcut))


class ResidualBlock(nn.Sequential):
    """Residual convolutions in a row; the first sets the width."""

    def __init__(
        self, in_channels: int, out_channels: int, *, count: int, dropout: float = 0.0
    ) -> None:
        super().__init__(
            *(
                ResidualConv(out_channels if index else in_channels, out_channels, dropout=dropout)
                for index in range(count)
            )
        )


class PackLayer(nn.Module):
    """Halve the sides without losing anything: fold 2x2 pixels into channels, then choose.

    Space to depth [B, C, H, W] -> [B, 4C, H/2, W/2], a 3x3x3 convolution over channel, row and
    column that makes `features_3d` maps of each channel, and a 2-D layer back to C channels.
    `features_3d=0` leaves the 3-D convolution out: the authors' ablation.
    """

    def __init__(self, channels: int, kernel_size: int, *, features_3d: int = 8) -> None:
        super().__init__()
        self.conv3d = _Conv3d(features_3d)
        folded = channels * FACTOR**2
        self.conv = ConvNormElu(self.conv3d.multiplied(folded), channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H/2, W/2]."""
        packed: Tensor = self.conv(self.conv3d(F.pixel_unshuffle(x, FACTOR)))
        return packed


class UnpackLayer(nn.Module):
    """Double the sides: a 2-D layer, a 3-D convolution, and channels unfolded into 2x2 pixels."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, features_3d: int = 8
    ) -> None:
        super().__init__()
        self.conv3d = _Conv3d(features_3d)
        folded = out_channels * FACTOR**2
        self.conv = ConvNormElu(in_channels, self.conv3d.divided(folded), kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, 2H, 2W]."""
        return F.pixel_shuffle(self.conv3d(self.conv(x)), FACTOR)


class _Conv3d(nn.Module):
    """A 3-D convolution over channel, row and column, `features` maps of each channel."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        if features:
            self.conv = nn.Conv3d(1, features, 3, padding=1)

    def multiplied(self, channels: int) -> int:
        """Channels that come out when `channels` go in."""
        return channels * max(self.features, 1)

    def divided(self, channels: int) -> int:
        """Channels that must go in for `channels` to come out."""
        return channels // max(self.features, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.features:
            return x
        maps: Tensor = self.conv(x.unsqueeze(1))  # [B, features, C, H, W]
        return maps.flatten(1, 2)


class InverseDepthHead(nn.Module):
    """A 3x3 convolution to inverse depth in (0, 1 / min_depth)."""

    def __init__(self, in_channels: int, *, min_depth: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 3, padding=1)
        self.min_depth = min_depth

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 1, H, W] inverse depth, float32 also under autocast."""
        return torch.sigmoid(at_least_float32(self.conv(x))) / self.min_depth
