# SPDX-License-Identifier: Apache-2.0
"""Parts of one recording, in seconds after its first message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from depth_core.data.bag.dataset import BagDataset
from depth_core.data.bag.window import overlap_s
from depth_core.errors import ConfigError, DataError
from test.depth_core.data.bag.recording import record


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, a tenth of a second apart."""
    return record().write(tmp_path_factory.mktemp('window') / 'b')


def keys(bag: Path, **options: Any) -> list[str]:
    dataset = BagDataset(bag, **options)
    return [dataset.key(index) for index in range(len(dataset))]


def test_two_ranges_split_a_bag_and_every_image_is_in_one(bag: Path) -> None:
    first, second = keys(bag, end_s=0.15), keys(bag, start_s=0.15)
    assert len(first) == 2
    assert first + second == keys(bag)


def test_images_of_a_part_keep_their_truth(bag: Path) -> None:
    whole, part = BagDataset(bag), BagDataset(bag, end_s=0.05)
    assert part.has_depth(0) == whole.has_depth(0)
    assert bool((part[0].valid == whole[0].valid).all())


@pytest.mark.parametrize(
    ('options', 'error', 'said'),
    [
        ({'start_s': 2.0, 'end_s': 1.0}, ConfigError, 'start_s is 2 and end_s is 1'),
        ({'end_s': 0.0}, ConfigError, 'end_s is 0'),
        ({'start_s': -1.0}, ConfigError, 'start_s is -1.0'),
        ({'end_s': float('nan')}, ConfigError, 'end_s is nan'),
        ({'start_s': 99.0}, DataError, 'start_s is 99.*lasts'),
        ({'start_s': 0.11, 'end_s': 0.12}, DataError, 'in the part asked for; give other start_s'),
    ],
)
def test_what_is_no_part_is_refused(
    bag: Path, options: dict[str, float], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        keys(bag, **options)


def test_ranges_that_touch_share_nothing() -> None:
    assert overlap_s((None, 2.0), (2.0, None)) is None
    assert overlap_s((None, 2.5), (2.0, None)) == (2.0, 2.5)
    assert overlap_s((None, None), (1.0, 3.0)) == (1.0, 3.0)
