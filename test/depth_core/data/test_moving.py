# SPDX-License-Identifier: Apache-2.0
"""Turning, rolling, borders and windows: against hand-worked numbers and the authors' arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.data.synthetic import SyntheticDataset
from depth_core.data.transforms import (
    KB_WINDOW,
    BottomCentreCrop,
    CutFlip,
    HorizontalFlip,
    HueJitter,
    MaskBorder,
    RandomRotation,
)
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import intrinsics_from_matrix, unproject
from depth_core.metrics import PROTOCOLS

pytestmark = pytest.mark.numeric


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope='module')
def sample() -> Sample:
    """A street with neighbours, 48 x 160."""
    return SyntheticDataset(
        seed=1,
        length=4,
        height=48,
        width=160,
        scenes='street_city',
        camera='kitti',
        neighbours=(-1, 1),
    )[0]


def plain(image: Tensor, depth_m: Tensor) -> Sample:
    return Sample(
        image=image,
        depth_m=depth_m,
        valid=torch.isfinite(depth_m),
        intrinsics=torch.eye(3),
        key='plain',
    )


def test_cutflip_equals_the_authors_arrays(
    reference: Callable[[str], dict[str, Tensor]],
) -> None:
    arrays = reference('urcdc_cutflip')
    image, depth = arrays['img'].permute(2, 0, 1), arrays['depth'][..., 0]
    source = replace(plain(image, depth), semantic=torch.arange(60).view(10, 6))
    assert source.semantic is not None
    seen = set()
    for seed in range(60):
        cut = CutFlip(probability=1.0)(source, generator(seed))
        assert cut.semantic is not None
        rows = int(torch.argwhere(cut.semantic == 0)[0, 0])
        seen.add(rows)
        assert torch.equal(cut.image, image.roll(rows, dims=1))
        assert torch.equal(cut.semantic, source.semantic.roll(rows, dims=0))
        if f'img_cut{rows}' in arrays:
            assert torch.equal(cut.image, arrays[f'img_cut{rows}'].permute(2, 0, 1))
            assert torch.equal(cut.depth_m, arrays[f'dep_cut{rows}'][..., 0])
    assert seen == set(range(2, 9)), 'int(0.2 h) to int(0.8 h), both included'


def test_cutflip_happens_as_often_and_as_far_as_published() -> None:
    column = torch.arange(100.0)[:, None].repeat(1, 2)
    source = plain(column.repeat(3, 1, 1) / 100.0, column + 1.0)
    draw = generator()
    rolls = [int(CutFlip()(source, draw).depth_m[0, 0]) for _ in range(3000)]
    changed = [(101 - first) % 100 for first in rolls if first != 1]
    assert len(changed) / 3000 == pytest.approx(0.5, abs=0.03)
    assert (min(changed), max(changed)) == (20, 80)


def test_a_cut_picture_has_no_camera(sample: Sample) -> None:
    alone = replace(sample, neighbour_images=None, neighbour_poses=None)
    cut = CutFlip(probability=1.0)(alone, generator())
    assert bool(torch.isnan(cut.intrinsics).all())
    assert cut.pose is sample.pose
    assert cut.scene_class is sample.scene_class
    assert torch.equal(CutFlip(probability=0.0)(alone, generator()).image, sample.image)
    with pytest.raises(DataError, match=r'no one camera sees.*cutflip_probability 0'):
        CutFlip(probability=0.5)(sample, generator())


def points(item: Sample) -> Tensor:
    """[H, W, 3] points in the camera frame."""
    height, width = item.depth_m.shape
    camera = intrinsics_from_matrix(item.intrinsics.numpy(), height=height, width=width)
    return torch.from_numpy(unproject(item.depth_m.numpy(), camera))


def test_a_turned_picture_shows_the_same_world(sample: Sample) -> None:
    turned = RandomRotation(degrees=8.0)(sample, generator(3))
    assert turned.pose is not None
    assert sample.pose is not None

    def world(item: Sample) -> Tensor:
        assert item.pose is not None
        seen = points(item).double().reshape(-1, 3)
        return (seen @ item.pose[:3, :3].double().T + item.pose[:3, 3].double()).view(48, 160, 3)

    inner = torch.zeros(48, 160, dtype=torch.bool)
    inner[10:38, 20:140] = True
    near = inner & turned.valid & (turned.depth_m < 12.0)
    # Nearest pixels: each point of the turned picture is one of the first, half a pixel off.
    first = world(sample)[sample.valid]
    distance = torch.cdist(world(turned)[near][::7], first).amin(dim=1)
    pixel_m = float(12.0 / sample.intrinsics[0, 0])
    assert float(distance.max()) < pixel_m
    wrong = replace(turned, pose=sample.pose)
    off = torch.cdist(world(wrong)[near][::7], first).amin(dim=1)
    assert float(off.max()) > 2.0 * pixel_m


def test_a_turn_by_hand() -> None:
    image = torch.zeros(3, 5, 5)
    image[:, 2, 4] = 1.0
    depth = torch.full((5, 5), 2.0)
    depth[2, 4] = 7.0
    source = plain(image, depth)
    # Of many turns of up to 89.9 degrees one is almost a quarter: it swaps the axes.
    results = [RandomRotation(degrees=89.9)(source, generator(seed)) for seed in range(200)]
    quarter = max(results, key=lambda item: float(item.image[0, 4, 2]))
    assert float(quarter.image[0, 4, 2]) > 0.9
    assert float(quarter.depth_m[4, 2]) == 7.0
    assert int((quarter.depth_m == 7.0).sum()) == 1
    back = max(results, key=lambda item: float(item.image[0, 0, 2]))
    assert float(back.image[0, 0, 2]) > 0.9, 'turns go both ways'
    far = RandomRotation(degrees=45.0)(source, generator(1))
    corners = far.depth_m[[0, 0, 4, 4], [0, 4, 0, 4]]
    assert bool(torch.isnan(corners).all())
    assert not bool(far.valid[[0, 0, 4, 4], [0, 4, 0, 4]].any())
    assert float(far.image[:, 0, 0].abs().max()) == 0.0
    with pytest.raises(ConfigError, match='degrees=90'):
        RandomRotation(degrees=90.0)


def test_no_turn_changes_nothing(sample: Sample) -> None:
    same = RandomRotation(degrees=0.0)(sample, generator())
    assert torch.allclose(same.image, sample.image, atol=1e-5)
    assert torch.equal(same.depth_m, sample.depth_m)
    assert torch.equal(same.valid, sample.valid)
    assert same.semantic is not None
    assert sample.semantic is not None
    assert torch.equal(same.semantic, sample.semantic)
    assert torch.allclose(same.intrinsics, sample.intrinsics)


def test_turning_keeps_the_warp_between_frames(sample: Sample) -> None:
    turned = RandomRotation(degrees=8.0)(sample, generator(3))

    def change(item: Sample) -> np.ndarray:
        assert item.pose is not None
        assert item.neighbour_poses is not None
        pose, other = item.pose.double().numpy(), item.neighbour_poses[1].double().numpy()
        return np.asarray(np.linalg.inv(other) @ pose)

    assert sample.pose is not None
    assert turned.pose is not None
    roll = (torch.linalg.inv(turned.pose.double()) @ sample.pose.double()).numpy()
    assert roll[2, :3] == pytest.approx([0.0, 0.0, 1.0], abs=1e-5)
    assert change(turned) == pytest.approx(roll @ change(sample) @ np.linalg.inv(roll), abs=1e-5)


def test_the_border_of_nyu_is_the_published_one(
    reference: Callable[[str], dict[str, Tensor]],
) -> None:
    top, bottom, left, right = reference('urcdc_metrics_schedule_crops')[
        'nyu_train_valid'
    ].tolist()
    source = plain(torch.rand(3, 480, 640), torch.ones(480, 640))
    kept = MaskBorder()(source, generator())
    rows, columns = torch.nonzero(kept.valid, as_tuple=True)
    assert (int(rows.min()), int(rows.max()) + 1) == (top, bottom)
    assert (int(columns.min()), int(columns.max()) + 1) == (left, right)
    assert bool(torch.isnan(kept.depth_m[~kept.valid]).all())
    assert kept.image is source.image
    half = MaskBorder()(plain(torch.rand(3, 240, 320), torch.ones(240, 320)), generator())
    rows, columns = torch.nonzero(half.valid, as_tuple=True)
    assert [int(rows.min()), int(rows.max())] == [23, 235]
    assert [int(columns.min()), int(columns.max())] == [22, 303]


def test_the_benchmark_window_is_one_for_all(
    reference: Callable[[str], dict[str, Tensor]],
) -> None:
    protocol = PROTOCOLS['kitti_window_garg_80m']
    assert protocol.window == KB_WINDOW == (352, 1216)
    top, left = reference('urcdc_metrics_schedule_crops')['kb_crop_375x1242'].tolist()
    assert protocol.window_origin(375, 1242) == (top, left)
    depth = torch.arange(375.0 * 1242.0).view(375, 1242) + 1.0
    window = BottomCentreCrop()(plain(torch.zeros(3, 375, 1242), depth), generator())
    assert window.depth_m.shape == KB_WINDOW
    assert float(window.depth_m[0, 0]) == top * 1242 + left + 1.0
    assert window.intrinsics[:2, 2].tolist() == [-left, -top]


def test_clean_copies_move_with_the_frames(sample: Sample) -> None:
    jittered = HueJitter(keep_clean=True)(sample, generator(2))
    assert jittered.clean_image is sample.image
    assert jittered.clean_neighbour_images is sample.neighbour_images
    again = HueJitter(keep_clean=True)(jittered, generator(3))
    assert again.clean_image is sample.image, 'the first copy is the clean one'
    flipped = HorizontalFlip(probability=1.0)(jittered, generator())
    assert flipped.clean_image is not None
    assert torch.equal(flipped.clean_image, sample.image.flip(-1))
    assert flipped.clean_neighbour_images is not None
    assert sample.neighbour_images is not None
    assert torch.equal(flipped.clean_neighbour_images, sample.neighbour_images.flip(-1))
    assert HueJitter()(sample, generator()).clean_image is None


@pytest.mark.parametrize('make', [lambda: CutFlip(low=0.9), lambda: CutFlip(probability=2.0)])
def test_settings_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()
