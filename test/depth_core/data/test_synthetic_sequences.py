# SPDX-License-Identifier: Apache-2.0
"""Synthetic sequences: time, speed, and cars that keep their place ahead of the camera."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from depth_core.data import open_dataset
from depth_core.data.sample import Sample
from depth_core.data.synthetic import FRAME_S, Pace, SyntheticDataset, SyntheticSequence
from depth_core.errors import ConfigError

CAR = 13


def streets(**changes: object) -> SyntheticDataset:
    settings = {
        'seed': 7,
        'length': 6,
        'height': 96,
        'width': 320,
        'scenes': 'outdoor',
        'camera': 'kitti',
        'neighbours': (-1, 1),
        **changes,
    }
    return SyntheticDataset(**settings)  # type: ignore[arg-type]  # one table of settings


def travelled(sample: Sample) -> list[float]:
    assert sample.pose is not None
    assert sample.neighbour_poses is not None
    ways = sample.neighbour_poses[:, :3, 3] - sample.pose[:3, 3]
    return [float(way) for way in ways.norm(dim=1)]


@pytest.mark.parametrize('scene', ['street_city', 'street_country', 'office'])
def test_speed_times_time_is_the_way_between_the_poses(scene: str) -> None:
    sample = streets(scenes=scene, neighbours=(-1, 1, 3), height=32, width=64)[1]
    assert sample.neighbour_dt_s is not None
    assert sample.speed_mps is not None
    assert sample.neighbour_dt_s.tolist() == pytest.approx([-FRAME_S, FRAME_S, 3 * FRAME_S])
    stated = (sample.speed_mps * sample.neighbour_dt_s.abs()).tolist()
    assert stated == pytest.approx(travelled(sample), rel=1e-4)


def test_without_neighbours_there_is_no_speed() -> None:
    sample = streets(neighbours=(), height=16, width=32)[0]
    assert sample.speed_mps is None
    assert sample.neighbour_dt_s is None


def test_a_drive_has_neighbours_and_speed_too() -> None:
    drive = SyntheticSequence(
        seed=3,
        scene='street_city',
        camera='kitti',
        height=32,
        width=64,
        rate_hz=20.0,
        neighbours=(-2, 1),
    )
    sample = drive.frame(5)
    assert sample.neighbour_dt_s is not None
    assert sample.neighbour_dt_s.tolist() == pytest.approx([-0.1, 0.05])
    assert sample.speed_mps is not None
    assert sample.speed_mps.tolist() == pytest.approx([drive.speed_mps] * 2, rel=1e-3)
    assert sample.neighbour_images is not None
    before, after = drive.frame(3), drive.frame(6)
    assert sample.neighbour_poses is not None
    assert before.pose is not None
    assert after.pose is not None
    assert torch.equal(sample.neighbour_poses, torch.stack([before.pose, after.pose]))
    # The camera meters at the frame and keeps its exposure for the neighbours.
    change = (sample.neighbour_images[1] - after.image).abs()
    assert float(change.max()) < 0.06


def in_view(pace: Tensor, sample: Sample) -> Tensor:
    assert sample.semantic is not None
    return (pace == Pace.WITH_CAMERA) & (sample.semantic == CAR) & (sample.depth_m < 20.0)


def test_a_leader_keeps_its_place_while_the_street_streams_by() -> None:
    dataset = streets(leaders=1.0)
    for index in range(2):
        sample, pace = dataset[index], dataset.pace(index)
        leader = in_view(pace, sample)
        assert int(leader.sum()) > 200
        assert float(sample.depth_m[leader].min()) > 6.0
        assert sample.neighbour_images is not None
        change = (sample.neighbour_images - sample.image).abs().mean(dim=(0, 1))
        standing = (pace == Pace.STANDING) & (sample.depth_m < 20.0)
        assert float(change[leader].median()) < 0.7 * float(change[standing].median())


def test_a_leader_stays_at_its_distance_for_a_whole_drive() -> None:
    drive = SyntheticSequence(
        seed=5, scene='street_country', camera='kitti', height=96, width=320, leaders=1.0
    )
    without = SyntheticSequence(
        seed=5, scene='street_country', camera='kitti', height=96, width=320
    )
    nearest = []
    for index in (0, 40, 400):
        sample, bare = drive.frame(index), without.frame(index)
        assert sample.semantic is not None
        added = (sample.depth_m < bare.depth_m - 1.0) & (sample.semantic == CAR)
        assert int(added.sum()) > 100
        nearest.append(float(sample.depth_m[added].median()))
    # The suspension sways a little.
    assert nearest == pytest.approx([nearest[0]] * 3, rel=0.02)


def test_paces_tell_what_moves() -> None:
    dataset = streets(scenes='street_city', neighbours=())
    seen = set()
    for index in range(4):
        sample, pace = dataset[index], dataset.pace(index)
        assert pace.shape == (96, 320)
        assert pace.dtype == torch.int64
        assert sample.semantic is not None
        seen |= set(pace.unique().tolist())
        moving = sample.semantic[pace != Pace.STANDING].unique().tolist()
        assert set(moving) <= {11, 13, 14, 15}, 'people, cars, trucks and buses'
        assert not bool((pace[~sample.valid] != Pace.STANDING).any())
    assert seen == {0, 1, 2}
    assert not bool(streets(scenes='office').pace(0).any())
    with pytest.raises(IndexError, match='index 6'):
        dataset.pace(6)


def test_scenes_without_a_leader_stay_as_they_were() -> None:
    small = {'height': 16, 'width': 32, 'neighbours': ()}
    plain, some = streets(**small), streets(**small, leaders=0.5)
    same = [torch.equal(plain[index].image, some[index].image) for index in range(6)]
    assert 0 < sum(same) < 6
    rooms = streets(scenes='indoor', height=32, width=64, leaders=1.0)
    assert torch.equal(rooms[0].image, streets(scenes='indoor', height=32, width=64)[0].image), (
        'nobody drives in a room'
    )


def test_leaders_are_an_option_by_name() -> None:
    dataset = open_dataset(
        'synthetic',
        height=32,
        width=64,
        seed=1,
        length=2,
        scenes='outdoor',
        neighbours=[-1, 1],
        leaders=1.0,
    )
    assert isinstance(dataset, SyntheticDataset)
    assert dataset[0].speed_mps is not None
    assert not math.isnan(float(dataset[0].speed_mps[0]))
    with pytest.raises(ConfigError, match=r'leaders=2.0 is no share'):
        streets(leaders=2.0)
