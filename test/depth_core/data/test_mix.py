# SPDX-License-Identifier: Apache-2.0
"""Several data sets as one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from depth_core.data import open_dataset
from depth_core.data.mix import MixDataset, domains_of, read_parts, turns_of
from depth_core.errors import ConfigError

ROOMS = {'name': 'synthetic', 'options': {'seed': 1, 'length': 3, 'scenes': 'indoor'}}
STREETS = {
    'name': 'synthetic',
    'options': {'seed': 2, 'length': 2, 'scenes': 'outdoor'},
    'height': 24,
    'augmentation': 'jitter',
}


def refusal(datasets: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_dataset('mix', datasets=datasets, height=16, width=32)
    return str(caught.value)


def test_samples_are_those_of_the_parts_with_their_domain() -> None:
    mix = open_dataset('mix', datasets=[ROOMS, STREETS], height=16, width=32)
    assert len(mix) == 5
    domains = [sample.domain for sample in (mix[index] for index in range(5))]
    assert [int(domain) for domain in domains if domain is not None] == [0, 0, 0, 1, 1]
    assert mix[0].image.shape == (3, 16, 32)
    assert mix[3].image.shape == (3, 24, 32)  # a size of its own
    alone = open_dataset('synthetic', height=24, width=32, seed=2, length=2, scenes='outdoor')
    assert torch.equal(mix[4].image, alone[1].image)
    assert mix[-1].key == mix[4].key


def test_an_index_outside_is_one() -> None:
    mix = MixDataset([open_dataset('synthetic', height=16, width=32, seed=1, length=2)])
    for index in (2, -3):
        with pytest.raises(IndexError, match=f'index {index} is outside a mix of 2 samples'):
            mix[index]


def test_what_is_no_mix_is_refused() -> None:
    assert "did you mean 'root'?" in refusal([ROOMS | {'rot': 'data'}])
    assert "did you mean 'synthetic'?" in refusal([{'name': 'sintetic'}])
    assert 'cannot be part of a mix' in refusal([{'name': 'mix'}])
    assert 'give a list of mappings, each with a name' in refusal('nyu')
    assert 'give a list of mappings, each with a name' in refusal([{'root': 'data/nyu'}])
    assert 'name at least one' in refusal([])


def test_turns_follow_the_weights() -> None:
    assert turns_of([1.0, 1.0, 1.0]) == (0, 1, 2)
    assert turns_of([2.0, 1.0]) == (0, 1, 0)
    assert turns_of([0.3, 0.1]) == (0, 0, 1, 0)
    uneven = turns_of([1.0, math.pi])
    assert uneven.count(1) / len(uneven) == pytest.approx(math.pi / (1.0 + math.pi), abs=0.006)


@pytest.mark.parametrize('weight', [0, -1, float('inf'), 'twice', True])
def test_a_weight_that_is_none_is_refused(weight: object) -> None:
    with pytest.raises(ConfigError, match='weight of data set synthetic is'):
        read_parts([{'name': 'synthetic', 'weight': weight}])


def test_several_data_sets_are_of_one_domain() -> None:
    datasets = [ROOMS | {'domain': 'b'}, STREETS | {'domain': 'a'}, ROOMS | {'domain': 'b'}]
    mix = open_dataset('mix', datasets=datasets, height=16, width=32, domains=['a', 'b'])
    assert isinstance(mix, MixDataset)
    assert mix.domains == (1, 0, 1)
    sample = mix.of(2, 0)
    assert sample.part is not None
    assert sample.domain is not None
    assert (int(sample.part), int(sample.domain)) == (2, 1)


@pytest.mark.parametrize(
    ('domains', 'known', 'text'),
    [
        (('rooms', 'street'), ('rooms', 'streets'), "did you mean 'streets'?"),
        (('rooms', None), ('rooms', 'streets'), r'one to each \(rooms, streets\), or to none'),
        (('rooms', 'rooms'), (), "domain 'rooms', but what is trained has no domains"),
        ((0, 1), ('rooms', 'streets'), 'domain of data set synthetic is 0; give a name'),
    ],
)
def test_domains_that_cannot_be_are_refused(
    domains: tuple[Any, ...], known: tuple[str, ...], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        domains_of(read_parts([{'name': 'synthetic', 'domain': name} for name in domains]), known)
