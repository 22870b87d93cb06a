# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.data.synthetic import (
    CAMERAS,
    FRAME_S,
    SCENE_CLASSES,
    SyntheticDataset,
    SyntheticSequence,
)
from depth_core.data.synthetic.rendering.sensor import Sensor
from depth_core.errors import ConfigError
from depth_core.geometry import intrinsics_from_matrix, resize_intrinsics, unproject
from depth_core.losses.photometric import photometric_map
from depth_core.losses.view_synthesis import synthesised

SKY, POLE, CAR, BUS = 10, 5, 13, 15
CITYSCAPES_IDS = {*range(19), 255}


def small(**changes: object) -> SyntheticDataset:
    settings = {'seed': 5, 'length': 24, 'height': 96, 'width': 320, **changes}
    return SyntheticDataset(**settings)  # type: ignore[arg-type]  # one table of settings


def assert_same(first: Sample, second: Sample) -> None:
    assert first.key == second.key
    for name in ('image', 'depth_m', 'valid', 'intrinsics', 'pose', 'semantic', 'scene_class'):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def identity(sample: Any) -> Any:
    return sample


def test_sample_has_every_field_with_its_shape_and_range() -> None:
    dataset: DepthDataset = small(neighbours=(-1, 1, 2))
    sample = dataset[3]
    assert sample.image.shape == (3, 96, 320)
    assert sample.image.dtype == torch.float32
    assert 0.0 <= float(sample.image.min()) <= float(sample.image.max()) <= 1.0
    assert sample.depth_m.shape == sample.valid.shape == (96, 320)
    assert sample.semantic is not None
    assert sample.semantic.shape == (96, 320)
    assert set(sample.semantic.unique().tolist()) <= CITYSCAPES_IDS
    assert sample.scene_class is not None
    assert 0 <= int(sample.scene_class) < len(SCENE_CLASSES)
    assert sample.neighbour_images is not None
    assert sample.neighbour_images.shape == (3, 3, 96, 320)
    assert sample.neighbour_poses is not None
    assert sample.neighbour_poses.shape == (3, 4, 4)
    assert collate([sample, dataset[4]]).neighbour_images is not None


def test_images_are_in_steps_of_a_camera() -> None:
    codes = small()[0].image * 255.0
    assert torch.allclose(codes, codes.round(), atol=1e-4)


def test_a_sample_does_not_depend_on_order_or_instance() -> None:
    forward = [small()[index] for index in range(4)]
    dataset = small()
    backward = [dataset[index] for index in reversed(range(4))][::-1]
    for first, second in zip(forward, backward, strict=True):
        assert_same(first, second)


def test_a_sample_does_not_depend_on_the_process() -> None:
    dataset = small()
    loader: DataLoader[Sample] = DataLoader(
        dataset,  # type: ignore[arg-type]  # torch names a class where it needs two methods
        batch_size=None,
        num_workers=2,
        collate_fn=identity,
    )
    for index, sample in enumerate(loader):
        assert_same(sample, dataset[index])
        if index == 5:
            break


def test_a_sample_does_not_depend_on_the_number_of_threads() -> None:
    # Large enough for torch to share the work out.
    datasets = [small(scenes=name, height=128, width=416) for name in ('indoor', 'outdoor')]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [dataset[0] for dataset in datasets]
        torch.set_num_threads(2)
        shared = [dataset[0] for dataset in datasets]
    finally:
        torch.set_num_threads(threads)
    for first, second in zip(alone, shared, strict=True):
        assert_same(first, second)


def test_seed_and_index_both_matter() -> None:
    dataset = small()
    assert not torch.equal(dataset[0].image, dataset[1].image)
    assert not torch.equal(dataset[0].image, small(seed=6)[0].image)
    assert_same(dataset[-1], dataset[23])
    with pytest.raises(IndexError, match='24'):
        dataset[24]


def test_a_field_of_view_gives_square_pixels_and_the_same_scenes() -> None:
    seen = {view: small(hfov_deg=view)[3] for view in (60.0, 90.0)}
    assert torch.equal(
        seen[90.0].intrinsics,
        torch.tensor([[160.0, 0.0, 159.5], [0.0, 160.0, 47.5], [0.0, 0.0, 1.0]]),
    )
    assert float(seen[60.0].intrinsics[0, 0]) == pytest.approx(160.0 * 3.0**0.5, rel=1e-6)
    poses, classes = (
        [getattr(sample, name) for sample in seen.values()] for name in ('pose', 'scene_class')
    )
    assert torch.equal(*poses)
    assert torch.equal(*classes)
    drawn = [float(small(hfov_deg=[60.0, 90.0])[index].intrinsics[0, 0]) for index in range(4)]
    assert len(set(drawn)) == 4
    assert all(160.0 <= focal_px <= 277.2 for focal_px in drawn)


@pytest.mark.parametrize('hfov_deg', [180.0, 0.0, (90.0, 60.0), (60.0, 70.0, 80.0), 'wide'])
def test_what_is_no_field_of_view_is_refused(hfov_deg: object) -> None:
    with pytest.raises(ConfigError, match='hfov_deg='):
        small(hfov_deg=hfov_deg)


def test_sky_is_infinitely_far_and_not_valid() -> None:
    seen = 0
    for index in range(6):
        sample = small(scenes='outdoor', camera='kitti')[index]
        assert sample.semantic is not None
        sky = sample.semantic == SKY
        assert torch.equal(sky, torch.isposinf(sample.depth_m))
        assert torch.equal(sample.valid, ~sky)
        seen += int(sky.sum())
    assert seen > 1000


def test_rooms_are_closed_and_near() -> None:
    for index in range(6):
        sample = small(scenes='indoor', camera='nyu')[index]
        assert bool(sample.valid.all())
        assert float(sample.depth_m.min()) > 0.05
        assert float(sample.depth_m.max()) < 30.0


def test_thin_poles_are_there() -> None:
    widths = []
    for index in range(12):
        labels = small(scenes='outdoor', camera='kitti', height=192, width=640)[index].semantic
        assert labels is not None
        for row in (labels == POLE).numpy():
            edges = np.flatnonzero(np.diff(np.concatenate(([0], row, [0]))))
            widths += (edges[1::2] - edges[::2]).tolist()
    assert widths
    assert np.median(widths) <= 8


def test_every_scene_class_can_be_asked_for() -> None:
    for number, name in enumerate(SCENE_CLASSES):
        sample = small(scenes=name, height=32, width=64)[0]
        assert int(sample.scene_class if sample.scene_class is not None else -1) == number


@pytest.mark.parametrize('name', sorted(CAMERAS))
def test_intrinsics_are_those_of_the_camera_at_the_size_asked_for(name: str) -> None:
    sample = small(camera=name, height=60, width=100)[0]
    expected = resize_intrinsics(CAMERAS[name], height=60, width=100).matrix
    assert sample.intrinsics.numpy() == pytest.approx(expected, rel=1e-6)


def test_mixed_cameras_differ_from_sample_to_sample() -> None:
    dataset = small(height=32, width=64)
    focal = {round(float(dataset[index].intrinsics[0, 0]), 3) for index in range(24)}
    assert len(focal) >= 3


def agreement(sample: Sample, other: Sample) -> float:
    """Share of standing, upright surfaces found at the depth the two poses say, within 3 %."""
    assert sample.pose is not None
    assert other.pose is not None
    assert sample.semantic is not None
    camera = intrinsics_from_matrix(sample.intrinsics.numpy(), height=96, width=320)
    points = unproject(sample.depth_m.numpy(), camera).reshape(-1, 3).astype(np.float64)
    upright = ((sample.semantic > 1) & (sample.semantic < 9)) | (sample.semantic == 255)
    points = points[(upright & sample.valid).numpy().ravel()]
    change = np.linalg.inv(other.pose.double().numpy()) @ sample.pose.double().numpy()
    moved = points @ change[:3, :3].T + change[:3, 3]
    ahead = moved[(moved[:, 2] > 0.5) & (moved[:, 2] < 40.0)]
    u = np.rint(camera.fx_px * ahead[:, 0] / ahead[:, 2] + camera.cx_px).astype(int)
    v = np.rint(camera.fy_px * ahead[:, 1] / ahead[:, 2] + camera.cy_px).astype(int)
    inside = (u >= 0) & (u < 320) & (v >= 0) & (v < 96)
    assert inside.sum() > 500
    rendered = other.depth_m.numpy()[v[inside], u[inside]]
    return float((np.abs(ahead[inside, 2] / rendered - 1.0) < 0.03).mean())


@pytest.mark.parametrize('scene', ['street_country', 'street_city', 'living_room', 'office'])
def test_standing_things_reappear_where_the_poses_say(scene: str) -> None:
    drive = SyntheticSequence(seed=2, scene=scene, camera='kitti', height=96, width=320)
    first, later = drive.frame(0), drive.frame(4)
    right = agreement(first, later)
    assert right > 0.8
    assert agreement(first, replace(later, pose=first.pose)) < right - 0.3


def test_neighbours_are_the_frames_of_the_same_scene() -> None:
    dataset = small(scenes='street_city', camera='kitti', neighbours=(0, 1))
    sample = dataset[1]
    assert sample.neighbour_images is not None
    assert sample.neighbour_poses is not None
    assert torch.equal(sample.neighbour_images[0], sample.image)
    assert sample.pose is not None
    assert torch.equal(sample.neighbour_poses[0], sample.pose)
    step = torch.linalg.norm(sample.neighbour_poses[1][:3, 3] - sample.pose[:3, 3])
    assert 1.9 * FRAME_S < float(step) < 12.1 * FRAME_S
    assert not torch.equal(sample.neighbour_images[1], sample.image)


def test_a_drive_goes_on_for_ever() -> None:
    drive = SyntheticSequence(seed=4, scene='street_city', camera='kitti', height=96, width=320)
    late = drive.frame(5000)
    assert late.semantic is not None
    assert_same(late, drive.frame(5000))
    things = (late.semantic >= 2) & (late.semantic != SKY) & late.valid
    assert float(things.float().mean()) > 0.1
    assert drive.scene_class == 'street_city'


def test_a_walk_stays_in_its_room() -> None:
    walk = SyntheticSequence(seed=4, scene='living_room', camera='vga', height=48, width=64)
    depths = [walk.frame(index).depth_m for index in (0, 40, 900)]
    assert all(bool(torch.isfinite(depth).all()) for depth in depths)
    assert all(float(depth.median()) < 15.0 for depth in depths)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'scenes': 'street_citty'}, 'street_city'),
        ({'camera': 'kiti'}, 'kitti'),
        ({'height': 0}, '0x320'),
        ({'length': 0}, 'length 0'),
        ({'supersampling': 2}, 'supersampling=2'),
        ({'supersampling': 0}, 'supersampling=0'),
    ],
)
def test_wrong_settings_are_answered(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_a_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ConfigError, match='-1'):
        SyntheticSequence(seed=0, rate_hz=-1.0)


def test_more_rays_change_the_light_of_a_pixel_and_not_its_depth() -> None:
    size = {'height': 32, 'width': 96, 'scenes': 'street_city', 'camera': 'kitti'}
    one, nine = small(**size)[0], small(**size, supersampling=3)[0]
    assert one.semantic is not None
    assert nine.semantic is not None
    # Rays of two ways to the same pixel centre: rounding may tip one over an edge.
    assert torch.eq(one.depth_m, nine.depth_m).float().mean() > 0.995
    assert torch.eq(one.semantic, nine.semantic).float().mean() > 0.995
    assert torch.equal(one.intrinsics, nine.intrinsics)
    assert not torch.equal(one.image, nine.image)


def test_a_smaller_copy_of_a_finer_sensor_has_less_noise() -> None:
    sensor = Sensor(noise=0.02, vignette=0.0)
    grey = torch.full((3, 64, 64), 0.2)
    noise = {
        across: float(sensor.expose(grey, 1.0, 7, pixels_across=across).std()) for across in (1, 3)
    }
    assert noise[3] == pytest.approx(noise[1] / 3, rel=0.05)  # both are rounded to 1/255


def test_more_rays_let_the_true_depth_explain_the_neighbouring_frames_better() -> None:
    errors = {}
    for rays in (1, 3):
        data = small(
            height=64, width=192, scenes='street_residential', camera='kitti',
            neighbours=(1,), supersampling=rays,
        )  # fmt: skip
        batch = collate([data[index] for index in range(4)])
        assert batch.pose is not None
        assert batch.neighbour_images is not None
        assert batch.neighbour_poses is not None
        depth_m = torch.where(batch.valid, batch.depth_m, 200.0).unsqueeze(1)
        to_neighbour = torch.linalg.inv(batch.neighbour_poses[:, 0]) @ batch.pose
        seen, inside = synthesised(
            batch.neighbour_images[:, 0], depth_m, batch.intrinsics, to_neighbour
        )
        error = photometric_map(seen, batch.image)
        errors[rays] = float(error[inside].mean())
    assert errors[3] < 0.6 * errors[1]
