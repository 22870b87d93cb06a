# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.data import open_dataset
from depth_core.data.published.nyu import NYU_INTRINSICS, NyuDataset
from depth_core.errors import DataError


def write_pair(image: Path, depth: Path, codes: object, *, bits: int = 16) -> None:
    plane: NDArray[np.integer] = np.asarray(codes, np.uint16 if bits == 16 else np.uint8)
    image.parent.mkdir(parents=True, exist_ok=True)
    depth.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(image), np.full((*plane.shape, 3), 90, np.uint8))
    assert cv2.imwrite(str(depth), plane)


def test_codes_are_millimetres_and_0_is_none(tmp_path: Path) -> None:
    write_pair(tmp_path / 'rgb_1.jpg', tmp_path / 'sync_depth_1.png', [[0, 1500], [65535, 1]])
    sample = open_dataset('nyu', root=tmp_path)[0]
    np.testing.assert_allclose(sample.depth_m, [[np.nan, 1.5], [65.535, 0.001]], rtol=1e-6)
    np.testing.assert_array_equal(sample.valid, [[False, True], [True, True]])


def test_eight_bit_training_files_reach_10_m(tmp_path: Path) -> None:
    write_pair(tmp_path / 'data/a/1.jpg', tmp_path / 'data/a/1.png', [[0, 51], [255, 1]], bits=8)
    split = tmp_path / 'data/nyu2_train.csv'
    split.write_text('data/a/1.jpg,data/a/1.png\n')
    sample = NyuDataset(tmp_path, split=split)[0]
    np.testing.assert_allclose(sample.depth_m, [[np.nan, 2.0], [10.0, 10 / 255]], rtol=1e-6)


def test_pairs_are_found_by_name_and_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pair(tmp_path / 'rgb_7.jpg', tmp_path / 'sync_depth_7.png', [[1, 2]])
    write_pair(tmp_path / 'scene/rgb_8.jpg', tmp_path / 'scene/sync_depth_8.png', [[1, 2]])
    write_pair(tmp_path / 'b_rgb.png', tmp_path / 'b_depth.png', [[1, 2]])
    write_pair(tmp_path / '1_colors.png', tmp_path / '1_depth.png', [[1, 2]])
    write_pair(tmp_path / 'alone_rgb.png', tmp_path / 'else.png', [[1, 2]])
    with caplog.at_level(logging.INFO):
        dataset = NyuDataset(tmp_path)
    names = sorted(pair.image.name for pair in dataset.pairs)
    assert names == ['1_colors.png', 'b_rgb.png', 'rgb_7.jpg', 'rgb_8.jpg']
    assert 'alone_rgb.png' in caplog.text


def test_list_with_focal_lengths(tmp_path: Path) -> None:
    write_pair(tmp_path / 'bath/rgb_1.jpg', tmp_path / 'bath/sync_depth_1.png', [[1000, 2000]])
    split = tmp_path / 'test.txt'
    split.write_text('/bath/rgb_1.jpg /bath/sync_depth_1.png 518.8579\n')
    dataset = NyuDataset(tmp_path, split=split)
    assert dataset[0].key == 'bath/rgb_1'
    assert dataset[0].depth_m.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ('line', 'complaint'),
    [
        ('rgb_1.jpg', r"line 2 of list .* is 'rgb_1.jpg'; a line is 'image depth \[focal\]'"),
        ('rgb_1.jpg gone.png', r'1 files of list .*first: .*gone.png'),
    ],
)
def test_bad_lists(tmp_path: Path, line: str, complaint: str) -> None:
    write_pair(tmp_path / 'rgb_1.jpg', tmp_path / 'sync_depth_1.png', [[1, 2]])
    split = tmp_path / 'test.txt'
    split.write_text(f'rgb_1.jpg sync_depth_1.png\n{line}\n')
    with pytest.raises(DataError, match=complaint):
        NyuDataset(tmp_path, split=split)


def test_folder_without_pairs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='holds no image of NYU; it must hold rgb_00000'):
        NyuDataset(tmp_path)


def test_coloured_depth_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / 'rgb_1.jpg', tmp_path / 'sync_depth_1.png', [[1, 2]])
    assert cv2.imwrite(str(tmp_path / 'sync_depth_1.png'), np.zeros((1, 2, 3), np.uint8))
    with pytest.raises(DataError, match='pixel type RGB; depth images are 16-bit grey'):
        NyuDataset(tmp_path)[0]


def test_depth_of_another_size_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / 'rgb_1.jpg', tmp_path / 'sync_depth_1.png', [[1, 2]])
    assert cv2.imwrite(str(tmp_path / 'sync_depth_1.png'), np.ones((3, 3), np.uint16))
    with pytest.raises(DataError, match='depth of 3x3 does not belong to an image of 1x2'):
        NyuDataset(tmp_path)[0]


def test_dense_depth_is_picked_not_mixed_when_resized(tmp_path: Path) -> None:
    codes = np.arange(1, 65, dtype=np.uint16).reshape(8, 8) * 100
    write_pair(tmp_path / 'rgb_1.jpg', tmp_path / 'sync_depth_1.png', codes)
    sample = NyuDataset(tmp_path, height=4, width=4)[0]
    np.testing.assert_allclose(sample.depth_m, codes[1::2, 1::2] / 1000.0, rtol=1e-6)
    assert sample.image.shape == (3, 4, 4)


def test_recorded_pairs(shared_dir: Path) -> None:
    dataset = NyuDataset(shared_dir / 'data/nyu_mini')
    assert len(dataset) == 4
    sample = dataset[0]
    assert sample.image.shape == (3, 480, 640)
    assert 0.6 < sample.valid.float().mean() < 0.8
    assert sample.depth_m[sample.valid].max() == pytest.approx(6.625)
    words = (shared_dir / 'data/nyu_mini/intrinsics_rgb.txt').read_text().split()
    numbers = [float(word) for word in words[-4:]]
    np.testing.assert_allclose(sample.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], numbers)
    assert NYU_INTRINSICS.fx_px == numbers[0]


def test_lists_without_pairs_beside_them_are_named(tmp_path: Path) -> None:
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/nyu2_test.csv').write_text('data/nyu2_test/0.png,data/nyu2_test/1.png\n')
    with pytest.raises(DataError, match=r'nyu2_test.csv; give one of these lists as split'):
        open_dataset('auto', root=tmp_path)
