# SPDX-License-Identifier: Apache-2.0
"""Encoders of the DPT network: images in, four maps at strides 4, 8, 16 and 32 out.

BEiT and plain ViT are vision transformers of one resolution, whose tokens four learnt layers
bring to four resolutions; Swin V2 has four resolutions of its own. The layers are timm's, so that
timm's weights fit; what MiDaS does otherwise (windows of any shape, raw block outputs, the class
token mixed into the patches) is written here. Paper: R. Ranftl et al., Vision Transformers for
Dense Prediction, arXiv 2103.13413; R. Birkl et al., MiDaS v3.1, arXiv 2307.14460.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, ModelError, unknown_name

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
    projected: Tensor = layer.proj(mixed.transpose(1, 2).reshape(batch, count, -1))
    return projected


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
    return torch.cat((token.expand(len(tokens), -1, -1), tokens), dim=1)


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


class Swin2Pyramid(nn.Module):
    """timm's Swin V2, tapped within each stage; it takes images of one square size."""

    def __init__(self, network: Any, hooks: Sequence[int]) -> None:  # noqa: ANN401  timm is untyped
        super().__init__()
        self.trunk = nn.Module()
        self.trunk.patch_embed = network.patch_embed
        self.trunk.layers = network.layers
        # Blocks after the last tap would be dead weight.
        network.layers[-1].blocks = network.layers[-1].blocks[: hooks[-1] + 1]
        self.hooks = tuple(hooks)
        self.channels = tuple(layer.blocks[0].dim for layer in network.layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four maps, finest first."""
        x = self.trunk.patch_embed(images)
        maps = []
        for layer, hook in zip(self.trunk.layers, self.hooks, strict=True):
            x = layer.downsample(x)
            for number, block in enumerate(layer.blocks):
                x = block(x)
                if number == hook:
                    maps.append(x.permute(0, 3, 1, 2))
        return maps


# Presets and builder


@dataclass(frozen=True, kw_only=True)
class EncoderPreset:
    """An encoder of MiDaS: which timm network, and where DPT taps it."""

    kind: str
    """beit, vit or swin2."""
    timm_name: str
    options: Mapping[str, Any]
    """What of timm's options is the network's own size; `encoder_options` may change these."""
    hooks: tuple[int, ...]
    neck_channels: tuple[int, ...] = ()
    """Channels of the four maps; of Swin V2 they are given by the network."""


def _transformer(
    kind: str, timm_name: str, hooks: tuple[int, ...], neck: tuple[int, ...], **options: object
) -> EncoderPreset:
    return EncoderPreset(
        kind=kind,
        timm_name=timm_name,
        options={'patch_size': 16, **options},
        hooks=hooks,
        neck_channels=neck,
    )


def _swin2(timm_name: str, hooks: tuple[int, ...], **options: object) -> EncoderPreset:
    return EncoderPreset(kind='swin2', timm_name=timm_name, options=options, hooks=hooks)


_LARGE: Final = {'embed_dim': 1024, 'depth': 24, 'num_heads': 16}
_LARGE_NECK: Final = (256, 512, 1024, 1024)
_BASE: Final = {'embed_dim': 768, 'depth': 12, 'num_heads': 12}

PRESETS: Final[Mapping[str, EncoderPreset]] = {
    'beit_large_384': _transformer(
        'beit', 'beit_large_patch16_384', (5, 11, 17, 23), _LARGE_NECK, img_size=384, **_LARGE
    ),
    'beit_large_512': _transformer(
        'beit', 'beit_large_patch16_512', (5, 11, 17, 23), _LARGE_NECK, img_size=512, **_LARGE
    ),
    'beit_base_384': _transformer(
        'beit', 'beit_base_patch16_384', (2, 5, 8, 11), (96, 192, 384, 768), img_size=384, **_BASE
    ),
    'vit_large_384': _transformer(
        'vit', 'vit_large_patch16_384', (5, 11, 17, 23), _LARGE_NECK, img_size=384, **_LARGE
    ),
    'swin2_large_384': _swin2(
        'swinv2_large_window12to24_192to384', (1, 1, 17, 1), img_size=384, embed_dim=192,
        depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=24,
    ),
    'swin2_base_384': _swin2(
        'swinv2_base_window12to24_192to384', (1, 1, 17, 1), img_size=384, embed_dim=128,
        depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=24,
    ),
    'swin2_tiny_256': _swin2(
        'swinv2_tiny_window16_256', (1, 1, 5, 1), img_size=256, embed_dim=96,
        depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=16,
    ),
}  # fmt: skip
"""The encoders of MiDaS this package builds, at their published sizes."""

_DEFAULT_OF_KIND: Final = {
    'beit': 'beit_large_384',
    'vit': 'vit_large_384',
    'swin2': 'swin2_large_384',
}
ENCODERS: Final = (*_DEFAULT_OF_KIND, *PRESETS)


def preset(name: str) -> EncoderPreset:
    """Look an encoder up by its name, or by its kind: the large one.

    Raises:
        ModelError: There is no such encoder.
    """
    if name not in ENCODERS:
        raise ModelError(unknown_name('DPT encoder', name, ENCODERS))
    return PRESETS[_DEFAULT_OF_KIND.get(name, name)]


def build_pyramid(
    name: str,
    *,
    options: Mapping[str, Any] | None,
    hooks: Sequence[int] | None,
    channels: Sequence[int] | None,
    pretrained: bool,
) -> TokenPyramid | Swin2Pyramid:
    """Build an encoder and what brings its maps to strides 4, 8, 16 and 32.

    Args:
        name: One of `ENCODERS`.
        options: Sizes that differ from the published ones, by timm's names.
        hooks: Blocks tapped, counted from 0; of Swin V2 within each stage. None: as published.
        channels: Channels of the four maps. None: as published.
        pretrained: Start from timm's classification weights, which are downloaded.

    Raises:
        ConfigError: An option is unknown or contradicts another.
        ModelError: There is no such encoder, or its weights cannot be downloaded.
    """
    entry = preset(name)
    sizes = dict(entry.options)
    for key, value in (options or {}).items():
        if key not in sizes:
            raise ConfigError(unknown_name(f'option of encoder {name!r}', key, sizes))
        sizes[key] = tuple(value) if isinstance(value, list) else value
    taps = tuple(entry.hooks if hooks is None else hooks)
    depths = sizes.get('depths', (sizes.get('depth', 0),) * LEVELS)
    if len(taps) != LEVELS or not all(
        0 <= hook < depth for hook, depth in zip(taps, depths, strict=True)
    ):
        message = (
            f'hooks {list(taps)} do not fit encoder {name!r}: give {LEVELS} block numbers, '
            f'counted from 0 and below {list(depths)}.'
        )
        raise ConfigError(message)
    network = _timm_network(entry.timm_name, pretrained=pretrained, **sizes)
    if entry.kind == 'swin2':
        if channels is not None:
            message = f'neck_channels is for transformers; encoder {name!r} has its own channels.'
            raise ConfigError(message)
        return Swin2Pyramid(network, taps)
    if list(taps) != sorted(set(taps)):
        message = f'hooks {list(taps)} of encoder {name!r} must rise: the finest map comes first.'
        raise ConfigError(message)
    neck = tuple(entry.neck_channels if channels is None else channels)
    if len(neck) != LEVELS or min(neck) < 1:
        message = f'neck_channels {list(neck)}: give {LEVELS} positive numbers.'
        raise ConfigError(message)
    trunk = {'beit': BeitTrunk, 'vit': VitTrunk}[entry.kind](network, taps)
    return TokenPyramid(
        trunk, width=sizes['embed_dim'], patch_size=sizes['patch_size'], channels=neck
    )


def _timm_network(name: str, *, pretrained: bool, **sizes: Any) -> Any:  # noqa: ANN401  untyped
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **sizes)
    except OSError as error:
        message = (
            f'pretrained weights of {name} cannot be downloaded ({error}); connect to the '
            'network or build with pretrained=False.'
        )
        raise ModelError(message) from error
