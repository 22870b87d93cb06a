# SPDX-License-Identifier: Apache-2.0
"""Changes of colour, the same in all frames of a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as tv

from depth_core.data.sample import Sample
from depth_core.data.transforms.base import (
    Compose,
    check_probability,
    draw_int,
    draw_signed,
    happens,
    map_colours,
)
from depth_core.data.transforms.moving import HorizontalFlip
from depth_core.errors import ConfigError

_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class ColourJitter:
    """Change brightness, contrast, gamma and saturation, the same way in all frames.

    Each attribute is the largest change: a factor is drawn from [1 - a, 1 + a]; gamma is drawn
    from [1 / (1 + a), 1 + a], uniformly in its logarithm.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    gamma: float = 0.2
    saturation: float = 0.2
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.probability)
        _check_changes(self, ('brightness', 'contrast', 'gamma', 'saturation'))

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample in other colours; draws five times in any case."""
        changes = happens(self.probability, generator)
        brightness, contrast, gamma, saturation = draw_signed(4, generator)
        if not changes:
            return sample
        exponent = (1.0 + self.gamma) ** gamma
        grey_weights = torch.tensor(_GREY, device=sample.image.device)[:, None, None]
        # The mean of the frame itself, so that neighbours get the very same map of colours.
        mean = (sample.image * grey_weights).sum(-3).mean()

        def jitter(images: Tensor) -> Tensor:
            images = images * (1.0 + self.brightness * brightness)
            images = mean + (1.0 + self.contrast * contrast) * (images - mean)
            grey = (images * grey_weights).sum(-3, keepdim=True)
            images = grey + (1.0 + self.saturation * saturation) * (images - grey)
            return images.clamp(0.0, 1.0).pow(exponent)

        return map_colours(sample, jitter)


@dataclass(frozen=True, kw_only=True)
class HueJitter:
    """Change brightness, contrast, saturation and hue in a drawn order, as torchvision does.

    One draw of factors and of their order serves all frames of a sample. Brightness, contrast
    and saturation are multiplied by a factor from [1 - a, 1 + a], contrast about the mean grey of
    each frame; hue is shifted by a part of the colour circle from [-a, a]. The published loaders
    round to 8 bits between the steps, this does not.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05
    probability: float = 1.0
    keep_clean: bool = False
    """Keep the frames as they were in `clean_image` and `clean_neighbour_images`, for the losses
    that compare frames."""

    def __post_init__(self) -> None:
        check_probability(self.probability)
        _check_changes(self, ('brightness', 'contrast', 'saturation'))
        if not 0.0 <= self.hue <= 0.5:  # noqa: PLR2004  half of the circle reaches every hue
            message = f'hue={self.hue} is outside [0, 0.5]; give the largest turn, 1 = all round.'
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample in other colours; draws six times in any case."""
        changes = happens(self.probability, generator)
        brightness, contrast, saturation, hue = draw_signed(4, generator)
        order = torch.randperm(4, generator=generator).tolist()
        if not changes:
            return sample
        if self.keep_clean and sample.clean_image is None:
            sample = replace(
                sample,
                clean_image=sample.image,
                clean_neighbour_images=sample.neighbour_images,
            )
        steps: tuple[Callable[[Tensor], Tensor], ...] = (
            lambda images: tv.adjust_brightness(images, 1.0 + self.brightness * brightness),
            lambda images: tv.adjust_contrast(images, 1.0 + self.contrast * contrast),
            lambda images: tv.adjust_saturation(images, 1.0 + self.saturation * saturation),
            lambda images: turn_hue(images, self.hue * hue),
        )
        amounts = (self.brightness, self.contrast, self.saturation, self.hue)

        def jitter(images: Tensor) -> Tensor:
            for step in order:
                if amounts[step] > 0.0:
                    images = steps[step](images)
            return images

        return map_colours(sample, jitter)


@dataclass(frozen=True, kw_only=True)
class GammaBrightnessColour:
    """Change gamma, brightness and the gain of each channel (BTS and its descendants).

    clip(image ^ g * b * c) with g from [1 - gamma, 1 + gamma], b from [1 - brightness,
    1 + brightness] and c, one for each channel, from [1 - colour, 1 + colour].
    """

    gamma: float = 0.1
    brightness: float = 0.1
    colour: float = 0.1
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.probability)
        _check_changes(self, ('gamma', 'brightness', 'colour'))

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample in other colours; draws six times in any case."""
        changes = happens(self.probability, generator)
        gamma, brightness, *colour = draw_signed(5, generator)
        if not changes:
            return sample
        factors = 1.0 + self.colour * sample.image.new_tensor(colour)[:, None, None]
        gain = (1.0 + self.brightness * brightness) * factors
        exponent = 1.0 + self.gamma * gamma
        return map_colours(sample, lambda images: (images**exponent * gain).clamp_(0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class ChannelPermutation:
    """Permute red, green and blue as DenseDepth's published training does.

    One of seven orders is drawn, the identity counted twice among them, and with probability
    1 - `probability` the draw is ignored. At 0.5 colours change in 0.5 * 5 / 7 = 36 % of the
    samples.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.probability)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with its channels permuted; draws twice in any case."""
        order = CHANNEL_ORDERS[draw_int(len(CHANNEL_ORDERS), generator)]
        if not happens(self.probability, generator) or order == (0, 1, 2):
            return sample
        index = torch.tensor(order, device=sample.image.device)
        return map_colours(sample, lambda images: images.index_select(-3, index))


CHANNEL_ORDERS = ((0, 1, 2), *permutations((0, 1, 2)))
"""The seven entries that `ChannelPermutation` draws from; the identity is there twice."""


def densedepth_augmentation() -> Compose:
    """Return the augmentation DenseDepth was published with: channels, then mirroring."""
    return Compose((ChannelPermutation(probability=0.5), HorizontalFlip(probability=0.5)))


def turn_hue(images: Tensor, turn: float) -> Tensor:
    """Shift the hue of RGB images, keeping HSV saturation and value.

    Args:
        images: [..., 3, H, W] in [0, 1].
        turn: Part of the colour circle, 1 = all round.

    Returns:
        Images of the same shape. Grey stays grey.
    """
    red, green, blue = images.unbind(-3)
    value = images.amax(-3)
    chroma = value - images.amin(-3)
    divisor = chroma.clamp_min(1e-12)
    # Hue in sixths of the circle: 0 red, 2 green, 4 blue.
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0),
    )
    hue.add_(6.0 * turn)

    def channel(offset: float) -> Tensor:
        sector = (hue + offset).remainder_(6.0)
        share = torch.minimum(sector, 4.0 - sector).clamp_(0.0, 1.0)
        return value - chroma * share

    return torch.stack((channel(5.0), channel(3.0), channel(1.0)), dim=-3)


def _check_changes(transform: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(transform, name)
        if not 0.0 <= value <= 1.0:
            message = f'{name}={value} is outside [0, 1]; give the largest relative change.'
            raise ConfigError(message)
