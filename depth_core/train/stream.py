# SPDX-License-Identifier: Apache-2.0
"""The endless, reproducible stream of training images.

Sample number c (0, 1, 2 … over the whole run) is a function of (seed, c) alone: which image it
is, and how it is augmented. A run therefore continues exactly where it stopped, and neither the
number of loading processes nor that of training processes changes what is seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from depth_core.data.mix import MixDataset
from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.errors import DataError, DepthError
from depth_core.processes import begin_child, signals_blocked
from depth_core.train.fabric import seed_of

Augmentation = Callable[[Sample, Generator], Sample]
"""What moves image, depth, mask, intrinsics and pose of a sample together."""


@dataclass
class SampleStream:
    """Samples of `dataset` by their number in the run, shuffled anew in each epoch.

    Of a mix each batch is of one data set, in turn (`MixDataset.turns`). Each has epochs
    of its own, so that a short one is seen more often.
    """

    dataset: DepthDataset
    augment: Augmentation
    seed: int
    batch_size: int = 1
    """Samples in a row that are of one data set."""
    _orders: dict[int, tuple[int, Tensor]] = field(default_factory=dict, init=False)

    def __getitem__(self, counter: int) -> Sample:
        mix = self.dataset if isinstance(self.dataset, MixDataset) else None
        turns = (0,) if mix is None else mix.turns
        batch, position = divmod(counter, self.batch_size)
        rounds, place_in_round = divmod(batch, len(turns))
        part = turns[place_in_round]
        turn = rounds * turns.count(part) + turns[:place_in_round].count(part)
        length = len(self.dataset if mix is None else mix.parts[part])
        epoch, place = divmod(turn * self.batch_size + position, length)
        index = int(self._order(part, epoch, length)[place])
        sample = self.dataset[index] if mix is None else mix.of(part, index)
        return self.augment(sample, Generator().manual_seed(seed_of(self.seed, 2, counter)))

    def _order(self, part: int, epoch: int, length: int) -> Tensor:
        known, order = self._orders.get(part, (-1, torch.empty(0)))
        if known != epoch:
            shuffled = Generator().manual_seed(seed_of(self.seed, 1, epoch + (part << 32)))
            order = torch.randperm(length, generator=shuffled)
            self._orders[part] = (epoch, order)
        return order


def batches(
    stream: SampleStream,
    *,
    first_step: int,
    steps: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
) -> Iterator[Sample]:
    """Yield this process's part of the batches of steps `first_step` to `steps` - 1.

    Args:
        stream: Where samples come from; its batch size, the images in a step over all processes,
            is a multiple of `world_size`.
        first_step: Steps done before.
        steps: Steps in all.
        rank: Number of this process.
        world_size: How many processes share a step.
        workers: Loading processes; 0 loads in this one.

    Raises:
        DataError: An image cannot be read.
    """
    share = stream.batch_size // world_size
    loader = DataLoader(
        _Guarded(stream),
        batch_sampler=_Counters(first_step, steps, stream.batch_size, rank * share, share),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=partial(_begin, os.getpid()),
        prefetch_factor=4 if workers else None,
        # Its own generator: loading must not draw from the one that drives dropout.
        generator=Generator().manual_seed(0),
    )
    with signals_blocked():
        loaded = iter(loader)
    for batch in loaded:
        if isinstance(batch, _Failure):
            raise DataError(batch.message)
        yield batch


def _begin(parent: int, _worker: int) -> None:
    begin_child(parent)


@dataclass(frozen=True)
class _Failure:
    """An error of a loading process on its way to the user, without that process's traceback."""

    message: str


@dataclass(frozen=True)
class _Guarded(Dataset[Sample | _Failure]):
    stream: SampleStream

    def __getitem__(self, counter: int) -> Sample | _Failure:
        try:
            return self.stream[counter]
        except DepthError as error:
            return _Failure(str(error))


@dataclass(frozen=True)
class _Counters:
    first_step: int
    steps: int
    batch_size: int
    offset: int
    share: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            first = step * self.batch_size + self.offset
            yield list(range(first, first + self.share))


def _collate(items: Sequence[Sample | _Failure]) -> Sample | _Failure:
    for item in items:
        if isinstance(item, _Failure):
            return item
    samples = cast('Sequence[Sample]', items)
    shapes = {tuple(sample.image.shape): sample.key for sample in samples}
    if len(shapes) > 1:
        listed = ', '.join(f'{key} {shape[1]}x{shape[2]}' for shape, key in shapes.items())
        return _Failure(
            f'images of one batch differ in size ({listed}); give data.height and data.width.'
        )
    return collate(samples)
