# SPDX-License-Identifier: Apache-2.0
"""What every transform shares: the protocol, applying several, and how images are reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import torch
from torch import Generator, Tensor

from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import ConfigError

NO_LABEL: Final = 255
"""Semantic id of a pixel that nothing is known about."""


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


def map_colours(sample: Sample, change: Callable[[Tensor], Tensor]) -> Sample:
    """Apply `change` to the images a network sees; clean copies stay clean."""
    return replace(
        sample,
        image=change(sample.image),
        neighbour_images=_apply(change, sample.neighbour_images),
    )


def map_images(
    sample: Sample, change: Callable[[Tensor], Tensor], pick: Callable[[Tensor], Tensor]
) -> Sample:
    """Apply `change` to all images and `pick` to depth and labels; validity is left."""
    return replace(
        map_colours(sample, change),
        clean_image=_apply(change, sample.clean_image),
        clean_neighbour_images=_apply(change, sample.clean_neighbour_images),
        depth_m=pick(sample.depth_m),
        semantic=_apply(pick, sample.semantic),
    )


def draw_int(bound: int, generator: Generator) -> int:
    """Draw one of 0 .. bound - 1."""
    return int(torch.randint(bound, (), generator=generator))


def draw_signed(count: int, generator: Generator) -> list[float]:
    """Draw `count` numbers from [-1, 1)."""
    draws = torch.rand(count, generator=generator, dtype=torch.float64).mul_(2.0).sub_(1.0)
    return [float(value) for value in draws]


def happens(probability: float, generator: Generator) -> bool:
    """Draw whether something of this probability happens."""
    return float(torch.rand((), generator=generator, dtype=torch.float64)) < probability


def check_probability(value: float) -> None:
    """Refuse what is no probability.

    Raises:
        ConfigError: `value` is outside [0, 1].
    """
    if not 0.0 <= value <= 1.0:
        message = f'probability={value} is outside [0, 1].'
        raise ConfigError(message)


def _apply(change: Callable[[Tensor], Tensor], images: Tensor | None) -> Tensor | None:
    return None if images is None else change(images)
