# SPDX-License-Identifier: Apache-2.0
"""Neural window fully-connected CRFs: a decoder that refines depth features by attention.

Paper: W. Yuan, X. Gu, Z. Dai, S. Zhu, P. Tan, Neural Window Fully-connected CRFs for Monocular
Depth Estimation, arXiv 2203.01502, 2022. Original code: https://github.com/aliyun/NeWCRFs, MIT.

A pyramid pooling module gives the first, coarse features. Each of four stages then takes the
encoder's map of its size and the features so far; in windows, affinities of the encoder's tokens
(query and key) mix the features (the values, which are not projected), and a pixel shuffle hands
the result to the next finer stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ModelError
from depth_core.models.blocks import resize_bilinear
from depth_core.models.urcdc.swin import (
    Mlp,
    RelativePositionBias,
    from_windows,
    pad_to_windows,
    shift_mask,
    to_windows,
)
from depth_core.precision import at_least_float32

POOL_SIZES: Final = (1, 2, 3, 6)
"""Sides of the grids the coarsest map is averaged to."""


class PooledBranch(nn.Module):
    """Average to a grid, narrow, normalise, and resize back.

    The original means group norm for the 1x1 grid only, on which batch norm would fail, and by a
    variable it overwrites uses it in all branches; the published weights know nothing else.
    """

    def __init__(self, in_channels: int, channels: int, *, side: int, groups: int) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, channels, H, W]."""
        pooled = F.relu(self.norm(self.conv(_average_to(x, self.side))))
        return resize_bilinear(pooled, (x.shape[-2], x.shape[-1]), 'half_pixel')


def _average_to(x: Tensor, side: int) -> Tensor:
    """Adaptive average pooling to side x side, in products of matrices.

    Cell i of n averages rows floor(i H / n) to ceil((i + 1) H / n), as torch does. ONNX has no
    such operator, and no pooling with cells of unequal size.
    """
    if side == 1:
        return x.mean(dim=(-2, -1), keepdim=True)
    rows = _cells(x.shape[-2], side).to(x)
    columns = _cells(x.shape[-1], side).to(x)
    return rows @ x @ columns.transpose(0, 1)


def _cells(length: int, count: int) -> Tensor:
    """Shares [count, length] of each position in each cell's average."""
    position, cell = torch.arange(length), torch.arange(count).unsqueeze(1)
    begun = cell * length < (position + 1) * count  # floor(cell * length / count) <= position
    over = (cell + 1) * length <= position * count
    inside = (begun & ~over).float()
    return inside / inside.sum(dim=1, keepdim=True)


class PyramidPooling(nn.Module):
    """The coarsest map beside its averages over grids of 1, 2, 3 and 6 cells a side."""

    def __init__(self, in_channels: int, channels: int, *, groups: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            PooledBranch(in_channels, channels, side=side, groups=groups) for side in POOL_SIZES
        )
        joined = in_channels + len(POOL_SIZES) * channels
        self.conv = nn.Conv2d(joined, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, channels, H, W]."""
        joined = torch.cat((x, *(branch(x) for branch in self.branches)), dim=1)
        return F.relu(self.norm(self.conv(joined)))


class CrfAttention(RelativePositionBias):
    """Affinities of the tokens of a window, applied to values that come from elsewhere."""

    def __init__(self, channels: int, *, heads: int, window: int) -> None:
        super().__init__(window, heads)
        self.heads = heads
        self.qk = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Answer [B, windows, tokens, C] of two of the same shape."""
        batch, count, tokens, _ = windows.shape
        qk = self.qk(windows).reshape(batch, count, tokens, 2, self.heads, -1)
        query, key = qk.permute(3, 0, 1, 4, 2, 5).unbind(0)
        value = values.reshape(batch, count, tokens, self.heads, -1).transpose(2, 3)
        mixed: Tensor = self.proj(self.attend(query, key, value, mask))
        return mixed


class CrfBlock(nn.Module):
    """One update of the features by the affinities, and an MLP."""

    def __init__(self, channels: int, *, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = CrfAttention(channels, heads=heads, window=window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """Update x [B, H, W, C] by values of the same shape."""
        height, width = x.shape[1:3]
        tokens = pad_to_windows(self.norm1(x), self.window)
        values = pad_to_windows(values, self.window)
        size = (tokens.shape[1], tokens.shape[2])
        mask = None
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), dims=(1, 2))
            values = values.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(size, self.window, self.shift, tokens)
        mixed = self.attn(to_windows(tokens, self.window), to_windows(values, self.window), mask)
        mixed = from_windows(mixed, self.window, size)
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), dims=(1, 2))
        x = x + mixed[:, :height, :width]
        updated: Tensor = x + self.mlp(self.norm2(x))
        return updated


class CrfStage(nn.Module):
    """Bring map and features to one width, then two blocks: plain and shifted windows."""

    def __init__(
        self,
        in_channels: int,
        value_channels: int,
        channels: int,
        *,
        heads: int,
        window: int,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.proj_x = _projection(in_channels, channels, kernel_size)
        self.proj_v = _projection(value_channels, channels, kernel_size)
        self.blocks = nn.ModuleList(
            CrfBlock(channels, heads=heads, window=window, shift=shift)
            for shift in (0, window // 2)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """Map [B, in, H, W] and [B, values, H, W] to [B, channels, H, W].

        Raises:
            ModelError: The two differ in size: an encoder does not halve it from map to map.
        """
        if x.shape[-2:] != values.shape[-2:]:
            message = (
                f'the encoder gives a map of {x.shape[-2]}x{x.shape[-1]} where '
                f'{values.shape[-2]}x{values.shape[-1]} is due; choose an encoder whose maps '
                'halve in size for every input that is a multiple of 32.'
            )
            raise ModelError(message)
        tokens = self.proj_x(x).permute(0, 2, 3, 1)
        values = self.proj_v(values).permute(0, 2, 3, 1)
        for block in self.blocks:
            tokens = block(tokens, values)
        refined: Tensor = self.norm(tokens).permute(0, 3, 1, 2)
        return refined


def _projection(in_channels: int, channels: int, kernel_size: int) -> nn.Module:
    if in_channels == channels:
        return nn.Identity()
    return nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2)


class CrfDecoder(nn.Module):
    """Pyramid pooling and a CRF stage for each map of the encoder, coarsest first."""

    def __init__(
        self,
        encoder_channels: Sequence[int],
        channels: Sequence[int],
        *,
        heads: Sequence[int],
        window: int,
        pooled_channels: int,
        pooled_groups: int,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.out_channels = channels[0]
        self.pooling = PyramidPooling(encoder_channels[-1], pooled_channels, groups=pooled_groups)
        values = [*(width // 4 for width in channels[1:]), pooled_channels]
        self.stages = nn.ModuleList(
            CrfStage(
                encoder_channels[level],
                values[level],
                channels[level],
                heads=heads[level],
                window=window,
                kernel_size=kernel_size,
            )
            for level in range(len(channels))
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the features at the size of the finest map."""
        values: Tensor = self.pooling(maps[-1])
        for level in range(len(maps) - 1, -1, -1):
            values = self.stages[level](maps[level], values)
            if level:
                values = F.pixel_shuffle(values, 2)
        return values


class QuarterHead(nn.Module):
    """A 3x3 convolution to one map, its sigmoid, and that enlarged four times."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, 1, 4 H, 4 W] in (0, 1), float32."""
        share = torch.sigmoid(at_least_float32(self.conv(features)))
        return resize_bilinear(share, (4 * share.shape[-2], 4 * share.shape[-1]), 'half_pixel')
