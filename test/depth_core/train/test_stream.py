# SPDX-License-Identifier: Apache-2.0
"""The stream of training images is a function of (seed, counter) and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Generator

from depth_core.data.mix import MixDataset
from depth_core.data.sample import Sample
from depth_core.errors import DataError
from depth_core.train.fabric import seed_of
from depth_core.train.stream import SampleStream, batches

LENGTH = 7


@dataclass(frozen=True)
class Numbers:
    """Sample i holds the number i; one of them cannot be read."""

    broken: int | None = None
    growing: bool = False
    length: int = LENGTH

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            message = f'image {index} is truncated; copy it again.'
            raise DataError(message)
        size = 2 + index if self.growing else 2
        plane = torch.full((size, 2), float(index))
        return Sample(
            image=plane.expand(3, -1, -1),
            depth_m=plane,
            valid=torch.ones(size, 2, dtype=torch.bool),
            intrinsics=torch.eye(3),
            key=f'number/{index}',
        )


def add_noise(sample: Sample, generator: Generator) -> Sample:
    return replace(sample, image=sample.image + 0.1 * torch.rand(3, 2, 2, generator=generator))


def images(
    *, first_step: int = 0, steps: int = 6, seed: int = 0, rank: int = 0, world_size: int = 1,
    workers: int = 0,
) -> torch.Tensor:  # fmt: skip
    stream = SampleStream(Numbers(), add_noise, seed, batch_size=4)
    loaded = batches(
        stream, first_step=first_step, steps=steps, rank=rank, world_size=world_size,
        workers=workers,
    )  # fmt: skip
    return torch.stack([batch.image for batch in loaded])  # [steps, batch, 3, 2, 2]


def test_each_epoch_shows_every_image_once_in_another_order() -> None:
    stream = SampleStream(Numbers(), lambda sample, _: sample, 0)
    order = [int(stream[counter].depth_m[0, 0]) for counter in range(3 * LENGTH)]
    epochs = [order[first : first + LENGTH] for first in range(0, 3 * LENGTH, LENGTH)]
    assert all(sorted(epoch) == list(range(LENGTH)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_resumed_stream_goes_on_where_it_stopped() -> None:
    assert torch.equal(images()[3:], images(first_step=3))


def test_the_number_of_loading_processes_changes_nothing() -> None:
    assert torch.equal(images(), images(workers=2))


def test_two_training_processes_share_what_one_would_see() -> None:
    shares = [images(rank=rank, world_size=2) for rank in range(2)]
    assert torch.equal(torch.cat(shares, dim=1), images())


def test_another_seed_is_another_order_and_another_augmentation() -> None:
    assert not torch.equal(images(seed=0).round(), images(seed=1).round())
    assert not torch.equal(images(seed=0) % 1.0, images(seed=1) % 1.0)


def test_augmentation_differs_between_epochs() -> None:
    stream = SampleStream(Numbers(), add_noise, 0)
    seen = [stream[counter] for counter in range(2 * LENGTH)]
    first, second = (item.image for item in seen if item.key == 'number/3')
    assert not torch.equal(first, second)


def test_loading_does_not_draw_from_the_generator_of_the_model() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    images()
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize('workers', [0, 1])
def test_an_unreadable_image_is_one_sentence(workers: int) -> None:
    stream = SampleStream(Numbers(broken=2), add_noise, 0, batch_size=4)
    with pytest.raises(DataError) as caught:
        list(batches(stream, first_step=0, steps=2, workers=workers))
    assert str(caught.value) == 'image 2 is truncated; copy it again.'


def test_images_of_different_size_are_refused() -> None:
    stream = SampleStream(Numbers(growing=True), lambda sample, _: sample, 0, batch_size=4)
    with pytest.raises(DataError, match=r'differ in size .*give data\.height and data\.width'):
        list(batches(stream, first_step=0, steps=1))


def mixed(
    *, lengths: tuple[int, ...] = (5, 2), first_step: int = 0, steps: int = 8, rank: int = 0,
    world_size: int = 1,
) -> list[Sample]:  # fmt: skip
    mix = MixDataset([Numbers(length=length) for length in lengths])
    stream = SampleStream(mix, lambda sample, _: sample, 0, batch_size=2)
    return list(
        batches(stream, first_step=first_step, steps=steps, rank=rank, world_size=world_size)
    )


def test_a_batch_of_a_mix_is_of_one_data_set_in_turn() -> None:
    domains = [batch.domain.tolist() for batch in mixed() if batch.domain is not None]
    assert domains == [[0, 0], [1, 1]] * 4


def test_the_shorter_data_set_comes_round_more_often() -> None:
    """Ten batches of two, five of each: both images of the short set five times, none skipped."""
    seen: list[list[str]] = [[], []]
    for batch in mixed(steps=10):
        assert batch.domain is not None
        seen[int(batch.domain[0])] += batch.key
    assert [seen[1].count(f'number/{index}') for index in range(2)] == [5, 5]
    assert [seen[0].count(f'number/{index}') for index in range(5)] == [2] * 5


def test_a_resumed_mix_goes_on_where_it_stopped() -> None:
    assert [batch.key for batch in mixed(first_step=3)] == [batch.key for batch in mixed()[3:]]


def test_processes_share_the_batches_of_a_mix() -> None:
    shares = [mixed(rank=rank, world_size=2) for rank in range(2)]
    joined = [first.key + second.key for first, second in zip(*shares, strict=True)]
    assert joined == [batch.key for batch in mixed()]
    for first, second in zip(*shares, strict=True):
        assert first.domain is not None
        assert second.domain is not None
        assert torch.equal(first.domain, second.domain)


def test_one_data_set_is_seen_alike_within_a_mix_and_alone() -> None:
    alone = SampleStream(Numbers(length=5), lambda sample, _: sample, 0, batch_size=2)
    first = [batch.key for batch in mixed(lengths=(5,))]
    assert first == [batch.key for batch in batches(alone, first_step=0, steps=8)]


def test_neighbouring_seeds_are_far_apart() -> None:
    seeds = [seed_of(seed, 3, step) for seed in range(20) for step in range(50)]
    assert len(set(seeds)) == len(seeds)
    ones = [seed.bit_count() for seed in seeds]
    assert 30.0 < sum(ones) / len(ones) < 33.0


def test_a_data_set_of_more_weight_has_more_batches_and_epochs_of_its_own() -> None:
    """Turns 0, 1, 0 of two samples each: the first data set has been seen once after two turns."""
    mix = MixDataset([Numbers(length=4), Numbers(length=2)], [2.0, 1.0])
    stream = SampleStream(mix, lambda sample, _: sample, seed=0, batch_size=2)
    seen = [stream[counter] for counter in range(6)]
    assert [int(sample.domain) for sample in seen if sample.domain is not None] == [
        0,
        0,
        1,
        1,
        0,
        0,
    ]
    assert len({sample.key for sample in (*seen[:2], *seen[4:])}) == 4
