# SPDX-License-Identifier: Apache-2.0
"""Which domain an image is of: a small transformer that reads the coarsest features.

From ZoeDepth (arXiv 2302.12288), whose network of two heads is routed so. The token that gathers
the answer is all zeros, not learnt, as in the published network.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.zoedepth.dpt_encoders import with_heads_joined

_BASE: Final = 10000.0
_DROPOUT: Final = 0.1


def position_code(count: int, channels: int, *, device: torch.device | None = None) -> Tensor:
    """Sines then cosines of the position at falling frequencies, [count, channels] float32.

    Channel i of either half has frequency 10000 ** (-2 i / channels).
    """
    position = torch.arange(count, device=device)
    step = torch.arange(0, channels, 2, device=device)
    angle = position[:, None] * torch.exp(step * (-math.log(_BASE) / channels))
    return torch.cat((angle.sin(), angle.cos()), dim=1)


class RouterLayer(nn.Module):
    """A transformer layer with its norms after the sums."""

    def __init__(self, channels: int, *, heads: int, hidden_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.hidden = nn.Linear(channels, hidden_channels)
        self.out = nn.Linear(hidden_channels, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, tokens: Tensor) -> Tensor:
        """Keep the shape [B, S, C]."""
        tokens = self.norm1(tokens + self.dropout(self._attend(tokens)))
        inner = self.dropout(F.relu(self.hidden(tokens)))
        normed: Tensor = self.norm2(tokens + self.dropout(self.out(inner)))
        return normed

    def _attend(self, tokens: Tensor) -> Tensor:
        batch, count, _ = tokens.shape
        q, k, v = (
            self.qkv(tokens).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        ).unbind(0)
        dropout = _DROPOUT if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        projected: Tensor = self.project(with_heads_joined(mixed))
        return projected


class PatchTransformer(nn.Module):
    """Tokens of a map and one more, through transformer layers."""

    def __init__(
        self, in_channels: int, channels: int, *, layers: int, heads: int, hidden_channels: int
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(in_channels, channels, 1)
        self.layers = nn.ModuleList(
            RouterLayer(channels, heads=heads, hidden_channels=hidden_channels)
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Turn [B, C, h, w] into [B, 1 + h w, channels], the gathering token first."""
        tokens = F.pad(self.embed(x).flatten(2).transpose(1, 2), (0, 0, 1, 0))
        _, count, channels = tokens.shape
        tokens = tokens + position_code(count, channels, device=tokens.device).to(tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class DomainRouter(nn.Module):
    """Logits of the domains of each image."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        n_domains: int,
        *,
        layers: int,
        heads: int,
        hidden_channels: int,
    ) -> None:
        super().__init__()
        self.transformer = PatchTransformer(
            in_channels, channels, layers=layers, heads=heads, hidden_channels=hidden_channels
        )
        self.hidden = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, n_domains)

    def forward(self, x: Tensor) -> Tensor:
        """Turn coarsest features [B, C, h, w] into logits [B, n_domains]."""
        logits: Tensor = self.out(F.relu(self.hidden(self.transformer(x)[:, 0])))
        return logits


def domain_of_each(logits: Tensor) -> Tensor:
    """Most likely domain of each image, [B] int64."""
    return logits.argmax(dim=-1)


def domain_of_batch(logits: Tensor) -> Tensor:
    """The published vote: the domain with the largest sum of logits, for every image, [B] int64.

    What an image is answered then depends on the images beside it.
    """
    return logits.sum(dim=0).argmax().expand(logits.shape[0])
