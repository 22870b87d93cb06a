# SPDX-License-Identifier: Apache-2.0
"""From the pyramid of a semantic network to what guides the levels of a depth decoder.

The paper (see semantic_packnet.py) says: each level passes one 3x3 and one 1x1 convolution, each
followed by group norm and ELU. What it does not say is chosen here:

- which level guides which: the level of the same stride. The decoder's levels at strides 16, 8 and
  4 are guided by P4, P3 and P2; those at strides 2 and 1 have none of their own and are guided by
  an adapter of P2, resized bilinearly. P5, at stride 32, has no counterpart and acts through P4.
- 32 channels in the adapters, and 16 groups in their norms, as everywhere in PackNet.
- the last norm of an adapter starts at 1 / sqrt(channels) instead of 1. Two unrelated pixels then
  differ by about 1 in squared distance, however many channels there are, where a kernel with
  sigma = 1 is neither all nor nothing; from 1, neighbours would differ so much that the layers
  began as 1x1 convolutions whose sigma hardly gets a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from depth_core.errors import ConfigError
from depth_core.models.blocks import resize_bilinear
from depth_core.models.selfsup.packnet_blocks import GROUPS, ConvNormElu
from depth_core.models.selfsup.semantic import PYRAMID_STRIDES


class GuideAdapter(nn.Sequential):
    """A 3x3 and a 1x1 layer from one level of the pyramid to a guide."""

    def __init__(self, in_channels: int, channels: int) -> None:
        last = ConvNormElu(channels, channels, 1)
        super().__init__(ConvNormElu(in_channels, channels, 3), last)
        nn.init.constant_(last.norm.weight, 1.0 / math.sqrt(channels))


class SemanticGuidance(nn.Module):
    """An adapter for each guided level of a decoder.

    Args:
        pyramid_channels: Width of the pyramid.
        channels: Width of the guides, a multiple of 16.
        level_strides: Strides of the decoder's levels, in the order they run.
        guided_strides: Those of them that are guided.

    Raises:
        ConfigError: A width is not positive, that of the guides no multiple of 16, or a stride
            is none of the decoder's.
    """

    def __init__(
        self,
        pyramid_channels: int,
        *,
        channels: int,
        level_strides: Sequence[int],
        guided_strides: Sequence[int],
    ) -> None:
        super().__init__()
        if pyramid_channels < 1:
            message = f'semantic_channels is {pyramid_channels}; give a width of at least 1.'
            raise ConfigError(message)
        if channels < 1 or channels % GROUPS:
            message = f'guide_channels {channels} is not a positive multiple of {GROUPS}.'
            raise ConfigError(message)
        if not guided_strides or not set(guided_strides) <= set(level_strides):
            message = (
                f'guided_strides {list(guided_strides)}: give some of {list(level_strides)}, the '
                'strides of the decoder.'
            )
            raise ConfigError(message)
        self.level_strides = tuple(level_strides)
        self.adapters = nn.ModuleDict(
            {
                str(stride): GuideAdapter(pyramid_channels, channels)
                for stride in level_strides
                if stride in guided_strides
            }
        )

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor | None]:
        """Return for each level of the decoder its guide, None where it has none.

        Args:
            pyramid: P2 to P5, at strides 4, 8, 16 and 32.
        """
        return [self._guide(pyramid, stride) for stride in self.level_strides]

    def _guide(self, pyramid: Sequence[Tensor], stride: int) -> Tensor | None:
        if str(stride) not in self.adapters:
            return None
        source = max(stride, PYRAMID_STRIDES[0])
        guide: Tensor = self.adapters[str(stride)](pyramid[PYRAMID_STRIDES.index(source)])
        if source == stride:
            return guide
        times = source // stride
        size = (guide.shape[-2] * times, guide.shape[-1] * times)
        return resize_bilinear(guide, size, 'half_pixel')
