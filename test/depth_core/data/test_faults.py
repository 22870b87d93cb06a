# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from depth_core.data.augmentations import build_augmentation, loading_size
from depth_core.data.sample import Sample
from depth_core.data.transforms import CameraFaults
from depth_core.data.transforms.faults import motion_kernel
from depth_core.errors import ConfigError


def sample(value: float = 0.5, height: int = 24, width: int = 32) -> Sample:
    return Sample(
        image=torch.full((3, height, width), value),
        depth_m=torch.full((height, width), 2.0),
        valid=torch.ones(height, width, dtype=torch.bool),
        intrinsics=torch.tensor([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]]),
        key='grey',
    )


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(**changes: float) -> CameraFaults:
    """Nothing but what is asked for."""
    off = {
        'exposure_stops': 0.0, 'balance': 0.0, 'glare': 0.0, 'blur_px': 1.0, 'defocus_px': 0.0,
        'noise': 0.0, 'vignette': 0.0, 'tone': 0.0, 'lowest_quality': 95,
    }  # fmt: skip
    return CameraFaults(probability=1.0, **{**off, **changes})  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_image_and_depth_stays() -> None:
    source, faults = sample(), CameraFaults(probability=1.0)
    first, again, other = (faults(source, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert first.depth_m is source.depth_m
    assert first.valid is source.valid
    assert float(first.image.min()) >= 0.0
    assert float(first.image.max()) <= 1.0


def test_nothing_happens_at_probability_0_without_tone() -> None:
    source = sample(0.4)
    spoilt = CameraFaults(probability=0.0, tone=0.0)(source, generator(1))
    assert torch.allclose(spoilt.image, source.image, atol=0.5 / 255.0)


def test_two_stops_of_light_burn_out_what_was_half_bright() -> None:
    images = [only(exposure_stops=4.0)(sample(), generator(seed)).image for seed in range(12)]
    means = [float(image.mean()) for image in images]
    assert min(means) < 0.35
    assert max(means) == 1.0


def test_corners_lose_light_and_the_middle_does_not() -> None:
    images = [only(vignette=1.0)(sample(), generator(seed)).image for seed in range(4)]
    assert all(float(image[0, 12, 16]) > 0.48 for image in images)
    assert min(float(image[0, 0, 0]) for image in images) < 0.3


def test_neighbours_have_the_same_faults_and_other_noise() -> None:
    source = replace(sample(), neighbour_images=torch.full((2, 3, 24, 32), 0.5))
    spoilt = only(noise=0.2)(source, generator(2))
    assert spoilt.neighbour_images is not None
    assert not torch.equal(spoilt.neighbour_images[0], spoilt.neighbour_images[1])
    still = only(vignette=0.5)(source, generator(2))
    assert still.neighbour_images is not None
    assert torch.equal(still.neighbour_images[0], still.image)


def test_motion_blurs_along_its_line() -> None:
    across = motion_kernel(5.0, 0.0)
    assert across.shape == (7, 7)
    assert float(across.sum()) == pytest.approx(1.0)
    assert np.count_nonzero(across.sum(1)) == 1
    assert np.count_nonzero(motion_kernel(5.0, 0.5 * math.pi).sum(0)) == 1


def test_the_augmentations_by_name() -> None:
    assert loading_size('zoom_faults', height=16, width=24) == (24, 36)
    zoomed = build_augmentation('zoom_faults', height=16, width=24, canonical_focal_px=30.0)
    assert zoomed(sample(), generator(0)).image.shape == (3, 16, 24)
    with pytest.raises(ConfigError, match='canonical_focal_px'):
        build_augmentation('zoom_faults', height=16, width=24)
