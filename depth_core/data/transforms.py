# SPDX-License-Identifier: Apache-2.0
"""Augmentation: image, depth, validity, intrinsics, labels, poses and neighbours move together.

A transform is a frozen dataclass, called with a sample and a `torch.Generator`; the same sample
and the same state of the generator give the same result. Those that draw nothing leave the
generator as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Protocol

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import ConfigError, DataError

_GREY = (0.299, 0.587, 0.114)


class Transform(Protocol):
    """Something that maps a sample to a sample."""

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the transformed sample; the one given stays as it is."""


@dataclass(frozen=True)
class Compose:
    """Apply transforms one after another."""

    transforms: tuple[Transform, ...]

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample after all transforms."""
        for transform in self.transforms:
            sample = transform(sample, generator)
        return sample


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize to `height` x `width`.

    Images are averaged over the area of the new pixel (bilinear with antialias). Depth, validity
    and labels take the nearest pixel: a depth between an object and its background belongs to
    nothing. Pixel centres are at integers, so the principal point moves by
    (c + 0.5) s - 0.5.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size('resize to', self.height, self.width)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the resized sample; draws nothing."""
        del generator
        old_height, old_width = sample.depth_m.shape
        size = [self.height, self.width]
        scale_y, scale_x = self.height / old_height, self.width / old_width
        intrinsics = sample.intrinsics.clone()
        intrinsics[0] *= scale_x
        intrinsics[1] *= scale_y
        intrinsics[0, 2] += 0.5 * scale_x - 0.5
        intrinsics[1, 2] += 0.5 * scale_y - 0.5

        def nearest(values: Tensor) -> Tensor:
            picked: Tensor = tv.resize(values[None], size, InterpolationMode.NEAREST_EXACT)
            return picked[0]

        def smooth(images: Tensor) -> Tensor:
            mean: Tensor = tv.resize(images, size, InterpolationMode.BILINEAR, antialias=True)
            return mean.clamp(0.0, 1.0)

        return replace(
            _map_images(sample, smooth, nearest),
            valid=nearest(sample.valid.to(torch.uint8)).to(torch.bool),
            intrinsics=intrinsics,
        )


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cut the window that starts at row `top` and column `left`."""

    top: int
    left: int
    height: int
    width: int

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the window; draws nothing."""
        del generator
        return _crop(sample, self.top, self.left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class CenterCrop:
    """Cut the window of `height` x `width` in the middle, rounded towards the top left."""

    height: int
    width: int

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the window; draws nothing."""
        del generator
        rows, columns = sample.depth_m.shape
        top, left = (rows - self.height) // 2, (columns - self.width) // 2
        return _crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """Cut a window of `height` x `width` at a place drawn uniformly."""

    height: int
    width: int

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return a window; draws its place."""
        rows, columns = sample.depth_m.shape
        _check_window((0, 0), (self.height, self.width), (rows, columns))
        top = _draw_int(rows - self.height + 1, generator)
        left = _draw_int(columns - self.width + 1, generator)
        return _crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip:
    """Mirror left and right with a probability.

    The result is what a camera sees in a world mirrored across the plane x = 0 of its own frame:
    column u becomes W - 1 - u, hence cx becomes W - 1 - cx. With S = diag(-1, 1, 1, 1) a pose T
    becomes S T S, for the neighbours too, so that relative poses and the images still agree:
    unprojecting, moving by the new relative pose and projecting stays right.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self.probability)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample or its mirror image; draws once."""
        if not _happens(self.probability, generator):
            return sample

        def mirror(values: Tensor) -> Tensor:
            return values.flip(-1)

        intrinsics = sample.intrinsics.clone()
        intrinsics[0, 2] = sample.depth_m.shape[-1] - 1.0 - intrinsics[0, 2]
        return replace(
            _map_images(sample, mirror, mirror),
            valid=mirror(sample.valid),
            intrinsics=intrinsics,
            pose=_mirror_pose(sample.pose),
            neighbour_poses=_mirror_pose(sample.neighbour_poses),
        )


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
        _check_probability(self.probability)
        for name in ('brightness', 'contrast', 'gamma', 'saturation'):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                message = f'{name}={value} is outside [0, 1]; give the largest relative change.'
                raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample in other colours; draws five times whatever happens."""
        happens = _happens(self.probability, generator)
        draws = torch.rand(4, generator=generator, dtype=torch.float64).mul_(2.0).sub_(1.0)
        if not happens:
            return sample
        brightness, contrast, gamma, saturation = draws.tolist()
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

        return _map_colours(sample, jitter)


@dataclass(frozen=True, kw_only=True)
class ChannelPermutation:
    """Permute red, green and blue as DenseDepth's published training does.

    One of seven orders is drawn, the identity counted twice among them, and with probability
    1 - `probability` the draw is ignored. At 0.5 colours change in 0.5 * 5 / 7 = 36 % of the
    samples.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self.probability)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with its channels permuted; draws twice whatever happens."""
        order = CHANNEL_ORDERS[_draw_int(len(CHANNEL_ORDERS), generator)]
        if not _happens(self.probability, generator) or order == (0, 1, 2):
            return sample
        index = torch.tensor(order, device=sample.image.device)
        return _map_colours(sample, lambda images: images.index_select(-3, index))


CHANNEL_ORDERS = ((0, 1, 2), *permutations((0, 1, 2)))
"""The seven entries that `ChannelPermutation` draws from; the identity is there twice."""


def densedepth_augmentation() -> Compose:
    """Return the augmentation DenseDepth was published with: channels, then mirroring."""
    return Compose((ChannelPermutation(probability=0.5), HorizontalFlip(probability=0.5)))


class Transformed:
    """A dataset seen through a transform; a sample stays a pure function of (seed, index).

    Args:
        dataset: Gives the samples.
        transform: Is applied to each.
        seed: Of the draws; another one for every epoch gives other draws.
    """

    def __init__(self, dataset: DepthDataset, transform: Transform, *, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """The transformed sample at `index`."""
        place = index % len(self) if -len(self) <= index < 0 else index
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + place)
        return self.transform(self.dataset[place], generator)


def _map_colours(sample: Sample, change: Callable[[Tensor], Tensor]) -> Sample:
    others = sample.neighbour_images
    return replace(
        sample,
        image=change(sample.image),
        neighbour_images=None if others is None else change(others),
    )


def _map_images(
    sample: Sample, change: Callable[[Tensor], Tensor], pick: Callable[[Tensor], Tensor]
) -> Sample:
    """Apply `change` to images and `pick` to depth and labels."""
    labels = sample.semantic
    return replace(
        _map_colours(sample, change),
        depth_m=pick(sample.depth_m),
        semantic=None if labels is None else pick(labels),
    )


def _crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    rows, columns = sample.depth_m.shape
    _check_window((top, left), (height, width), (rows, columns))

    def window(values: Tensor) -> Tensor:
        return values[..., top : top + height, left : left + width]

    intrinsics = sample.intrinsics.clone()
    intrinsics[0, 2] -= left
    intrinsics[1, 2] -= top
    return replace(
        _map_images(sample, window, window), valid=window(sample.valid), intrinsics=intrinsics
    )


def _mirror_pose(pose: Tensor | None) -> Tensor | None:
    if pose is None:
        return None
    sign = pose.new_tensor((-1.0, 1.0, 1.0, 1.0))
    return pose * sign[:, None] * sign


def _draw_int(bound: int, generator: Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))


def _happens(probability: float, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator, dtype=torch.float64)) < probability


def _check_size(what: str, height: int, width: int) -> None:
    if height < 1 or width < 1:
        message = f'cannot {what} {height}x{width}; give height and width in pixels, at least 1.'
        raise ConfigError(message)


def _check_window(corner: tuple[int, int], size: tuple[int, int], image: tuple[int, int]) -> None:
    (top, left), (height, width), (rows, columns) = corner, size, image
    _check_size('crop to', height, width)
    if top < 0 or left < 0 or top + height > rows or left + width > columns:
        message = (
            f'a crop of {height}x{width} at row {top}, column {left} leaves the image of '
            f'{rows}x{columns}; choose a window inside it, or resize first.'
        )
        raise DataError(message)


def _check_probability(value: float) -> None:
    if not 0.0 <= value <= 1.0:
        message = f'probability={value} is outside [0, 1].'
        raise ConfigError(message)
