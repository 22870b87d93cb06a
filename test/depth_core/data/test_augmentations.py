# SPDX-License-Identifier: Apache-2.0
"""The augmentations by name: what they change, what they leave, and their colours by hand."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import lru_cache

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from depth_core.data.augmentations import AUGMENTATIONS, ZOOMING, build_augmentation, loading_size
from depth_core.data.sample import Sample, collate
from depth_core.data.synthetic import SCENE_CLASSES, SyntheticDataset
from depth_core.data.transforms import CutFlip, GammaBrightnessColour, HueJitter
from depth_core.data.transforms.colour import turn_hue
from depth_core.errors import ConfigError

pytestmark = pytest.mark.numeric

SEQUENCES = {'packnet', 'monodepth2'}
HEIGHT, WIDTH = 57, 76


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(name: str, *, neighbours: tuple[int, ...] = (), index: int = 0) -> Sample:
    height, width = loading_size(name, height=HEIGHT, width=WIDTH)
    return rendered(height, width, neighbours, index)


@lru_cache
def rendered(height: int, width: int, neighbours: tuple[int, ...], index: int) -> Sample:
    return SyntheticDataset(
        seed=3,
        length=4,
        height=height,
        width=width,
        scenes='mixed',
        camera='kitti',
        neighbours=neighbours,
    )[index]


def assert_same(first: Sample, second: Sample) -> None:
    for item in fields(Sample):
        one, two = getattr(first, item.name), getattr(second, item.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(torch.nan_to_num(one), torch.nan_to_num(two)), item.name
        else:
            assert one == two, item.name


@pytest.mark.parametrize('name', AUGMENTATIONS)
def test_every_augmentation_gives_what_the_network_sees(name: str) -> None:
    neighbours = (-1, 1) if name in SEQUENCES else ()
    cut = 0.0 if name in SEQUENCES else 0.5
    focal_px = 60.0 if name in ZOOMING else None
    augment = build_augmentation(
        name, height=HEIGHT, width=WIDTH, cutflip_probability=cut, canonical_focal_px=focal_px
    )
    source = drawn(name, neighbours=neighbours)
    for seed in range(4):
        result = augment(source, generator(seed))
        assert_same(result, augment(source, generator(seed)))
        assert result.image.shape == (3, HEIGHT, WIDTH)
        assert result.depth_m.shape == result.valid.shape == (HEIGHT, WIDTH)
        assert 0.0 <= float(result.image.min()) <= float(result.image.max()) <= 1.0
        assert bool(torch.isfinite(result.depth_m[result.valid]).all())
        assert result.semantic is not None
        assert result.semantic.dtype == torch.int64
        assert set(result.semantic.unique().tolist()) <= {*range(19), 255}
        if name in SEQUENCES:
            assert result.neighbour_images is not None
            assert result.neighbour_images.shape == (2, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize('name', AUGMENTATIONS)
def test_scene_classes_arrive_in_the_batch(name: str) -> None:
    focal_px = 60.0 if name in ZOOMING else None
    augment = build_augmentation(name, height=HEIGHT, width=WIDTH, canonical_focal_px=focal_px)
    sources = [drawn(name, index=index) for index in (0, 1)]
    batch = collate([augment(item, generator(1)) for item in sources])
    assert batch.scene_class is not None
    assert batch.scene_class.dtype == torch.int64
    assert batch.scene_class.tolist() == [int(item.scene_class or 0) for item in sources]
    assert int(batch.scene_class.max()) < len(SCENE_CLASSES)


def test_packnet_jitters_every_sample_and_keeps_clean_frames() -> None:
    source = drawn('packnet', neighbours=(-1, 1))
    augment = build_augmentation('packnet', height=HEIGHT, width=WIDTH)
    for seed in range(5):
        result = augment(source, generator(seed))
        assert not torch.equal(result.image, source.image)
        assert result.clean_image is source.image
        assert result.clean_neighbour_images is source.neighbour_images
        assert torch.equal(result.intrinsics, source.intrinsics), 'nothing is mirrored'


def test_monodepth2_mirrors_and_jitters_half_of_the_samples() -> None:
    source = drawn('monodepth2', neighbours=(-1, 1))
    augment = build_augmentation('monodepth2', height=HEIGHT, width=WIDTH)
    draw = generator()
    results = [augment(source, draw) for _ in range(200)]
    mirrored = [bool(item.intrinsics[0, 2] != source.intrinsics[0, 2]) for item in results]
    jittered = [item.clean_image is not None for item in results]
    assert sum(mirrored) / 200 == pytest.approx(0.5, abs=0.1)
    assert sum(jittered) / 200 == pytest.approx(0.5, abs=0.1)
    # A batch of both kinds has clean frames for all.
    batch = collate([results[jittered.index(True)], results[jittered.index(False)]])
    assert batch.clean_image is not None
    assert torch.equal(batch.clean_image[1], batch.image[1])


def test_frames_are_jittered_alike() -> None:
    source = drawn('packnet', neighbours=(-1, 1))
    same = replace(source, neighbour_images=source.image[None].repeat(2, 1, 1, 1))
    for seed in range(5):
        result = HueJitter()(same, generator(seed))
        assert result.neighbour_images is not None
        assert torch.equal(result.neighbour_images[1], result.image)


def test_hue_turns_as_torchvision_turns_it() -> None:
    images = torch.rand(2, 3, 9, 11, generator=generator())
    images[0, :, 0, :3] = torch.tensor(((0.0, 0.4, 1.0), (0.0, 0.4, 0.0), (0.0, 0.4, 0.0)))
    for turn in (-0.5, -0.1, 0.0, 0.03, 0.3):
        expected = tv.adjust_hue(images, turn)
        # The same formulas in another order of rounding.
        assert torch.allclose(turn_hue(images, turn), expected, atol=2e-6)
    third = turn_hue(images, 1.0 / 3.0)
    assert third[0, :, 0, 2].tolist() == pytest.approx([0.0, 1.0, 0.0], abs=1e-6)
    assert third[0, :, 0, 1].tolist() == pytest.approx([0.4, 0.4, 0.4])


def test_the_order_of_the_steps_is_drawn() -> None:
    source = drawn('cliffnet')
    # Contrast about the mean and a factor on all of it commute; a clamp between them does not.
    results = {
        round(float(HueJitter(brightness=1.0, contrast=1.0)(source, generator(seed)).image.sum()))
        for seed in range(6)
    }
    assert len(results) > 3
    still = HueJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    assert torch.equal(still(source, generator()).image, source.image)


def test_gamma_brightness_and_colour_by_hand() -> None:
    source = replace(drawn('none'), image=torch.full((3, 57, 76), 0.5))
    gains = []
    for seed in range(300):
        result = GammaBrightnessColour(gamma=0.0, brightness=0.25, colour=0.1, probability=1.0)(
            source, generator(seed)
        )
        gains.append(result.image[:, 0, 0] / 0.5)
    seen = torch.stack(gains)
    assert float(seen.min()) >= 0.75 * 0.9 - 1e-6
    assert float(seen.max()) <= 1.25 * 1.1 + 1e-6
    assert float(seen.max()) > 1.2
    ratio = seen[:, 0] / seen[:, 1]
    assert float(ratio.min()) >= 0.9 / 1.1 - 1e-6
    assert float(ratio.max()) <= 1.1 / 0.9 + 1e-6
    bent = GammaBrightnessColour(gamma=0.1, brightness=0.0, colour=0.0, probability=1.0)
    halves = [float(bent(source, generator(seed)).image[0, 0, 0]) for seed in range(200)]
    exponents = [-math.log2(half) for half in halves]
    assert 0.9 - 1e-5 <= min(exponents) < 0.92
    assert 1.08 < max(exponents) <= 1.1 + 1e-5
    bright = replace(source, image=torch.ones(3, 57, 76))
    assert float(bent(bright, generator()).image.max()) == 1.0


def test_samples_are_opened_larger_where_a_window_is_cut() -> None:
    assert loading_size('urcdc_kitti', height=352, width=1120) == (352, 1216)
    assert loading_size('cliffnet', height=228, width=304) == (240, 320)
    assert loading_size('packnet', height=192, width=640) == (192, 640)


def test_cutflip_stands_between_crops_and_mirroring() -> None:
    for name in ('urcdc_nyu', 'urcdc_kitti', 'cliffnet', 'zoedepth_nyu', 'densedepth'):
        steps = build_augmentation(name, height=HEIGHT, width=WIDTH, cutflip_probability=0.5)
        kinds = [type(item).__name__ for item in steps.transforms]
        place = kinds.index('CutFlip')
        assert all('Crop' not in kind and 'Rotation' not in kind for kind in kinds[place:])
        assert 'HorizontalFlip' in kinds[place:]
        assert steps.transforms[place] == CutFlip(probability=0.5)
        bare = build_augmentation(name, height=HEIGHT, width=WIDTH)
        assert 'CutFlip' not in [type(item).__name__ for item in bare.transforms]


def test_wrong_names_and_probabilities_are_answered() -> None:
    with pytest.raises(ConfigError, match="'packent'; did you mean 'packnet'"):
        build_augmentation('packent', height=8, width=8)
    with pytest.raises(ConfigError, match=r"'urcdc_nyy'.*did you mean 'urcdc_nyu'"):
        loading_size('urcdc_nyy', height=8, width=8)
    with pytest.raises(ConfigError, match=r'probability=1.5'):
        build_augmentation('none', height=8, width=8, cutflip_probability=1.5)
    with pytest.raises(ConfigError, match=r"'packnet' is made for sequences.*set cutflip_prob"):
        build_augmentation('packnet', height=8, width=8, cutflip_probability=0.5)
    with pytest.raises(ConfigError, match=r'hue=0.6'):
        HueJitter(hue=0.6)
