# SPDX-License-Identifier: Apache-2.0
"""Swin Transformer as a pyramid of feature maps for images of any size.

Paper: Z. Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows,
arXiv 2103.14030, 2021. Original code: https://github.com/microsoft/Swin-Transformer, MIT.

timm's Swin is not used: where a map is no multiple of the window it shifts first and pads then,
and the networks trained for dense prediction pad first, so that other tokens meet in a window and
published weights would answer otherwise. Here, as there, a map is padded with zeros at its right
and lower end, after the norm and before the shift. A layer norm of its own ends each of the four
maps. Names of weights are those of the original where that costs no clarity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

_MASKED: Final = -100.0
_INITIAL_SPREAD: Final = 0.02
_MLP_RATIO: Final = 4


# Windows


def pad_to_windows(x: Tensor, window: int) -> Tensor:
    """Pad [B, H, W, C] with zeros, right and below, to multiples of `window`."""
    height, width = x.shape[1:3]
    return F.pad(x, (0, 0, 0, -width % window, 0, -height % window))


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut [B, H, W, C] into [B, windows, tokens, C], row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    x = x.permute(0, 1, 3, 2, 4, 5)  # B, rows of windows, columns of windows, row, column, C
    return x.reshape(batch, -1, window * window, channels)


def from_windows(windows: Tensor, window: int, size: tuple[int, int]) -> Tensor:
    """Put [B, windows, tokens, C] together again as [B, *size, C]."""
    height, width = size
    batch, _, _, channels = windows.shape
    x = windows.reshape(batch, height // window, width // window, window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)


def shift_mask(size: tuple[int, int], window: int, shift: int, like: Tensor) -> Tensor:
    """What to add to the attention of shifted windows, [windows, tokens, tokens].

    After the map was rolled by `shift`, a window at the lower or right end holds tokens from
    opposite ends of it; -100 keeps those apart that were no neighbours.
    """

    def part(length: int) -> Tensor:
        position = torch.arange(length, device=like.device)
        return (position >= length - window).long() + (position >= length - shift).long()

    height, width = size
    parts = 3 * part(height).reshape(-1, 1) + part(width)
    of_token = to_windows(parts.reshape(1, height, width, 1), window).reshape(-1, window * window)
    apart = of_token.unsqueeze(1) != of_token.unsqueeze(2)
    return apart.to(like.dtype) * _MASKED


class RelativePositionBias(nn.Module):
    """A learned number for each head and each offset between two tokens of a window."""

    relative_position_index: Tensor

    def __init__(self, window: int, heads: int) -> None:
        super().__init__()
        self.window = window
        offsets = (2 * window - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=_INITIAL_SPREAD)
        row, column = np.divmod(np.arange(window * window), window)
        down = row[:, None] - row[None, :] + window - 1
        right = column[:, None] - column[None, :] + window - 1
        # Made outside of torch, so that it holds numbers even where weights have no memory yet.
        index = torch.from_numpy(down * (2 * window - 1) + right)
        self.register_buffer('relative_position_index', index, persistent=False)

    def position_bias(self) -> Tensor:
        """Return the bias of the attention, [heads, tokens, tokens]."""
        tokens = self.window * self.window
        bias = self.relative_position_bias_table[self.relative_position_index.reshape(-1)]
        return bias.reshape(tokens, tokens, -1).permute(2, 0, 1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Weigh the values of each window: three times [B, windows, heads, tokens, C / heads].

        Args:
            query: Of each token.
            key: What each token offers.
            value: What it gives.
            mask: [windows, tokens, tokens] to add, or None.

        Returns:
            [B, windows, tokens, C].
        """
        scale = float(query.shape[-1]) ** -0.5
        attention = (query * scale) @ key.transpose(-2, -1) + self.position_bias()
        if mask is not None:
            attention = attention + mask.unsqueeze(1)
        given: Tensor = attention.softmax(dim=-1).to(value.dtype) @ value
        return given.transpose(2, 3).flatten(3)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, _MLP_RATIO * channels)
        self.fc2 = nn.Linear(_MLP_RATIO * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map each token by itself."""
        mapped: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return mapped


# Swin


class WindowSelfAttention(RelativePositionBias):
    """Multi-head attention of the tokens of each window to each other."""

    def __init__(self, channels: int, *, heads: int, window: int) -> None:
        super().__init__(window, heads)
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Answer [B, windows, tokens, C] of the same."""
        batch, count, tokens, _ = windows.shape
        qkv = self.qkv(windows).reshape(batch, count, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        mixed: Tensor = self.proj(self.attend(query, key, value, mask))
        return mixed


class SwinBlock(nn.Module):
    """Attention in windows, shifted or not, and an MLP, each added to its input."""

    def __init__(
        self, channels: int, *, heads: int, window: int, shift: int, drop_path: float
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowSelfAttention(channels, heads=heads, window=window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to the same."""
        height, width = x.shape[1:3]
        padded = pad_to_windows(self.norm1(x), self.window)
        size = (padded.shape[1], padded.shape[2])
        mask = None
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(size, self.window, self.shift, padded)
        mixed = self.attn(to_windows(padded, self.window), mask)
        mixed = from_windows(mixed, self.window, size)
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), dims=(1, 2))
        x = x + self.drop_path(mixed[:, :height, :width])
        mapped: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return mapped


class PatchMerging(nn.Module):
    """Halve the size: four neighbours become one token of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), 2 C]."""
        x = pad_to_windows(x, 2)
        columns = (x[:, :, 0::2], x[:, :, 1::2])
        four = [side[:, row::2] for side in columns for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(four, dim=-1)))
        return merged


class SwinStage(nn.Module):
    """Blocks at one resolution and, but for the last stage, what leads to the next."""

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        window: int,
        drop_paths: Sequence[float],
        downsample: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                SwinBlock(
                    channels,
                    heads=heads,
                    window=window,
                    shift=window // 2 if index % 2 else 0,
                    drop_path=drop_path,
                )
                for index, drop_path in enumerate(drop_paths)
            )
        )
        self.downsample = PatchMerging(channels) if downsample else None


class PatchEmbedding(nn.Module):
    """Cut the image into patches, one token each."""

    def __init__(self, channels: int, *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, channels, patch, stride=patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, ceil(H / patch), ceil(W / patch), C]."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.patch, 0, -height % self.patch))
        tokens: Tensor = self.norm(self.proj(images).permute(0, 2, 3, 1))
        return tokens


class SwinEncoder(nn.Module):
    """Swin: normalised images in, four maps at strides 4, 8, 16 and 32 out."""

    def __init__(
        self,
        *,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        stages = len(depths)
        self.channels = tuple(embed_dim * 2**stage for stage in range(stages))
        rates = torch.linspace(0.0, drop_path, sum(depths), device='cpu').tolist()
        self.patch_embed = PatchEmbedding(embed_dim, patch=4)
        self.layers = nn.ModuleList(
            SwinStage(
                self.channels[stage],
                heads=heads[stage],
                window=window,
                drop_paths=rates[sum(depths[:stage]) : sum(depths[: stage + 1])],
                downsample=stage < stages - 1,
            )
            for stage in range(stages)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps [B, C, H', W'], finest first."""
        x = self.patch_embed(images)
        maps = []
        for stage, norm in zip(self.layers, self.norms, strict=True):
            x = stage.get_submodule('blocks')(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.get_submodule('downsample')(x)
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=_INITIAL_SPREAD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def swin_from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of timm's Swin as ours; the classifier and its norm are left out.

    timm counts the merging of patches to the stage it leads to, the original to the one before.
    """

    def before(found: re.Match[str]) -> str:
        return f'layers.{int(found[1]) - 1}.downsample.'

    return {
        re.sub(r'^layers\.(\d)\.downsample\.', before, key): value
        for key, value in state.items()
        if not key.startswith(('head.', 'norm.'))
    }
