# SPDX-License-Identifier: Apache-2.0
"""A part of another sample in the place of a part of this one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from depth_core.data.sample import DepthDataset, Sample
from depth_core.data.transforms.base import Compose, check_probability, draw_int, happens
from depth_core.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Paste a rectangle of another image, with its depth, at the same place (after CutMix).

    Height and width of the rectangle are shares of the image drawn from [smallest, largest]. The
    rectangle stays where it was in its image, so that its pixels are seen under the angles they
    were seen under; where both cameras are the same the picture still has that camera, and else
    none (NaN). View synthesis cannot use such pictures: samples with neighbours are refused.
    """

    probability: float = 0.5
    smallest: float = 0.2
    largest: float = 0.6
    others: DepthDataset | None = field(default=None, repr=False)
    """Where the other image comes from; given when a training is opened."""
    before: Compose = field(default=Compose(()), repr=False)
    """What the other image undergoes first: all that this one has undergone."""

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0.0 < self.smallest <= self.largest <= 1.0:
            message = (
                f'shares from {self.smallest} to {self.largest} of the image are no range; give '
                '0 < smallest <= largest <= 1.'
            )
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample, or the sample with a rectangle of another.

        Raises:
            ConfigError: There is no data set to take others from.
            DataError: The sample has neighbouring frames, or the other one has another size.
        """
        if sample.neighbour_images is not None:
            message = (
                f'sample {sample.key!r} has neighbouring frames, and cutmix makes pictures that '
                'no one camera sees; train without cutmix, or without neighbours.'
            )
            raise DataError(message)
        if not happens(self.probability, generator):
            return sample
        if self.others is None:
            message = 'cutmix has no data set to take other images from; it is one of training.'
            raise ConfigError(message)
        other = self.others[draw_int(len(self.others), generator)]
        other = self.before(other, generator)
        if other.depth_m.shape != sample.depth_m.shape:
            message = (
                f'cutmix cannot paste {other.key!r} of {tuple(other.depth_m.shape)} into '
                f'{sample.key!r} of {tuple(sample.depth_m.shape)}; give data.height and width.'
            )
            raise DataError(message)
        return self._paste(sample, other, self._rectangle(sample, generator))

    def _rectangle(self, sample: Sample, generator: Generator) -> Tensor:
        """[H, W] bool, True inside."""
        inside = torch.zeros_like(sample.valid)
        shares = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        bounds = []
        for side, share in zip(inside.shape, shares, strict=True):
            length = max(1, round(side * (self.smallest + share * (self.largest - self.smallest))))
            start = draw_int(side - length + 1, generator)
            bounds.append(slice(start, start + length))
        inside[bounds[0], bounds[1]] = True
        return inside

    def _paste(self, sample: Sample, other: Sample, inside: Tensor) -> Sample:
        semantic = None
        if sample.semantic is not None and other.semantic is not None:
            semantic = torch.where(inside, other.semantic, sample.semantic)
        same = bool(torch.equal(sample.intrinsics, other.intrinsics))
        unknown = torch.full_like(sample.intrinsics, torch.nan)
        return replace(
            sample,
            image=torch.where(inside, other.image, sample.image),
            depth_m=torch.where(inside, other.depth_m, sample.depth_m),
            valid=torch.where(inside, other.valid, sample.valid),
            semantic=semantic,
            intrinsics=sample.intrinsics if same else unknown,
        )
