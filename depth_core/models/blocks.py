# SPDX-License-Identifier: Apache-2.0
"""Layers that more than one family is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError
from depth_core.precision import at_least_float32

Sampling: TypeAlias = Literal['align_corners', 'half_pixel', 'tf1_legacy']
"""Where the samples of a bilinear resize lie; see `resize_bilinear`."""

STRIDES: Final = (2, 4, 8, 16, 32)
"""Strides a pyramid of feature maps may have; decoders climb from the last to the first."""

SAMPLINGS: Final[tuple[Sampling, ...]] = get_args(Sampling)

_MIN_RELATIVE_SIGMA: Final = 0.005
_MAX_RELATIVE_SIGMA: Final = 2.0
_NEUTRAL_RELATIVE_SIGMA: Final = 0.2


def resize_bilinear(x: Tensor, size: tuple[int, int], sampling: Sampling) -> Tensor:
    """Resize a map, with the sample positions of the framework a network was trained in.

    Output index i reads input position: `align_corners` i (in - 1) / (out - 1), which is torch's
    flag of that name and TensorFlow 1 with it set; `half_pixel` (i + 0.5) in / out - 0.5, which
    is torch's default and TensorFlow 2; `tf1_legacy` i in / out, TensorFlow 1 with no flag set.

    Args:
        x: [B, C, H, W].
        size: (height, width) wanted.
        sampling: Name of the convention.

    Returns:
        [B, C, height, width].
    """
    if sampling == 'tf1_legacy':
        for axis, length in zip((-2, -1), size, strict=True):
            x = _resize_axis_legacy(x, axis, length)
        return x
    return F.interpolate(x, size=size, mode='bilinear', align_corners=sampling == 'align_corners')


def _resize_axis_legacy(x: Tensor, axis: int, length: int) -> Tensor:
    position = torch.arange(length, device=x.device, dtype=x.dtype) * (x.shape[axis] / length)
    below = position.floor().long()
    above = (below + 1).clamp(max=x.shape[axis] - 1)
    share = (position - below).reshape(-1, 1) if axis == -2 else position - below  # noqa: PLR2004  rows
    first = x.index_select(axis, below)
    return first + (x.index_select(axis, above) - first) * share


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; padded to keep the size."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class LightUpsampleBlock(nn.Module):
    """Narrow to the output width, double the size, merge the skip by one 3x3 layer."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = ConvNormAct(in_channels, out_channels, kernel_size=1)
        self.merge = ConvNormAct(out_channels + skip_channels, out_channels, kernel_size=3)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Climb one level; `skip` is None where the encoder has no map of that size."""
        x = self.narrow(x)
        size = (2 * x.shape[-2], 2 * x.shape[-1])
        x = resize_bilinear(x, size, 'half_pixel')
        merged: Tensor = self.merge(x if skip is None else torch.cat((x, skip), dim=1))
        return merged


def check_decoder_channels(channels: Sequence[int]) -> None:
    """Refuse channels of which the light decoder cannot be built.

    Raises:
        ConfigError: They are not one positive number for each stride.
    """
    if len(channels) != len(STRIDES) or min(channels) < 1:
        message = (
            f'decoder_channels {list(channels)}: give {len(STRIDES)} positive numbers, for '
            f'strides {", ".join(str(stride) for stride in reversed(STRIDES))}.'
        )
        raise ConfigError(message)


class LightDecoder(nn.Module):
    """Five levels of light blocks down to stride 2, for a pyramid of any channels."""

    def __init__(self, encoder_channels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        skips = encoder_channels[-2::-1]
        padded = [*skips, *[0] * (len(STRIDES) - 1 - len(skips))]
        self.top = ConvNormAct(encoder_channels[-1], channels[0], kernel_size=1)
        self.blocks = nn.ModuleList(
            LightUpsampleBlock(channels[level], skip, channels[level + 1])
            for level, skip in enumerate(padded)
        )
        self.out = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the raw output and the features it is made from, both at half resolution."""
        skips = list(maps[-2::-1])
        x = self.top(maps[-1])
        for level, block in enumerate(self.blocks):
            x = block(x, skips[level] if level < len(skips) else None)
        return self.out(x), x


class SigmaHead(nn.Module):
    """Standard deviation of a depth, from features it only looks at.

    The head learns a relative error r in [0.005, 2], r = 0.005 * 400 ** sigmoid(raw), and answers
    sigma = r * depth: a network is wrong by a share of the distance, and a bounded logarithm keeps
    the Laplace likelihood finite whatever the depth path does. Features and depth are detached, so
    training sigma cannot move the depth path.
    """

    def __init__(self, in_channels: int, *, hidden_channels: int = 16) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(in_channels, hidden_channels, 3, padding=1)
        self.out = nn.Conv2d(hidden_channels, 1, 1)
        span = math.log(_MAX_RELATIVE_SIGMA / _MIN_RELATIVE_SIGMA)
        share = math.log(_NEUTRAL_RELATIVE_SIGMA / _MIN_RELATIVE_SIGMA) / span
        nn.init.constant_(self.out.get_parameter('bias'), math.log(share / (1.0 - share)))

    def forward(self, features: Tensor, depth: Tensor) -> Tensor:
        """Return sigma [B, 1, H, W] in the unit of `depth` [B, 1, H, W], positive."""
        raw = self.out(F.relu(self.hidden(features.detach())))
        span = math.log(_MAX_RELATIVE_SIGMA / _MIN_RELATIVE_SIGMA)
        relative = torch.exp(
            math.log(_MIN_RELATIVE_SIGMA) + span * torch.sigmoid(at_least_float32(raw))
        )
        return relative * depth.detach()

    @torch.no_grad()
    def make_neutral(self) -> SigmaHead:
        """Set weights that answer sigma = 0.2 depth everywhere until they are trained.

        The hidden layer is drawn from a fixed seed, so that the result is always the same and
        training can start from it; only the last layer is zero.
        """
        generator = torch.Generator().manual_seed(0)
        spread = 1.0 / math.sqrt(self.hidden.weight[0].numel())
        drawn = torch.randn(self.hidden.weight.shape, generator=generator) * spread
        self.hidden.weight.copy_(drawn)
        nn.init.zeros_(self.hidden.get_parameter('bias'))
        nn.init.zeros_(self.out.weight)
        return self
