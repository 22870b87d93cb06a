# SPDX-License-Identifier: Apache-2.0
"""Neighbours, speed and poses of KITTI raw, the window of its benchmark, and filters."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_core.data import collate, open_dataset
from depth_core.data.augmentations import build_augmentation
from depth_core.data.cache import cached
from depth_core.data.kitti.dataset import KittiDataset
from depth_core.data.kitti.motion import mean_speed, read_timestamps, speed_at
from depth_core.data.kitti.split import KittiFrame, read_excluded
from depth_core.data.mix import open_mix
from depth_core.data.sample import Sample
from depth_core.data.transforms import Transformed
from depth_core.errors import ConfigError, DataError

HEIGHT, WIDTH, F_PX = 360, 1220, 700.0
DAY, DRIVE = '2011_09_26', '2011_09_26_drive_0001_sync'
SPEEDS_MPS = (10.0, 10.0, 12.0, 0.2, 0.0, 10.0)
NORTH = 0.5 * math.pi

CAMERAS = f"""S_rect_02: {WIDTH} {HEIGHT}
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: {F_PX} 0 600 0 0 {F_PX} 180 0 0 0 1 0
"""
# Optical axes from those of lidar and inertial unit (x ahead, y left, z up), half a metre apart.
LIDAR = 'R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n'
INERTIAL = 'R: 1 0 0 0 1 0 0 0 1\nT: 0.5 0 0\n'


def write_oxts(drive: Path, frame: int, *, speed_mps: float, north_m: float) -> None:
    values = np.zeros(30)
    # One degree of latitude is this far on the sphere of the development kit, near the equator.
    values[0] = math.degrees(north_m / 6378137.0)
    values[5], values[8] = NORTH, speed_mps
    (drive / 'oxts/data').mkdir(parents=True, exist_ok=True)
    (drive / f'oxts/data/{frame:010d}.txt').write_text(' '.join(f'{item:.12g}' for item in values))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six frames of a drive to the north, ten metres a second."""
    drive = tmp_path / DAY / DRIVE
    (drive / 'image_02/data').mkdir(parents=True)
    (tmp_path / DAY / 'calib_cam_to_cam.txt').write_text(CAMERAS)
    (tmp_path / DAY / 'calib_velo_to_cam.txt').write_text(LIDAR)
    (tmp_path / DAY / 'calib_imu_to_velo.txt').write_text(INERTIAL)
    for frame, speed_mps in enumerate(SPEEDS_MPS):
        image = np.full((HEIGHT, WIDTH, 3), 20 * frame, np.uint8)
        assert cv2.imwrite(str(drive / f'image_02/data/{frame:010d}.png'), image)
        write_oxts(drive, frame, speed_mps=speed_mps, north_m=1.0 * frame)
    write_stamps(drive, [0.1 * frame for frame in range(6)])
    return tmp_path


def write_stamps(drive: Path, seconds: list[float]) -> None:
    lines = [f'2011-09-26 13:02:{25.0 + item:012.9f}' for item in seconds]
    (drive / 'image_02/timestamps.txt').write_text('\n'.join(lines) + '\n')


def opened(root: Path, **options: object) -> KittiDataset:
    settings = {'height': 24, 'width': 80, 'ground_truth': 'none', 'neighbours': [-1, 1]}
    dataset = open_dataset('kitti', root=root, **(settings | options))  # type: ignore[arg-type]  # one table of settings
    assert isinstance(dataset, KittiDataset)
    return dataset


def grey(sample: Sample) -> list[int]:
    """The code of the frame and of its neighbours."""
    assert sample.neighbour_images is not None
    images = [sample.image, *sample.neighbour_images]
    return [round(float(image.mean()) * 255.0) for image in images]


def test_neighbours_come_with_time_speed_and_poses(root: Path) -> None:
    dataset = opened(root, poses=True)
    assert [frame.frame for frame in dataset.frames] == [1, 2, 3, 4]
    sample = dataset[1]
    assert grey(sample) == [40, 20, 60]
    assert sample.neighbour_images is not None
    assert sample.neighbour_images.shape == (2, 3, 24, 80)
    assert sample.neighbour_dt_s is not None
    assert sample.neighbour_dt_s.tolist() == pytest.approx([-0.1, 0.1])
    assert sample.speed_mps is not None
    assert sample.speed_mps.tolist() == pytest.approx([11.0, 6.1]), 'means on the way'
    assert not sample.valid.any()
    assert sample.pose is not None
    assert sample.neighbour_poses is not None
    # East, north, up after the first frame; the camera looks north, half a metre behind.
    np.testing.assert_allclose(sample.pose[:3, 3], [0.0, 2.0 - 0.5, 0.0], atol=1e-4)
    np.testing.assert_allclose(sample.neighbour_poses[1, :3, 3], [0.0, 2.5, 0.0], atol=1e-4)
    np.testing.assert_allclose(
        sample.pose[:3, :3], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], atol=1e-6
    )
    batch = collate([dataset[0], sample])
    assert batch.speed_mps is not None
    assert batch.speed_mps.shape == (2, 2)
    assert batch.neighbour_poses is not None


def test_other_offsets_in_their_order(root: Path) -> None:
    dataset = opened(root, neighbours=[2, -1])
    assert [frame.frame for frame in dataset.frames] == [1, 2, 3]
    assert grey(dataset[0]) == [20, 60, 0]
    assert dataset[0].neighbour_dt_s is not None
    assert dataset[0].neighbour_dt_s.tolist() == pytest.approx([0.2, -0.1])


def test_without_neighbours_nothing_is_added(root: Path) -> None:
    sample = opened(root, neighbours=[])[0]
    assert sample.neighbour_images is None
    assert sample.speed_mps is None
    assert sample.pose is None
    with pytest.raises(ConfigError, match='poses are those of a sequence, but no neighbours'):
        opened(root, neighbours=[], poses=True)


def test_frames_beside_a_missing_file_or_a_gap_are_left_out(root: Path) -> None:
    drive = root / DAY / DRIVE
    write_stamps(drive, [0.0, 0.1, 0.2, 0.3, 0.5, 0.6])
    assert [frame.frame for frame in opened(root).frames] == [1, 2]
    (drive / 'image_02/data/0000000002.png').unlink()
    with pytest.raises(DataError, match=r'all 5 frames .* have no neighbours on disk'):
        opened(root)


def test_neighbours_need_not_be_in_the_split(root: Path, tmp_path: Path) -> None:
    split = tmp_path / 'split.txt'
    split.write_text(f'{DAY}/{DRIVE} 0 l\n{DAY}/{DRIVE} 3 l\n')
    dataset = opened(root, split=split)
    assert [frame.frame for frame in dataset.frames] == [3]
    assert grey(dataset[0]) == [60, 40, 80]


def test_what_the_drive_does_not_say_is_unknown(root: Path) -> None:
    drive = root / DAY / DRIVE
    (drive / 'image_02/timestamps.txt').unlink()
    (drive / 'oxts/data/0000000002.txt').unlink()
    dataset = opened(root)
    sample = dataset[0]
    assert sample.neighbour_dt_s is not None
    assert sample.neighbour_dt_s.isnan().all()
    assert sample.speed_mps is not None
    assert sample.speed_mps[0] == 10.0
    assert sample.speed_mps[1].isnan()
    assert sample.pose is None
    assert sample.neighbour_poses is None
    assert math.isnan(speed_at(drive, 2))
    assert math.isnan(mean_speed(drive, 1, 3))
    assert [frame.frame for frame in opened(root, poses=True).frames] == [4]


def test_the_order_of_frames_is_known_without_time_stamps(root: Path, tmp_path: Path) -> None:
    (root / DAY / DRIVE / 'image_02/timestamps.txt').unlink()
    dataset = opened(root, neighbours=[2, -1])
    sample = dataset[0]
    assert sample.neighbour_dt_s is not None
    assert sample.neighbour_dt_s.isnan().all()
    mix = open_mix(datasets=[
        {'name': 'kitti', 'root': root, 'height': 24, 'width': 80,
         'options': {'ground_truth': 'none', 'neighbours': [2, -1]}}
    ])  # fmt: skip
    augmentation = build_augmentation('monodepth2', height=24, width=80)
    augmented = Transformed(dataset, augmentation, seed=0)
    stored = cached(dataset, tmp_path / 'cache')
    for other in (sample, mix[0], augmented[0], stored[0]):
        assert other.neighbour_offsets is not None
        assert other.neighbour_offsets.tolist() == [2, -1]
        assert other.neighbour_offsets.dtype == torch.int64
    batch = collate([sample, mix[1], augmented[1], stored[2]])
    earlier = batch.split(2)[1].to('cpu').neighbours_earlier()
    assert earlier is not None
    assert earlier.tolist() == [[False, True]] * 2


def test_slow_frames_can_be_left_out(root: Path) -> None:
    assert [frame.frame for frame in opened(root, min_speed_mps=0.5).frames] == [1, 2]
    with pytest.raises(DataError, match=r'all 4 frames .* slower than 99.0 m/s.*weaker filter'):
        opened(root, min_speed_mps=99.0)


def test_an_unknown_speed_is_not_slow(root: Path) -> None:
    (root / DAY / DRIVE / 'oxts/data/0000000004.txt').unlink()
    assert [frame.frame for frame in opened(root, min_speed_mps=0.5).frames] == [1, 2, 4]


def test_listed_frames_can_be_left_out(root: Path, tmp_path: Path) -> None:
    listed = tmp_path / 'static.txt'
    listed.write_text(f'{DAY} {DRIVE} 0000000002\n{DAY}/{DRIVE} 3 l\n')
    assert [frame.frame for frame in opened(root, exclude=listed).frames] == [1, 4]
    frame = KittiFrame(day=DAY, drive=DRIVE, frame=2, camera=3)
    assert frame in read_excluded(listed), 'the static list stands for both cameras'
    listed.write_text('2011_09_26 0000000002\n')
    with pytest.raises(DataError, match=r"line 1 of list .* is '2011_09_26 0000000002'"):
        opened(root, exclude=listed)


def test_the_benchmark_window_is_cut_before_resizing(root: Path) -> None:
    drive = root / DAY / DRIVE
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[8:, 2:-2] = 200  # 352 x 1216, bottom centre
    assert cv2.imwrite(str(drive / 'image_02/data/0000000001.png'), image)
    folder = drive / 'velodyne_points/data'
    folder.mkdir(parents=True)
    # A point at column 600 + 2, row 180 + 8 of the image, 10 m ahead.
    x, y = 2.0 / F_PX * 10.0, 8.0 / F_PX * 10.0
    np.array([[10.0, -x, -y, 0.0]], '<f4').tofile(folder / '0000000001.bin')
    settings = {'crop': 'kb', 'ground_truth': 'velodyne', 'height': None, 'width': None}
    sample = opened(root, **settings)[0]
    assert sample.image.shape == (3, 352, 1216)
    assert (sample.image * 255.0).round().unique().tolist() == [200.0]
    assert sample.intrinsics[:2, 2].tolist() == [598.0, 172.0]
    assert np.argwhere(sample.valid.numpy()).tolist() == [[180, 600]]
    assert sample.neighbour_images is not None
    assert sample.neighbour_images.shape == (2, 3, 352, 1216)
    half = opened(root, **(settings | {'height': 176, 'width': 608}))[0]
    assert half.intrinsics[0].tolist() == [F_PX / 2, 0.0, (598.0 + 0.5) / 2 - 0.5]
    stored = drive / 'proj_depth/velodyne/image_02'
    stored.mkdir(parents=True)
    depth = np.zeros((HEIGHT, WIDTH), np.float32)
    depth[188, 602] = 7.0
    np.savez(stored / '0000000001.npz', velodyne_depth=depth)
    other = opened(root, **(settings | {'ground_truth': 'proj_depth'}))[0]
    assert float(other.depth_m[180, 600]) == 7.0
    with pytest.raises(ConfigError, match="unknown crop 'kbb'; did you mean 'kb'"):
        opened(root, crop='kbb')


@pytest.mark.parametrize('ending', [b'\r', b'\r\n'])
def test_times_may_have_lines_of_any_system(root: Path, ending: bytes) -> None:
    stamps = root / DAY / DRIVE / 'image_02/timestamps.txt'
    expected = read_timestamps(root / DAY / DRIVE, 2)
    stamps.write_bytes(stamps.read_bytes().replace(b'\n', ending))
    np.testing.assert_array_equal(read_timestamps(root / DAY / DRIVE, 2), expected)


def test_malformed_files_are_named(root: Path) -> None:
    drive = root / DAY / DRIVE
    (drive / 'oxts/data/0000000001.txt').write_text('1 2 three')
    with pytest.raises(DataError, match=r'0000000001.txt has 3 numbers; it must have 30'):
        opened(root)[0]
    stamps = drive / 'image_02/timestamps.txt'
    stamps.write_text('2011-09-26 13:02:25.1\n2011-09-26 13:02:2')
    with pytest.raises(DataError, match=r'timestamps.txt cannot be read'):
        opened(root)
    stamps.write_text('2011-09-26 13:02:25.1\n' * 3)
    with pytest.raises(DataError, match=r'timestamps.txt has 3 lines, but .* holds image 5'):
        opened(root)


def test_a_recorded_drive_moves_ahead_as_fast_as_it_says(shared_dir: Path) -> None:
    root = shared_dir / 'data/kitti_raw_mini'
    dataset = KittiDataset(root, neighbours=[-1, 1], ground_truth='none', height=96, width=320)
    drives = {frame.drive[-9:-5] for frame in dataset.frames}
    assert drives == {'0011', '0023', '0052'}
    unknown = dataset[0].speed_mps
    assert unknown is not None
    assert unknown.isnan().all(), 'drive 0011 is here without oxts'
    order = dataset[0].neighbours_earlier()
    assert order is not None, 'nor has it time stamps, but its frames are numbered'
    assert order.tolist() == [True, False]
    settings = {'height': 96, 'width': 320, 'ground_truth': 'none'}
    dataset = opened(root, poses=True, **settings)
    places = [
        place for place, frame in enumerate(dataset.frames) if frame.drive.endswith('0023_sync')
    ]
    assert [dataset.frames[place].frame for place in places] == [1, 2, 3, 4, 5]
    travelled, stated = 0.0, 0.0
    for place in places:
        sample = dataset[place]
        assert sample.pose is not None
        assert sample.neighbour_poses is not None
        assert sample.neighbour_dt_s is not None
        assert sample.speed_mps is not None
        motion = (
            np.linalg.inv(sample.pose.double().numpy())
            @ sample.neighbour_poses[1].double().numpy()
        )
        # Ahead along the optical axis, hardly to the side: the chain of frames is right.
        assert motion[2, 3] > 0.85
        assert abs(motion[0, 3]) < 0.02
        assert abs(motion[1, 3]) < 0.05
        travelled += float(np.linalg.norm(motion[:3, 3]))
        stated += float(sample.speed_mps[1] * sample.neighbour_dt_s[1])
        assert float(sample.neighbour_dt_s[1]) == pytest.approx(0.1036, abs=2e-4)
    # GPS places and speeds of five steps agree; single steps differ by their time stamps.
    assert stated == pytest.approx(travelled, rel=0.02)


def test_the_recorded_split_and_static_list(shared_dir: Path) -> None:
    splits = shared_dir / 'data/splits'
    dataset = KittiDataset(
        shared_dir / 'data/kitti_raw_mini',
        split=splits / 'eigen_mini/train_files.txt',
        neighbours=[-1, 1],
        exclude=splits / 'static_frames.txt.gz',
        ground_truth='none',
    )
    assert len(dataset) == 37
