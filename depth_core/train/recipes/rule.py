# SPDX-License-Identifier: Apache-2.0
"""How held-out samples are scored: protocol, alignment, mirrored pass, and what a network sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as tv

from depth_core.data.sample import Sample
from depth_core.data.transforms import Crop, Resize
from depth_core.metrics import Align, Protocol
from depth_core.models.blocks import resize_bilinear

FlipAverage: TypeAlias = Literal['none', 'mean', 'blended', 'blended_inverse']
"""As in evaluation; see `depth_core.runtime.flip`."""

_ALONE: Final = 0.05
"""Fraction of the width, at each side, where only one pass counts when blended."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a network of depth is scored on held-out samples."""

    protocol: Protocol | None = None
    """Which pixels count, at the size of the data; None = all that the network can state, at the
    size the network sees."""
    align: Align | None = None
    """How depth is brought to metres first; None = as its kind needs."""
    flip_average: FlipAverage = 'none'
    """Whether a pass on the mirrored image is averaged in."""
    size: tuple[int, int] | None = None
    """(height, width) the network sees; None = that of the sample or its window."""

    @property
    def name(self) -> str:
        """Name of the protocol, `none` without one."""
        return 'none' if self.protocol is None else self.protocol.name

    def windowed(self, batch: Sample) -> Sample:
        """Cut the window of the protocol out of a batch; neighbours are dropped."""
        if self.protocol is None or self.protocol.window is None:
            return batch
        height, width = self.protocol.window
        top, left = self.protocol.window_origin(batch.depth_m.shape[-2], batch.depth_m.shape[-1])
        intrinsics = batch.intrinsics.clone()
        intrinsics[:, 0, 2] -= left
        intrinsics[:, 1, 2] -= top
        rows, columns = slice(top, top + height), slice(left, left + width)
        return Sample(
            image=batch.image[..., rows, columns],
            depth_m=batch.depth_m[..., rows, columns],
            valid=batch.valid[..., rows, columns],
            intrinsics=intrinsics,
            key=batch.key,
            semantic=None if batch.semantic is None else batch.semantic[..., rows, columns],
        )

    def seen(self, images: Tensor) -> Tensor:
        """What the network sees of [B, 3, H, W]: averaged over the area of the new pixels."""
        if self.size is None or tuple(images.shape[-2:]) == self.size:
            return images
        smaller: Tensor = tv.resize(images, list(self.size), antialias=True)
        return smaller.clamp(0.0, 1.0)

    def camera_seen(self, batch: Sample) -> Sample:
        """A batch with the cameras of what the network sees of it."""
        if self.size is None:
            return batch
        rows, columns = batch.depth_m.shape[-2:]
        scale_y, scale_x = self.size[0] / rows, self.size[1] / columns
        intrinsics = batch.intrinsics.clone()
        intrinsics[:, 0] *= scale_x
        intrinsics[:, 1] *= scale_y
        intrinsics[:, 0, 2] += 0.5 * scale_x - 0.5
        intrinsics[:, 1, 2] += 0.5 * scale_y - 0.5
        return Sample(
            image=batch.image, depth_m=batch.depth_m, valid=batch.valid, intrinsics=intrinsics,
            key=batch.key,
        )  # fmt: skip

    def shown(self, sample: Sample) -> Sample:
        """One sample as a picture of it shows it: its window, at the size the network sees."""
        generator = Generator()  # neither draws
        if self.protocol is not None and self.protocol.window is not None:
            height, width = self.protocol.window
            top, left = self.protocol.window_origin(*sample.depth_m.shape)
            sample = Crop(top=top, left=left, height=height, width=width)(sample, generator)
        if self.size is None or tuple(sample.depth_m.shape) == self.size:
            return sample
        return Resize(height=self.size[0], width=self.size[1])(sample, generator)

    def answer(
        self, predict: Callable[[Tensor], tuple[Tensor, Tensor]], batch: Sample
    ) -> tuple[Tensor, Tensor]:
        """Depth and sigma at the size of `batch`, after the mirrored pass where one is asked for.

        Args:
            predict: Gives depth and sigma, [B, h, w] each, of images.
            batch: Already cut to the window.
        """
        images = self.seen(batch.image)
        size = (batch.depth_m.shape[-2], batch.depth_m.shape[-1])
        plain = [_enlarged(x, size) for x in predict(images)]
        if self.flip_average == 'none':
            return plain[0], plain[1]
        mirrored = [_enlarged(x, size).flip(-1) for x in predict(images.flip(-1))]
        return self._averaged(plain, mirrored)

    def _averaged(self, plain: list[Tensor], mirrored: list[Tensor]) -> tuple[Tensor, Tensor]:
        weight = _plain_weight(plain[0].shape[-1], self.flip_average).to(plain[0].device)
        if self.flip_average != 'blended_inverse':
            depth, sigma = (
                weight * own + (1.0 - weight) * other
                for own, other in zip(plain, mirrored, strict=True)
            )
            return depth, sigma
        depth = 1.0 / (weight / plain[0] + (1.0 - weight) / mirrored[0])
        spread = weight * plain[1] / plain[0] ** 2
        spread = spread + (1.0 - weight) * mirrored[1] / mirrored[0] ** 2
        return depth, spread * depth**2


USUAL_RULE: Final = Rule()
"""Every pixel whose depth the network can state, at the size it sees."""


def _plain_weight(width: int, how: FlipAverage) -> Tensor:
    """[W] weight of the plain pass: 0 at the left border, 1 at the right when blended."""
    if how == 'mean':
        return torch.full((width,), 0.5)
    place = torch.linspace(0.0, 1.0, width)
    left = 1.0 - ((place - _ALONE) / _ALONE).clamp(0.0, 1.0)
    return 0.5 * (1.0 - left) + 0.5 * left.flip(0)


def _enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring [B, h, w] to `size`, as evaluation does."""
    x = x.float()
    if x.shape[-2:] == size:
        return x
    return resize_bilinear(x.unsqueeze(1), size, 'half_pixel').squeeze(1)
