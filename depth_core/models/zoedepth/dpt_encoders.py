# SPDX-License-Identifier: Apache-2.0
"""Encoders of the DPT network: images in, four maps at strides 4, 8, 16 and 32 out.

BEiT and plain ViT are vision transformers of one resolution, whose tokens four learnt layers
bring to four resolutions; Swin V2 has four resolutions of its own. The layers are timm's, so that
timm's weights fit; what MiDaS does otherwise (windows of any shape, raw block outputs, the class
token mixed into the patches) is written here. Paper: R. Ranftl et al., Vision Transformers for
Dense Prediction, arXiv 2103.13413; R. Birkl et al., MiDaS v3.1, arXiv 2307.14460.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

LEVELS: Final = 4
"""Maps an encoder gives, at strides 4, 8, 16 and 32."""


# Vision transformers


class BeitTrunk(nn.Module):
    """timm's BEiT without its classifier, tapped after some blocks, for windows of any shape.

    The tables of relative positions are of the square window the network was trained with. For
    another window their spatial part is resized to it; the three entries of the class token stay.
    """

    def __init__(self, network: Any, hooks: Sequence[int]) -> None:  # noqa: ANN401  timm is untyped
        super().__init__()
        self.cls_token = network.cls_token
        self.patch_embed = network.patch_embed
        self.blocks = network.blocks[: max(hooks) + 1]
        self.hooks = tuple(hooks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the tokens [B, 1 + N, C] after each tapped block, class token first."""
        patches = self.patch_embed.proj(images)
        grid = (patches.shape[-2], patches.shape[-1])
        tokens = _with_class_token(self.cls_token, patches)
        index = relative_position_index(*grid, device=images.device)
        taps = []
        for number, block in enumerate(self.blocks):
            bias = self._bias(block.attn, grid, index)
            tokens = _beit_block(block, tokens, bias)
            if number in self.hooks:
                taps.append(tokens)
        return taps

    def _bias(self, attention: Any, grid: tuple[int, int], index: Tensor) -> Tensor:  # noqa: ANN401
        table = resize_relative_positions(
            attention.relative_position_bias_table, attention.window_size, grid
        )
        return table[index.reshape(-1)].reshape(*index.shape, -1).permute(2, 0, 1).unsqueeze(0)


def relative_position_index(
    height: int, width: int, *, device: torch.device | None = None
) -> Tensor:
    """Which row of a table of relative positions holds for each pair of tokens.

    Args:
        height: Rows of patches.
        width: Columns of patches.
        device: Where to make it.

    Returns:
        [1 + N, 1 + N] int64 with N = height * width, the class token first. Spatial rows come row
        by row of the offset; then class to patch, patch to class, class to class.
    """
    row = torch.arange(height, device=device).repeat_interleave(width)
    column = torch.arange(width, device=device).repeat(height)
    down = row[:, None] - row[None, :] + height - 1
    right = column[:, None] - column[None, :] + width - 1
    spatial = down * (2 * width - 1) + right
    count = (2 * height - 1) * (2 * width - 1)
    to_patches = torch.full((1, height * width), count, device=device)
    from_patches = torch.full((height * width, 1), count + 1, device=device)
    corner = torch.full((1, 1), count + 2, device=device)
    top = torch.cat((corner, to_patches), dim=1)
    return torch.cat((top, torch.cat((from_patches, spatial), dim=1)), dim=0)


def resize_relative_positions(
    table: Tensor, window: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Bring a table of relative positions from one window to another, as MiDaS does.

    Args:
        table: [(2h - 1)(2w - 1) + 3, heads] of the window (h, w).
        window: (h, w) it was trained with, patches.
        grid: (h, w) wanted.

    Returns:
        The table of `grid`: the spatial part bilinear with half-pixel centres, the rest as it is.
    """
    if tuple(window) == grid:
        return table
    old, new = ((2 * h - 1, 2 * w - 1) for h, w in (window, grid))
    count = old[0] * old[1]
    spatial = table[:count].reshape(1, *old, -1).permute(0, 3, 1, 2)
    spatial = F.interpolate(spatial, size=new, mode='bilinear', align_corners=False)
    flat = spatial.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1)
    return torch.cat((flat, table[count:]), dim=0)


def _beit_block(block: Any, tokens: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401  timm is untyped
    attended = _beit_attention(block.attn, block.norm1(tokens), bias)
    tokens = tokens + block.drop_path1(block.gamma_1 * attended)
    result: Tensor = tokens + block.drop_path2(block.gamma_2 * block.mlp(block.norm2(tokens)))
    return result


def _beit_attention(layer: Any, tokens: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401
    qkv_bias = torch.cat((layer.q_bias, torch.zeros_like(layer.q_bias), layer.v_bias))
    qkv = F.linear(tokens, layer.qkv.weight, qkv_bias)
    batch, count, _ = tokens.shape
    q, k, v = qkv.reshape(batch, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    projected: Tensor = layer.proj(with_heads_joined(mixed))
    return projected


def with_heads_joined(mixed: Tensor) -> Tensor:
    """Turn [B, heads, N, D] into [B, N, heads * D], as new memory.

    Kernels of attention answer in different layouts, and an exporter that has seen one would
    record a view that the other cannot give.
    """
    joined = mixed.transpose(1, 2).clone(memory_format=torch.contiguous_format)
    return joined.flatten(2)


class VitTrunk(nn.Module):
    """timm's plain ViT without its classifier, its positions resized to any grid of patches."""

    def __init__(self, network: Any, hooks: Sequence[int]) -> None:  # noqa: ANN401  timm is untyped
        super().__init__()
        self.cls_token = network.cls_token
        self.pos_embed = network.pos_embed
        self.patch_embed = network.patch_embed
        self.blocks = network.blocks[: max(hooks) + 1]
        self.hooks = tuple(hooks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the tokens [B, 1 + N, C] after each tapped block, class token first."""
        patches = self.patch_embed.proj(images)
        grid = (patches.shape[-2], patches.shape[-1])
        tokens = _with_class_token(self.cls_token, patches) + self._positions(grid)
        taps = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in self.hooks:
                taps.append(tokens)
        return taps

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        window = tuple(self.patch_embed.grid_size)
        positions: Tensor = self.pos_embed
        if window == grid:
            return positions
        spatial = positions[:, 1:].reshape(1, *window, -1).permute(0, 3, 1, 2)
        spatial = F.interpolate(spatial, size=grid, mode='bilinear', align_corners=False)
        return torch.cat((positions[:, :1], spatial.flatten(2).transpose(1, 2)), dim=1)


def _with_class_token(token: Tensor, patches: Tensor) -> Tensor:
    tokens = patches.flatten(2).transpose(1, 2)
    return torch.cat((token.expand(tokens.shape[0], -1, -1), tokens), dim=1)


class TokenPyramid(nn.Module):
    """A vision transformer whose tokens become maps at four resolutions.

    Of each tap: every patch is joined with the class token and projected back, the tokens are
    laid out as a map, narrowed, and brought to their resolution.
    """

    def __init__(
        self,
        trunk: BeitTrunk | VitTrunk,
        *,
        width: int,
        patch_size: int,
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.patch_size = patch_size
        self.channels = tuple(channels)
        self.readouts = nn.ModuleList(nn.Linear(2 * width, width) for _ in channels)
        self.projections = nn.ModuleList(nn.Conv2d(width, wanted, 1) for wanted in channels)
        finest, fine, _, coarse = channels
        self.resizes = nn.ModuleList(
            [
                nn.ConvTranspose2d(finest, finest, 4, stride=4),
                nn.ConvTranspose2d(fine, fine, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(coarse, coarse, 3, stride=2, padding=1),
            ]
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four maps, finest first."""
        grid = [side // self.patch_size for side in images.shape[-2:]]
        maps = []
        for level, tokens in enumerate(self.trunk(images)):
            patches = tokens[:, 1:]
            joined = torch.cat((patches, tokens[:, :1].expand_as(patches)), dim=-1)
            mixed = F.gelu(self.readouts[level](joined))
            laid_out = mixed.transpose(1, 2).unflatten(2, grid)
            maps.append(self.resizes[level](self.projections[level](laid_out)))
        return maps


# Swin Transformer V2


class Swin2Trunk(nn.Module):
    """timm's Swin V2 without its classifier; it takes images of one square size."""

    def __init__(self, network: Any, hooks: Sequence[int]) -> None:  # noqa: ANN401  timm is untyped
        super().__init__()
        self.patch_embed = network.patch_embed
        self.layers = network.layers
        # Blocks after the last tap would be dead weight.
        self.layers[-1].blocks = self.layers[-1].blocks[: hooks[-1] + 1]
        self.hooks = tuple(hooks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the map [B, h, w, C] after the tapped block of each stage."""
        x = self.patch_embed(images)
        taps = []
        for layer, hook in zip(self.layers, self.hooks, strict=True):
            x = layer.downsample(x)
            for number, block in enumerate(layer.blocks):
                x = block(x)
                if number == hook:
                    taps.append(x)
        return taps


class Swin2Pyramid(nn.Module):
    """The four maps of a Swin V2, channels first."""

    def __init__(self, trunk: Swin2Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.channels = tuple(layer.blocks[0].dim for layer in trunk.layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four maps, finest first."""
        return [tap.permute(0, 3, 1, 2) for tap in self.trunk(images)]
