# SPDX-License-Identifier: Apache-2.0
"""KITTI odometry as a data set, on a sequence whose every number is worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_core.data import detect_dataset, open_dataset
from depth_core.errors import ConfigError, DataError

P2 = '10 0 2 5 0 10 1 0 0 0 1 0'
"""fx = fy = 10 px, 0.5 m to the right of the grey camera."""
TR = '0 -1 0 0 0 0 -1 0 1 0 0 0'
"""The lidar looks along its x, and stands at the grey camera."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images of 3 x 5, the middle one with a scan of two points; 2 m ahead each time."""
    folder = tmp_path / 'odometry/sequences/07'
    (folder / 'image_2').mkdir(parents=True)
    (folder / 'velodyne').mkdir()
    (tmp_path / 'odometry/poses').mkdir()
    for frame in range(3):
        image = np.full((3, 5, 3), 10 * frame, np.uint8)
        assert cv2.imwrite(str(folder / f'image_2/{frame:06d}.png'), image)
    (folder / 'calib.txt').write_text(f'P2: {P2}\nTr: {TR}\n')
    (folder / 'times.txt').write_text('0.0\n0.1\n0.2\n')
    # Camera 2 sees x = -(lidar y) + 0.5, so 5 m ahead and 0 aside is column 2 + 10 * 0.5 / 5.
    points = np.array([[5.0, 0.5, 0.0, 0.1], [20.0, -1.5, 2.0, 0.1]], np.float32)
    points.tofile(folder / 'velodyne/000001.bin')
    rows = [f'1 0 0 0 0 1 0 0 0 0 1 {2 * frame}' for frame in range(3)]
    (tmp_path / 'odometry/poses/07.txt').write_text('\n'.join(rows))
    return tmp_path / 'odometry'


def test_scans_are_projected_and_frames_without_stay(root: Path) -> None:
    assert detect_dataset(root) == 'kitti_odometry'
    dataset: Any = open_dataset('auto', root=root)
    assert [dataset.has_depth(index) for index in range(3)] == [False, True, False]
    expected = np.full((3, 5), np.nan)
    expected[1, 2], expected[0, 3] = 5.0, 20.0
    np.testing.assert_allclose(dataset[1].depth_m, expected)
    assert dataset[1].intrinsics[0].tolist() == [10.0, 0.0, 2.0]
    assert dataset[1].key == '07/image_2/000001'
    assert not dataset[0].valid.any()
    assert 'velodyne/000000.bin is not there' in dataset.depth_looked_for()
    assert all(path.is_file() for path in dataset.sources(1))
    assert detect_dataset(root / 'sequences/07') == 'kitti_odometry'
    assert len(open_dataset('auto', root=root / 'sequences/07')) == 3


def test_neighbours_have_times_speeds_and_poses(root: Path) -> None:
    dataset = open_dataset('kitti_odometry', root=root, neighbours=[-1, 1])
    assert len(dataset) == 1
    sample = dataset[0]
    assert sample.neighbour_dt_s is not None
    assert sample.speed_mps is not None
    assert sample.pose is not None
    assert sample.neighbour_poses is not None
    np.testing.assert_allclose(sample.neighbour_dt_s, [-0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(sample.speed_mps, [20.0, 20.0], rtol=1e-5)
    np.testing.assert_allclose(sample.pose[:3, 3], [-0.5, 0.0, 2.0])
    np.testing.assert_allclose(sample.neighbour_poses[:, 2, 3], [0.0, 4.0])


def test_lists_and_wrong_input(root: Path, tmp_path: Path) -> None:
    split = tmp_path / 'list.txt'
    split.write_text('7 2 l\n7 0 l\n')
    dataset: Any = open_dataset('kitti_odometry', root=root, split=split)
    assert [frame.frame for frame in dataset.frames] == [2, 0]
    for line, complaint in (('7 0', "line 1 of list .* is '7 0'"), ('7 9 l', 'image_2/000009')):
        split.write_text(f'{line}\n')
        with pytest.raises(DataError, match=complaint):
            open_dataset('kitti_odometry', root=root, split=split)
    with pytest.raises(ConfigError, match="unknown camera 'lft'; did you mean 'left'"):
        open_dataset('kitti_odometry', root=root, camera='lft')
    with pytest.raises(
        DataError, match=r'no images of camera right \(image_3\), but image_2 \(left\)'
    ):
        open_dataset('kitti_odometry', root=root, camera='right')
    with pytest.raises(DataError, match='holds no sequence of KITTI odometry'):
        open_dataset('kitti_odometry', root=tmp_path / 'odometry/poses')
    (root / 'sequences/07/calib.txt').write_text(f'P2: {P2}\n')
    without: Any = open_dataset('kitti_odometry', root=root)
    assert not without.has_depth(1)
    (root / 'sequences/07/velodyne/000000.bin').write_bytes(bytes(16))
    assert 'has no Tr' in without.depth_looked_for()


def test_recorded_sequence(shared_dir: Path) -> None:
    dataset: Any = open_dataset(
        'kitti_odometry', root=shared_dir / 'data/kitti_odometry_mini', neighbours=[-1, 1]
    )
    assert [frame.frame for frame in dataset.frames] == [13]
    assert 5.0 < float(dataset[0].speed_mps[0]) < 20.0
