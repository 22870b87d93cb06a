# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from depth_core.data.sample import Sample
from depth_core.data.synthetic import SyntheticDataset
from depth_core.data.transforms import (
    CHANNEL_ORDERS,
    CenterCrop,
    ChannelPermutation,
    ColourJitter,
    Compose,
    Crop,
    HorizontalFlip,
    RandomCrop,
    Resize,
    Transform,
    Transformed,
    densedepth_augmentation,
)
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import (
    crop_intrinsics,
    intrinsics_from_matrix,
    resize_intrinsics,
    unproject,
)

pytestmark = pytest.mark.numeric


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope='module')
def sample() -> Sample:
    """A street with everything a sample can carry, 48 x 160."""
    return SyntheticDataset(
        seed=1,
        length=4,
        height=48,
        width=160,
        scenes='street_city',
        camera='kitti',
        neighbours=(-1, 1),
    )[0]


def assert_same(first: Sample, second: Sample) -> None:
    for item in fields(Sample):
        one, two = getattr(first, item.name), getattr(second, item.name)
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two, item.name


def points(sample: Sample) -> torch.Tensor:
    """[H, W, 3] points in the camera frame."""
    height, width = sample.depth_m.shape
    camera = intrinsics_from_matrix(sample.intrinsics.numpy(), height=height, width=width)
    return torch.from_numpy(unproject(sample.depth_m.numpy(), camera))


def test_resize_moves_everything_together(sample: Sample) -> None:
    small = Resize(height=24, width=40)(sample, generator())
    assert small.image.shape == (3, 24, 40)
    assert small.depth_m.shape == small.valid.shape == (24, 40)
    assert small.semantic is not None
    assert small.semantic.shape == (24, 40)
    assert small.semantic.dtype == torch.int64
    assert small.neighbour_images is not None
    assert small.neighbour_images.shape == (2, 3, 24, 40)
    camera = intrinsics_from_matrix(sample.intrinsics.numpy(), height=48, width=160)
    expected = resize_intrinsics(camera, height=24, width=40).matrix
    assert small.intrinsics.numpy() == pytest.approx(expected, rel=1e-5)
    assert small.pose is sample.pose


def test_resizing_moves_the_camera_as_packnet_scales_it(
    reference: Callable[[str], dict[str, torch.Tensor]],
) -> None:
    arrays = reference('packnet_losses')
    for matrix, expected in zip(arrays['K'], arrays['scale_intrinsics_half'], strict=True):
        whole = Sample(
            image=torch.zeros(3, 24, 40),
            depth_m=torch.ones(24, 40),
            valid=torch.ones(24, 40, dtype=torch.bool),
            intrinsics=matrix,
            key='k',
        )
        half = Resize(height=12, width=20)(whole, generator())
        assert torch.allclose(half.intrinsics, expected, rtol=1e-6)


def test_resize_averages_images_and_picks_depth() -> None:
    depth = torch.tensor([[1.0, 5.0, torch.inf, 7.0]]).repeat(4, 1)
    image = torch.tensor([[0.0, 1.0, 0.0, 1.0]]).repeat(3, 4, 1)
    tiny = Sample(
        image=image,
        depth_m=depth,
        valid=torch.isfinite(depth),
        intrinsics=torch.eye(3),
        key='t',
    )
    half = Resize(height=2, width=2)(tiny, generator())
    assert half.image[0, 0].tolist() == pytest.approx([0.43, 0.57], abs=0.08)
    assert set(half.depth_m.flatten().tolist()) <= {1.0, 5.0, 7.0, float('inf')}
    assert torch.equal(half.valid, torch.isfinite(half.depth_m))


def test_crop_keeps_the_points_of_its_pixels(sample: Sample) -> None:
    window = Crop(top=20, left=30, height=16, width=50)(sample, generator())
    whole = points(sample)[20:36, 30:80]
    assert torch.allclose(points(window), whole, rtol=1e-4, atol=1e-4, equal_nan=True)
    camera = intrinsics_from_matrix(sample.intrinsics.numpy(), height=48, width=160)
    expected = crop_intrinsics(camera, top=20, left=30, height=16, width=50).matrix
    assert window.intrinsics.numpy() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(window.image, sample.image[:, 20:36, 30:80])
    assert window.neighbour_images is not None
    assert sample.neighbour_images is not None
    assert torch.equal(window.neighbour_images, sample.neighbour_images[..., 20:36, 30:80])


def test_center_crop_is_in_the_middle(sample: Sample) -> None:
    window = CenterCrop(height=16, width=50)(sample, generator())
    assert_same(window, Crop(top=16, left=55, height=16, width=50)(sample, generator()))


def test_random_crop_reaches_every_place(sample: Sample) -> None:
    draw = generator()
    seen = {
        (
            round(float(sample.intrinsics[0, 2] - window.intrinsics[0, 2])),
            round(float(sample.intrinsics[1, 2] - window.intrinsics[1, 2])),
        )
        for window in (RandomCrop(height=46, width=158)(sample, draw) for _ in range(120))
    }
    assert seen == {(left, top) for left in range(3) for top in range(3)}


@pytest.mark.parametrize('top', [-1, 40])
def test_a_crop_that_leaves_the_image_is_refused(sample: Sample, top: int) -> None:
    with pytest.raises(DataError, match='leaves the image of 48x160'):
        Crop(top=top, left=0, height=16, width=16)(sample, generator())
    with pytest.raises(DataError, match='resize first'):
        RandomCrop(height=64, width=16)(sample, generator())


def test_a_mirrored_sample_is_a_mirrored_world(sample: Sample) -> None:
    flipped = HorizontalFlip(probability=1.0)(sample, generator())
    mirror = torch.tensor((-1.0, 1.0, 1.0))
    expected = points(sample).flip(1) * mirror
    assert torch.allclose(points(flipped), expected, rtol=1e-4, atol=1e-3, equal_nan=True)
    assert torch.equal(flipped.image, sample.image.flip(-1))
    assert_same(HorizontalFlip(probability=1.0)(flipped, generator()), sample)


def test_mirroring_keeps_the_warp_between_frames(sample: Sample) -> None:
    flipped = HorizontalFlip(probability=1.0)(sample, generator())
    mirror = np.diag((-1.0, 1.0, 1.0, 1.0))

    def change(item: Sample) -> np.ndarray:
        assert item.pose is not None
        assert item.neighbour_poses is not None
        pose, other = item.pose.double().numpy(), item.neighbour_poses[1].double().numpy()
        return np.asarray(np.linalg.inv(other) @ pose)

    # A point, mirrored and moved, must be the point moved and mirrored.
    assert change(flipped) == pytest.approx(mirror @ change(sample) @ mirror, abs=1e-6)
    rotation = change(flipped)[:3, :3]
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_mirroring_happens_as_often_as_asked(sample: Sample) -> None:
    draw = generator()
    flip = HorizontalFlip(probability=0.25)
    share = np.mean([flip(sample, draw) is not sample for _ in range(2000)])
    assert share == pytest.approx(0.25, abs=0.04)


def test_colour_jitter_changes_all_frames_alike_and_nothing_else(sample: Sample) -> None:
    same = replace(sample, neighbour_images=sample.image[None].repeat(2, 1, 1, 1))
    jittered = ColourJitter()(same, generator(3))
    assert not torch.equal(jittered.image, sample.image)
    assert 0.0 <= float(jittered.image.min()) <= float(jittered.image.max()) <= 1.0
    assert jittered.neighbour_images is not None
    assert torch.equal(jittered.neighbour_images[1], jittered.image)
    unchanged = replace(jittered, image=same.image, neighbour_images=same.neighbour_images)
    assert_same(unchanged, same)


def test_colour_jitter_of_nothing_changes_nothing(sample: Sample) -> None:
    none = ColourJitter(brightness=0.0, contrast=0.0, gamma=0.0, saturation=0.0)
    assert torch.allclose(none(sample, generator()).image, sample.image, atol=1e-6)
    assert ColourJitter(probability=0.0)(sample, generator()) is sample


def test_brightness_by_hand(sample: Sample) -> None:
    dim = replace(sample, image=torch.full((3, 48, 160), 0.5))
    seen = []
    for seed in range(200):
        jitter = ColourJitter(brightness=0.2, contrast=0.0, gamma=0.0, saturation=0.0)
        seen.append(float(jitter(dim, generator(seed)).image[0, 0, 0]))
    assert min(seen) == pytest.approx(0.4, abs=0.01)
    assert max(seen) == pytest.approx(0.6, abs=0.01)


def test_channels_are_permuted_with_the_published_probabilities() -> None:
    colours = torch.tensor((0.1, 0.2, 0.3))[:, None, None].expand(3, 2, 2)
    one = Sample(
        image=colours,
        depth_m=torch.ones(2, 2),
        valid=torch.ones(2, 2, dtype=torch.bool),
        intrinsics=torch.eye(3),
        key='c',
    )
    draw = generator()
    orders = [tuple(ChannelPermutation()(one, draw).image[:, 0, 0].tolist()) for _ in range(7000)]
    counts = {order: orders.count(order) / 7000 for order in set(orders)}
    assert len(CHANNEL_ORDERS) == 7
    assert len(counts) == 6
    identity = counts.pop(tuple(colours[:, 0, 0].tolist()))
    assert identity == pytest.approx(1.0 - 0.5 * 5.0 / 7.0, abs=0.02)
    assert list(counts.values()) == pytest.approx([0.5 / 7.0] * 5, abs=0.012)


ALL: tuple[Transform, ...] = (
    Resize(height=32, width=100),
    RandomCrop(height=32, width=100),
    HorizontalFlip(),
    ColourJitter(probability=0.5),
    ChannelPermutation(),
    densedepth_augmentation(),
    Compose((ColourJitter(), RandomCrop(height=40, width=120), HorizontalFlip())),
)


@pytest.mark.parametrize('transform', ALL, ids=lambda item: type(item).__name__)
def test_the_generator_alone_decides_and_the_input_stays(
    sample: Sample, transform: Transform
) -> None:
    before = replace(
        sample,
        image=sample.image.clone(),
        depth_m=sample.depth_m.clone(),
        intrinsics=sample.intrinsics.clone(),
    )
    for seed in range(4):
        first = transform(sample, generator(seed))
        assert_same(first, transform(sample, generator(seed)))
    assert_same(sample, before)


@pytest.mark.parametrize('transform', ALL, ids=lambda item: type(item).__name__)
def test_samples_with_nothing_optional_are_transformed_too(
    sample: Sample, transform: Transform
) -> None:
    bare = replace(
        sample,
        pose=None,
        semantic=None,
        scene_class=None,
        neighbour_images=None,
        neighbour_poses=None,
    )
    result = transform(bare, generator())
    assert result.pose is None
    assert result.semantic is None
    assert result.neighbour_images is None


def test_transformed_dataset_is_a_function_of_seed_and_index() -> None:
    source = SyntheticDataset(
        seed=1, length=3, height=32, width=64, scenes='bedroom', camera='vga'
    )
    augmented = Transformed(source, ColourJitter(), seed=4)
    assert len(augmented) == 3
    assert_same(augmented[1], augmented[1])
    assert_same(augmented[-1], augmented[2])
    assert not torch.equal(augmented[1].image, source[1].image)
    other = Transformed(source, ColourJitter(), seed=5)
    assert not torch.equal(augmented[1].image, other[1].image)


@pytest.mark.parametrize(
    'make',
    [
        lambda: HorizontalFlip(probability=1.5),
        lambda: ChannelPermutation(probability=-0.1),
        lambda: ColourJitter(gamma=2.0),
        lambda: Resize(height=0, width=5),
    ],
)
def test_settings_out_of_range_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError):
        make()
