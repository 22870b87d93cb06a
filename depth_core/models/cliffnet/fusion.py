# SPDX-License-Identifier: Apache-2.0
"""How the decoder of CLIFFNet joins a level with the one above it; see `network` for the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from depth_core.models.blocks import resize_bilinear

Fusion: TypeAlias = Literal['cliff', 'sum']
"""cliff: the module of the paper; sum: what it is compared with there."""


class CliffModule(nn.Module):
    """Cross-level identity feature fusion: gate the low level, fuse it, add the high level.

    With h the high level resized to the low one: c = conv [low, low * h], out = conv [h, c] + h.
    """

    def __init__(self, channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = self._fuse(channels, norm=norm)
        self.conv2 = self._fuse(channels, norm=norm)

    @staticmethod
    def _fuse(channels: int, *, norm: bool) -> nn.Sequential:
        layers: list[nn.Module] = [
            nn.Conv2d(2 * channels, channels, 3, padding=1, bias=not norm),
            *([nn.BatchNorm2d(channels)] if norm else []),
            nn.ReLU(inplace=True),
        ]
        convolution = layers[0]
        nn.init.kaiming_uniform_(convolution.get_parameter('weight'), a=1)
        if not norm:
            nn.init.zeros_(convolution.get_parameter('bias'))
        return nn.Sequential(*layers)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the fused map, at the size of `low`."""
        high = resize_to(high, low)
        gated = self.conv1(torch.cat((low, low * high), dim=1))
        fused: Tensor = self.conv2(torch.cat((high, gated), dim=1))
        return fused + high


class SumModule(nn.Module):
    """The sum of both levels, which learns nothing."""

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the sum, at the size of `low`."""
        return low + resize_to(high, low)


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Bring a map to the size of another."""
    return resize_bilinear(x, (like.shape[-2], like.shape[-1]), 'half_pixel')


FUSIONS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    'cliff': CliffModule,
    'sum': lambda _channels: SumModule(),
}
"""What joins two levels of so many channels."""
