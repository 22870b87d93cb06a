# SPDX-License-Identifier: Apache-2.0
"""Blur and noise, each by itself; what cameras do wrong all together is `CameraFaults`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as tv

from depth_core.data.sample import Sample
from depth_core.data.transforms.base import check_probability, happens, map_colours
from depth_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Blur images by a Gaussian whose deviation is drawn from [smallest, largest], pixels."""

    probability: float = 0.5
    smallest_px: float = 0.1
    largest_px: float = 2.0

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0.0 < self.smallest_px <= self.largest_px <= 50.0:  # noqa: PLR2004  a whole image
            message = (
                f'deviations from {self.smallest_px} to {self.largest_px} px are no range; give '
                '0 < smallest_px <= largest_px <= 50.'
            )
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with blurred images, depth as it was; draws twice in any case."""
        blurs = happens(self.probability, generator)
        share = float(torch.rand((), generator=generator, dtype=torch.float64))
        if not blurs:
            return sample
        deviation = self.smallest_px + share * (self.largest_px - self.smallest_px)
        shortest = min(sample.depth_m.shape)
        reach = min(max(1, round(3.0 * deviation)), (shortest - 1) // 2)  # borders are reflected
        if reach == 0:
            return sample
        side = 2 * reach + 1

        def blur(images: Tensor) -> Tensor:
            blurred: Tensor = tv.gaussian_blur(images, [side, side], [deviation, deviation])
            return blurred.clamp(0.0, 1.0)

        return map_colours(sample, blur)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add normal noise whose deviation is drawn from [0, largest], in units of full scale."""

    probability: float = 0.5
    largest: float = 0.05

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0.0 <= self.largest <= 1.0:
            message = f'largest={self.largest} is outside [0, 1]; 1 is full scale.'
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with noise of its own in each image; depth stays."""
        noisy = happens(self.probability, generator)
        deviation = self.largest * float(torch.rand((), generator=generator, dtype=torch.float64))
        if not noisy:
            return sample

        def spoil(images: Tensor) -> Tensor:
            grain = torch.randn(images.shape, generator=generator)
            return (images + deviation * grain.to(images.device)).clamp(0.0, 1.0)

        return map_colours(sample, spoil)
