# SPDX-License-Identifier: Apache-2.0
"""Augmentations listed transform by transform: sizes, cameras, order, and mistakes in a list."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Generator

from depth_core.data.augmentation_list import TRANSFORMS, build_list, warn_of_focal, with_others
from depth_core.data.augmentations import build_augmentation, loading_size
from depth_core.data.sample import Sample
from depth_core.data.transforms import CanonicalFocal, Compose, CutMix, RandomScale
from depth_core.errors import ConfigError, DataError

HEIGHT, WIDTH = 24, 32


def sample(rows: int = HEIGHT, columns: int = WIDTH, *, depth_m: float = 4.0) -> Sample:
    return Sample(
        image=torch.rand(3, rows, columns, generator=Generator().manual_seed(3)),
        depth_m=torch.full((rows, columns), depth_m),
        valid=torch.ones(rows, columns, dtype=torch.bool),
        intrinsics=torch.tensor([[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1.0]]),
        key='one',
        semantic=torch.full((rows, columns), 7),
    )


@dataclass(frozen=True)
class Others:
    depth_m: float = 9.0

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        return replace(sample(depth_m=self.depth_m), image=torch.full((3, HEIGHT, WIDTH), 0.25))


def drawn(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def options(name: str) -> dict[str, Any]:
    return {'name': name} | ({'degrees': 5.0} if name == 'rotate' else {})


@pytest.mark.parametrize('name', TRANSFORMS)
def test_each_gives_what_the_network_sees_and_the_same_for_a_seed(name: str) -> None:
    listed = [options(name)]
    height, width = loading_size(listed, height=HEIGHT, width=WIDTH)
    augment = with_others(build_augmentation(listed, height=HEIGHT, width=WIDTH), Others())
    given = sample(height, width)
    for seed in range(4):
        found = augment(given, drawn(seed))
        assert found.image.shape == (3, HEIGHT, WIDTH)
        assert found.depth_m.shape == found.valid.shape == (HEIGHT, WIDTH)
        assert bool((found.image >= 0).all() & (found.image <= 1).all())
        assert torch.equal(found.image, augment(given, drawn(seed)).image)


def test_windows_multiply_the_size_that_is_opened() -> None:
    listed: list[dict[str, object]] = [
        {'name': 'crop', 'enlarge': 1.5},
        {'name': 'flip'},
        {'name': 'crop', 'enlarge': 2},
    ]
    assert loading_size(listed, height=10, width=20) == (30, 60)
    found = build_list(listed, height=10, width=20)[0](sample(30, 60), drawn())
    assert found.depth_m.shape == (10, 20)


def test_scaled_pictures_keep_their_geometry() -> None:
    """Twice as large: focal lengths double; with divide depth halves and they stay."""
    kept = RandomScale(low=2.0, high=2.0)(sample(), drawn())
    assert kept.intrinsics.diagonal().tolist() == [40.0, 40.0, 1.0]
    assert torch.equal(kept.depth_m, torch.full((HEIGHT, WIDTH), 4.0))
    divided = RandomScale(low=2.0, high=2.0, depth='divide')(sample(), drawn())
    assert divided.intrinsics.diagonal().tolist() == [20.0, 20.0, 1.0]
    assert torch.equal(divided.depth_m, torch.full((HEIGHT, WIDTH), 2.0))
    assert torch.equal(divided.image, kept.image)


def test_a_shrunk_picture_stands_on_black_of_unknown_depth() -> None:
    found = RandomScale(low=0.5, high=0.5)(sample(), drawn())
    assert int(found.valid.sum()) == 12 * 16
    assert bool(found.depth_m[~found.valid].isnan().all())
    assert not found.image[:, ~found.valid].any()
    assert found.semantic is not None
    assert bool((found.semantic[~found.valid] == 255).all())
    left = int(found.valid.any(dim=0).nonzero()[0])
    # The middle of the picture stays the middle: 15.5 is half of 31.
    assert found.intrinsics[0, 2].item() == pytest.approx(left + 7.5)


def test_cutmix_pastes_depth_where_it_pastes_the_image() -> None:
    augment = with_others(Compose((CutMix(probability=1.0),)), Others())
    found = augment(sample(), drawn())
    pasted = (found.image == 0.25).all(dim=0)
    assert 0 < int(pasted.sum()) < HEIGHT * WIDTH
    assert torch.equal(found.depth_m, torch.where(pasted, 9.0, 4.0))
    assert torch.equal(found.intrinsics, sample().intrinsics)


def test_cutmix_of_two_cameras_has_none() -> None:
    given = sample()
    given.intrinsics[0, 0] = 21.0
    augment = with_others(Compose((CutMix(probability=1.0),)), Others())
    assert bool(augment(given, drawn()).intrinsics.isnan().all())


def test_what_is_pasted_has_undergone_what_stands_before() -> None:
    """Depth is canonical in both: 4 m and 9 m through 20 px are 8 and 18 at 40 px."""
    listed = [{'name': 'cutmix', 'probability': 1.0}]
    augment, _ = build_list(listed, height=HEIGHT, width=WIDTH, canonical_focal_px=40.0)
    found = with_others(augment, Others())(sample(), drawn())
    assert set(found.depth_m.unique().tolist()) == {8.0, 18.0}


def test_depth_is_made_canonical_after_the_last_change_of_focal_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listed = [{'name': 'flip'}, {'name': 'scale'}, {'name': 'cutflip'}]
    augment, _ = build_list(listed, height=HEIGHT, width=WIDTH, canonical_focal_px=40.0)
    assert isinstance(augment.transforms[2], CanonicalFocal)
    warn_of_focal(augment)
    assert caplog.text == ''
    with pytest.raises(ConfigError, match='list cutflip and cutmix after zoom and scale'):
        build_list(listed[::-1], height=HEIGHT, width=WIDTH, canonical_focal_px=40.0)


def test_another_focal_length_without_a_canonical_one_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        for scale in ({'depth': 'divide'}, {}):
            assert caplog.text == ''
            warn_of_focal(build_list([{'name': 'scale'} | scale], height=8, width=8)[0])
    assert 'give data.canonical_focal_px, or scale with depth: divide' in caplog.text


def test_cutmix_refuses_sequences_and_has_to_know_the_data() -> None:
    neighbours = replace(sample(), neighbour_images=torch.zeros(2, 3, HEIGHT, WIDTH))
    with pytest.raises(DataError, match='cutmix makes pictures that no one camera sees'):
        CutMix()(neighbours, drawn())
    with pytest.raises(ConfigError, match='no data set to take other images from'):
        CutMix(probability=1.0)(sample(), drawn())


@pytest.mark.parametrize(
    ('listed', 'said'),
    [
        ({'name': 'flip'}, r'give a name, or a list of transforms'),
        ([{'name': 'flipp'}], r"augmentation\[0\]\.name 'flipp'.*flip"),
        ([{'name': 'flip'}, {'name': 'blur', 'sigma': 2}], r"augmentation\[1\] \(blur\).*'sigma'"),
        ([{'name': 'rotate'}], r'augmentation\[0\] \(rotate\) needs degrees'),
        ([{'name': 'crop', 'enlarge': 0.5}], r'enlarge is 0.5; give a number from 1 to 4'),
        ([{'name': 'crop', 'place': 'left'}], r"place is 'left'; give random or centre"),
        ([{'name': 'noise', 'largest': 'much'}], r"largest is 'much'; give a number"),
        ([{'name': 'blur', 'largest_px': 0.01}], r'0 < smallest_px <= largest_px'),
        ([{'name': 'scale', 'low': 2, 'high': 1}], r'factors from 2 to 1 are no range'),
        ([{'name': 'cutmix', 'others': 3}], r'others is no option'),
        (
            [{'name': 'zoom', 'largest': 0.5}],
            r'\[0\] \(zoom\): largest=0.5 is no zoom',
        ),
        ([{'name': 'hue', 'keep_clean': 3}], r'keep_clean is 3; give true or false'),
        ([{'name': 'faults', 'glare': -1}], r'glare=-1 is outside \[0, 1\]'),
        ([{'name': 'faults', 'lowest_quality': 99}], r'lowest_quality=99 is outside \[1, 95\]'),
        (['flip', 7], r'augmentation\[1\] is 7; give a mapping with a name'),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(listed: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_list(listed, height=8, width=8)


def test_cutflip_has_one_place() -> None:
    with pytest.raises(
        ConfigError, match=r'put \{name: cutflip, probability: 0.5\} into the list'
    ):
        build_augmentation([{'name': 'flip'}], height=8, width=8, cutflip_probability=0.5)
