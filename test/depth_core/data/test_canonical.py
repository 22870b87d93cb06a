# SPDX-License-Identifier: Apache-2.0
"""Depth brought to one focal length, and back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from depth_core.data.augmentations import build_augmentation, loading_size
from depth_core.data.sample import Sample, collate
from depth_core.data.synthetic import SyntheticDataset
from depth_core.data.transforms import (
    CanonicalFocal,
    Compose,
    Crop,
    RandomZoom,
    Resize,
    mean_focal_px,
    metres_per_canonical,
)
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import intrinsics_from_matrix, unproject

CANONICAL_PX = 300.0


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(*, fx_px: float, fy_px: float, depth_m: float = 6.0, key: str = 'a') -> Sample:
    """A wall across the view of a camera, with a neighbour 0.5 m ahead."""
    matrix = torch.tensor([[fx_px, 0.0, 31.5], [0.0, fy_px, 23.5], [0.0, 0.0, 1.0]])
    ahead = torch.eye(4)
    ahead[2, 3] = 0.5
    return Sample(
        image=torch.zeros(3, 48, 64),
        depth_m=torch.full((48, 64), depth_m),
        valid=torch.ones(48, 64, dtype=torch.bool),
        intrinsics=matrix,
        key=key,
        pose=torch.eye(4),
        neighbour_poses=ahead[None],
        speed_mps=torch.tensor([5.0]),
    )


def through(hfov_deg: float, *, height: int = 48, width: int = 96) -> Sample:
    dataset = SyntheticDataset(
        seed=3, length=1, height=height, width=width, scenes='street_city', hfov_deg=hfov_deg
    )
    return dataset[0]


def test_distances_are_scaled_by_canonical_over_the_mean_focal_length() -> None:
    # f = (100 + 200) / 2 = 150, so that everything is 300 / 150 = 2 times as far.
    scaled = CanonicalFocal(focal_px=CANONICAL_PX)(plain(fx_px=100.0, fy_px=200.0), generator())
    assert torch.equal(scaled.depth_m, torch.full((48, 64), 12.0))
    assert scaled.neighbour_poses is not None
    assert scaled.speed_mps is not None
    assert scaled.neighbour_poses[0, :3, 3].tolist() == [0.0, 0.0, 1.0]
    assert torch.equal(scaled.neighbour_poses[0, :3, :3], torch.eye(3))
    assert scaled.speed_mps.tolist() == [10.0]
    assert torch.equal(scaled.intrinsics, plain(fx_px=100.0, fy_px=200.0).intrinsics)


@pytest.mark.parametrize('hfov_deg', [45.0, 60.0, 75.0, 90.0, 105.0, 120.0])
def test_cameras_of_45_to_120_degrees_come_back_exactly(hfov_deg: float) -> None:
    sample = through(hfov_deg)
    focal_px = 48.0 / math.tan(math.radians(hfov_deg) / 2.0)
    assert float(mean_focal_px(sample.intrinsics)) == pytest.approx(focal_px, rel=1e-6)
    there = CanonicalFocal(focal_px=CANONICAL_PX)(sample, generator())
    back_m = there.depth_m * metres_per_canonical(there, CANONICAL_PX)
    finite = torch.isfinite(sample.depth_m)
    assert torch.equal(torch.isposinf(back_m), torch.isposinf(sample.depth_m))
    torch.testing.assert_close(back_m[finite], sample.depth_m[finite], rtol=3e-7, atol=0.0)
    assert torch.equal(there.valid, sample.valid)
    assert float(there.depth_m[20, 40]) != float(sample.depth_m[20, 40])


def test_the_focal_length_after_resizing_and_cropping_counts() -> None:
    steps = Compose(
        (
            Resize(height=96, width=128),  # f 100 -> 200
            Crop(top=10, left=20, height=48, width=64),
            CanonicalFocal(focal_px=CANONICAL_PX),
        )
    )
    cut = steps(plain(fx_px=100.0, fy_px=100.0), generator())
    assert torch.equal(cut.depth_m, torch.full((48, 64), 9.0))  # 6 m * 300 / 200


def test_sky_and_unknown_depth_stay() -> None:
    sample = plain(fx_px=100.0, fy_px=100.0)
    sample.depth_m[0, 0], sample.depth_m[0, 1] = torch.inf, torch.nan
    scaled = CanonicalFocal(focal_px=CANONICAL_PX)(sample, generator())
    assert bool(torch.isposinf(scaled.depth_m[0, 0]))
    assert bool(torch.isnan(scaled.depth_m[0, 1]))


def test_samples_without_a_camera_are_refused_by_name() -> None:
    unknown = replace(
        plain(fx_px=1.0, fy_px=1.0, key='b'), intrinsics=torch.full((3, 3), torch.nan)
    )
    with pytest.raises(DataError, match=r'^b: no focal length is known.*intrinsics of every'):
        CanonicalFocal(focal_px=CANONICAL_PX)(unknown, generator())
    batch = collate([plain(fx_px=1.0, fy_px=1.0), unknown])
    with pytest.raises(DataError, match=r'^b: '):
        metres_per_canonical(batch, CANONICAL_PX)


def test_what_is_no_focal_length_or_zoom_is_refused() -> None:
    with pytest.raises(ConfigError, match='-3'):
        CanonicalFocal(focal_px=-3.0)
    with pytest.raises(ConfigError, match=r'0\.5'):
        RandomZoom(height=4, width=4, largest=0.5)


def test_a_zoomed_window_is_what_a_longer_lens_sees() -> None:
    sample = through(90.0, height=72, width=144)
    zoom = RandomZoom(height=48, width=96, largest=2.0)
    seen = [zoom(sample, generator(seed)) for seed in range(8)]
    focal_px = [float(mean_focal_px(item.intrinsics)) for item in seen]
    # 72 px at 144 columns: 48 to 96 px at 96 columns of all of it and of half of it.
    assert 47.5 <= min(focal_px) < max(focal_px) <= 97.0
    assert max(focal_px) > 1.3 * min(focal_px)
    for item in seen:
        assert item.image.shape == (3, 48, 96)
        camera = intrinsics_from_matrix(item.intrinsics.numpy(), height=48, width=96)
        points = unproject(item.depth_m.numpy(), camera)
        # The same world: the point a pixel shows lies where the whole image shows it.
        whole = sample.intrinsics.numpy()
        row, column = 30, 50
        x, y, z = points[row, column]
        u = round(float(whole[0, 0] * x / z + whole[0, 2]))
        v = round(float(whole[1, 1] * y / z + whole[1, 2]))
        near = sample.depth_m[v - 1 : v + 2, u - 1 : u + 2]
        assert bool((near == float(z)).any())


def test_canonical_depth_of_a_zoomed_window_is_nearer_by_the_zoom() -> None:
    steps = build_augmentation('zoom_jitter', height=48, width=64, canonical_focal_px=CANONICAL_PX)
    height, width = loading_size('zoom_jitter', height=48, width=64)
    assert (height, width) == (72, 96)
    source = plain(fx_px=100.0, fy_px=100.0)
    large = Resize(height=height, width=width)(source, generator())
    for seed in range(4):
        item = steps(large, generator(seed))
        focal_px = float(mean_focal_px(item.intrinsics))
        assert 99.0 <= focal_px <= 203.0
        depth = item.depth_m * metres_per_canonical(item, CANONICAL_PX)
        torch.testing.assert_close(depth, torch.full((48, 64), 6.0), rtol=1e-6, atol=0.0)


def test_zooming_is_refused_where_depth_stays_in_metres() -> None:
    with pytest.raises(ConfigError, match=r"'zoom_jitter' .* canonical_focal_px is not given"):
        build_augmentation('zoom_jitter', height=48, width=64)


def test_cutflip_comes_after_depth_is_canonical() -> None:
    steps = build_augmentation(
        'none', height=48, width=64, cutflip_probability=1.0, canonical_focal_px=CANONICAL_PX
    )
    sample = replace(
        plain(fx_px=100.0, fy_px=100.0), pose=None, neighbour_poses=None, speed_mps=None
    )
    cut = steps(sample, generator())
    assert bool(cut.intrinsics.isnan().all())
    assert torch.equal(cut.depth_m, torch.full((48, 64), 18.0))
