# SPDX-License-Identifier: Apache-2.0
"""Training data without ground truth is counted, refused when there is none, and named."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_core.data.bag import BagDataset
from depth_core.data.folder import FolderDataset
from depth_core.data.ground_truth import WithGroundTruth, check_ground_truth, describe_files
from depth_core.data.published.nyu import NyuDataset
from depth_core.data.sample import DepthDataset
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import DataError
from test.depth_core.data.bag.recording import Recording, record


def folder(root: Path, *endings: str, metres: float = 2.0) -> Path:
    """An image for each ending, with a depth file of that ending; none for ''."""
    (root / 'images').mkdir(parents=True)
    for index, ending in enumerate(endings):
        assert cv2.imwrite(str(root / f'images/{index}.png'), np.zeros((4, 6, 3), np.uint8))
        if not ending:
            continue
        path = root / f'depth/{index}{ending}'
        path.parent.mkdir(exist_ok=True)
        depth_m = np.full((4, 6), metres, np.float32)
        if ending.lower() == '.npy':
            with path.open('wb') as file:
                np.save(file, depth_m)
        elif ending == '.tiff':
            assert cv2.imwrite(str(path), depth_m)
        else:
            content = cv2.imencode('.png', (depth_m * 1000).astype(np.uint16))[1]
            path.write_bytes(content.tobytes())
    return root


def test_capitals_in_endings_do_not_matter(tmp_path: Path) -> None:
    dataset = FolderDataset(folder(tmp_path, '.PNG', '.Npy', '.png'), depth_unit_m=0.001)
    assert [float(dataset[index].depth_m.max()) for index in range(3)] == [2.0, 2.0, 2.0]
    check_ground_truth(dataset, source='data.train')


@pytest.mark.parametrize(
    ('endings', 'said'),
    [
        (('.tiff', '.tiff'), r'0 of 2 images have depth; .*depth/0\.npy or \.png.*2 files \(0\.t'),
        (('', '', ''), r'0 of 3 images have depth; .*there is no folder .*depth; .*images/'),
        (('.depth.png',), r'0 of 1 images .*1 file \(0\.depth\.png\) of other names or endings'),
    ],
)
def test_a_folder_without_depth_is_refused_and_what_is_there_is_named(
    tmp_path: Path, endings: tuple[str, ...], said: str
) -> None:
    dataset = FolderDataset(folder(tmp_path, *endings), depth_unit_m=0.001)
    with pytest.raises(DataError, match=f'data.train: {said}'):
        check_ground_truth(dataset, source='data.train')


def test_few_are_counted_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = FolderDataset(folder(tmp_path, '.png', '.tiff', '.tiff'), depth_unit_m=0.001)
    check_ground_truth(dataset, source='data.train')
    assert 'only 1 of 3 images have depth' in caplog.text
    assert '2 files (1.tiff, 2.tiff)' in caplog.text


def test_files_without_any_value_are_no_ground_truth(tmp_path: Path) -> None:
    dataset = FolderDataset(folder(tmp_path, *['.png'] * 20, metres=0.0), depth_unit_m=0.001)
    with pytest.raises(DataError, match='ground truth of 7 images was read, and no pixel'):
        check_ground_truth(dataset, source='data.train')


@pytest.mark.parametrize(('unit_m', 'doubted'), [(1.0, True), (0.001, False)])
def test_a_unit_that_gives_no_usual_distance_is_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, unit_m: float, *, doubted: bool
) -> None:
    dataset = FolderDataset(folder(tmp_path, '.png'), depth_unit_m=unit_m)
    check_ground_truth(dataset, source='data.train')
    assert ('median depth is 2000 m' in caplog.text) is doubted


def test_a_bag_without_lidar_is_refused(tmp_path: Path) -> None:
    recording = record()
    kept = [item for item in recording.messages if item[0] != '/velo/points']
    path = Recording(kept).write(tmp_path / 'b')
    with pytest.raises(DataError, match=r'0 of 3 images have depth; .*has no lidar topic'):
        check_ground_truth(BagDataset(path), source='data.train')


def test_scans_too_far_in_time_are_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = record().write(tmp_path / 'b')
    check_ground_truth(BagDataset(path), source='data.train')
    assert 'only 2 of 3 images' in caplog.text
    assert 'image of stamp 1700000000100000000 is 0.090 s away' in caplog.text
    with pytest.raises(DataError, match=r'stamp 1700000000000000000 is 0\.010 s .*is 0\.001'):
        check_ground_truth(BagDataset(path, max_offset_s=0.001), source='data.train')


def test_nyu_pairs_have_depth_and_images_alone_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = np.full((4, 6), 2000, np.uint16)
    for name in ('rgb_1.JPG', 'rgb_2.jpg'):
        (tmp_path / name).write_bytes(cv2.imencode('.jpg', np.zeros((4, 6, 3)))[1].tobytes())
    (tmp_path / 'sync_depth_1.PNG').write_bytes(cv2.imencode('.png', codes)[1].tobytes())
    (tmp_path / '._rgb_1.JPG').write_bytes(b'\0\5\x16\7')
    shutil.copytree(tmp_path, tmp_path / '.thumbnails')
    with caplog.at_level(logging.WARNING):
        dataset = NyuDataset(tmp_path)
    assert [pair.key for pair in dataset.pairs] == [f'{tmp_path.name}/rgb_1']
    assert '1 of 2 images' in caplog.text
    check_ground_truth(dataset, source='data.train')


def test_synthetic_scenes_are_not_looked_at() -> None:
    dataset: DepthDataset = SyntheticDataset(seed=0, length=10**6, height=480, width=640)
    assert not isinstance(dataset, WithGroundTruth)
    check_ground_truth(dataset, source='data.train')


def test_files_are_counted_and_some_named() -> None:
    assert describe_files([]) == 'no file'
    assert describe_files(map(Path, ('._a', 'b'))) == '1 file (b)'
    assert describe_files(map(Path, 'dcba')) == '4 files (a, b, c, ...)'
