# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from depth_core.data import detect_dataset, open_dataset
from depth_core.data.folder import FolderDataset
from depth_core.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images a (NPY depth), b (PNG depth) and c (none), 4 x 6 pixels."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'depth').mkdir()
    for index, name in enumerate(('a.png', 'b.jpg', 'c.png')):
        image = np.full((4, 6, 3), 50 * index, np.uint8)
        assert cv2.imwrite(str(tmp_path / 'images' / name), image)
    depth_m = np.full((4, 6), 2.5)
    depth_m[0, :3] = np.nan, 0.0, -1.0
    np.save(tmp_path / 'depth/a.npy', depth_m)
    codes = np.full((4, 6), 300, np.uint16)
    codes[0, 0] = 0
    assert cv2.imwrite(str(tmp_path / 'depth/b.png'), codes)
    return tmp_path


def test_depth_is_matched_by_name(root: Path) -> None:
    dataset = open_dataset('folder', root=root, depth_unit_m=0.01)
    first, second, third = (dataset[index] for index in range(len(dataset)))
    assert [first.key, second.key, third.key] == ['a', 'b', 'c']
    assert first.valid.sum() == 24 - 3
    assert first.depth_m[1, 1] == 2.5
    assert second.valid.sum() == 24 - 1
    assert second.depth_m[1, 1] == 3.0
    assert not third.valid.any()


def test_png_depth_needs_a_unit(root: Path) -> None:
    with pytest.raises(ConfigError, match=r'b.png is a PNG and depth_unit_m is None; .*0.001'):
        FolderDataset(root)
    with pytest.raises(ConfigError, match='depth_unit_m is -1'):
        FolderDataset(root, depth_unit_m=-1.0)


def test_intrinsics_file_and_its_absence(root: Path) -> None:
    assert FolderDataset(root, depth_unit_m=0.01)[0].intrinsics.isnan().all()
    (root / 'intrinsics.txt').write_text('# fx fy cx cy\n5 6 2.5 1.5\n')
    sample = FolderDataset(root, depth_unit_m=0.01, height=8, width=12)[0]
    expected = [[10.0, 0.0, 5.5], [0.0, 12.0, 3.5], [0.0, 0.0, 1.0]]
    assert sample.intrinsics.tolist() == expected
    (root / 'intrinsics.txt').write_text('5 6\n')
    with pytest.raises(DataError, match=r'intrinsics.txt .*has 2 numbers; it must have 4'):
        FolderDataset(root, depth_unit_m=0.01)


def test_images_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / 'x.png'), np.zeros((2, 3, 3), np.uint8))
    assert len(FolderDataset(tmp_path)) == 1
    assert detect_dataset(tmp_path) == 'folder'


def test_split_takes_some_and_names_the_unknown(root: Path) -> None:
    split = root / 'some.txt'
    split.write_text('c\na\n')
    dataset = FolderDataset(root, split=split, depth_unit_m=0.01)
    assert [path.stem for path in dataset.images] == ['c', 'a']
    split.write_text('a\nz\n')
    with pytest.raises(DataError, match=r"line 2 of list .* names 'z'"):
        FolderDataset(root, split=split, depth_unit_m=0.01)


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    (root / 'images/a.jpg').write_bytes((root / 'images/b.jpg').read_bytes())
    with pytest.raises(DataError, match='same name but for the ending'):
        FolderDataset(root, depth_unit_m=0.01)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='holds no image'):
        FolderDataset(tmp_path)


def test_wrong_depth_files(root: Path) -> None:
    np.save(root / 'depth/a.npy', np.ones((2, 6)))
    dataset = FolderDataset(root, depth_unit_m=0.01)
    with pytest.raises(DataError, match='a: depth of 2x6 does not belong to an image of 4x6'):
        dataset[0]
    np.save(root / 'depth/a.npy', np.ones((4, 6, 3)))
    with pytest.raises(DataError, match=r'shape \(4, 6, 3\)'):
        dataset[0]
    (root / 'depth/a.npy').write_bytes(b'\x93NUMPY')
    with pytest.raises(DataError, match=r'a.npy cannot be read: it is missing, truncated'):
        dataset[0]


def test_depth_given_as_image_is_refused_with_its_rule(root: Path) -> None:
    codes = np.zeros((4, 6), np.uint16)
    assert cv2.imwrite(str(root / 'images/c.png'), codes)
    with pytest.raises(DataError, match='images have 8 bits a channel'):
        FolderDataset(root, depth_unit_m=0.01)[2]


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / 'grey.png'), np.full((2, 2), 51, np.uint8))
    assert cv2.imwrite(str(tmp_path / 'rgba.png'), np.full((2, 2, 4), 51, np.uint8))
    for sample in (FolderDataset(tmp_path)[0], FolderDataset(tmp_path)[1]):
        assert sample.image.shape == (3, 2, 2)
        assert sample.image[0, 0, 0] == pytest.approx(0.2)


@pytest.mark.parametrize(('height', 'width'), [(4, None), (0, 0), (-1, 5)])
def test_sizes_must_be_sizes(root: Path, height: int, width: int | None) -> None:
    with pytest.raises(ConfigError, match='is not a size'):
        FolderDataset(root, depth_unit_m=0.01, height=height, width=width)


def test_unknown_names_and_options_are_answered_with_the_known(root: Path) -> None:
    with pytest.raises(ConfigError, match="unknown data set 'kiti'; did you mean 'kitti'"):
        open_dataset('kiti', root=root)
    with pytest.raises(ConfigError, match="did you mean 'depth_unit_m'"):
        open_dataset('folder', root=root, depth_unit=0.01)
    with pytest.raises(ConfigError, match="data set 'folder' needs root"):
        open_dataset('folder')
    with pytest.raises(ConfigError, match='root is not given'):
        open_dataset('auto')


def test_detection_by_what_is_there(tmp_path: Path) -> None:
    assert detect_dataset(Path('synthetic')) == 'synthetic'
    with pytest.raises(DataError, match='gone does not exist'):
        detect_dataset(tmp_path / 'gone')
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(DataError, match=r'notes.txt is a file that no data set reads; .*\.mcap'):
        detect_dataset(tmp_path / 'notes.txt')
    for name, file in (
        ('kitti', 'k/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0.png'),
        ('nyu', 'n/scene/sync_depth_00001.png'),
        ('bag', 'b/metadata.yaml'),
    ):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(b'')
        assert detect_dataset(tmp_path / file.split('/', maxsplit=1)[0]) == name


def test_files_of_the_system_are_no_images(root: Path) -> None:
    for name in ('._a.png', '._b.jpg', '.hidden.png'):
        (root / 'images' / name).write_bytes(b'\0\5\x16\7' + bytes(120))
    assert len(FolderDataset(root, depth_unit_m=0.01)) == 3


@pytest.fixture
def npys(tmp_path: Path) -> Path:
    """Two images whose depth is NPY: floats 2.5 and 5 for a, uint16 2500 for b."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'depth').mkdir()
    for name in 'ab':
        assert cv2.imwrite(str(tmp_path / f'images/{name}.png'), np.zeros((4, 6, 3), np.uint8))
    np.save(tmp_path / 'depth/a.npy', np.full((4, 6), 2.5, np.float16))
    np.save(tmp_path / 'depth/b.npy', np.full((4, 6), 2500, np.uint16))
    return tmp_path


def test_integers_are_codes_that_need_a_unit(npys: Path) -> None:
    with pytest.raises(ConfigError, match=r'b.npy has uint16 codes and depth_unit_m is None'):
        FolderDataset(npys)
    dataset = FolderDataset(npys, depth_unit_m=0.001)
    assert [float(dataset[index].depth_m.max()) for index in (0, 1)] == [2.5, 2.5]


@pytest.mark.parametrize('unit_m', [0.0, -1.0, float('nan'), float('inf')])
def test_a_unit_is_a_positive_number(npys: Path, unit_m: float) -> None:
    with pytest.raises(ConfigError, match='depth_unit_m is'):
        FolderDataset(npys, depth_unit_m=unit_m)
    (npys / 'depth/b.npy').unlink()
    with pytest.raises(ConfigError, match='depth_unit_m is'):
        FolderDataset(npys, depth_unit_m=unit_m)


def test_the_unit_is_that_of_floats_where_there_are_no_codes(npys: Path) -> None:
    (npys / 'depth/b.npy').unlink()
    assert FolderDataset(npys)[0].depth_m.max() == 2.5
    assert FolderDataset(npys, depth_unit_m=0.1)[0].depth_m.max() == 0.25


@pytest.mark.parametrize(
    'values',
    [
        np.ones((4, 6), np.bool_),
        np.ones((4, 6), np.complex64),
        np.zeros((4, 6), [('z', 'f4')]),
        np.full((4, 6), 'x'),
        np.array([[None] * 6] * 4, object),
    ],
)
def test_what_is_no_number_is_no_depth(npys: Path, values: NDArray[np.generic]) -> None:
    (npys / 'depth/b.npy').unlink()
    dataset = FolderDataset(npys)
    np.save(npys / 'depth/a.npy', values, allow_pickle=True)
    with pytest.raises(DataError, match=r'a.npy (has shape|cannot be read)'):
        dataset[0]


@pytest.mark.parametrize('shape', [(40_000_000, 60_000_000), (4, 5)])
def test_the_declared_shape_is_held_against_the_file(npys: Path, shape: tuple[int, int]) -> None:
    (npys / 'depth/b.npy').unlink()
    path = npys / 'depth/a.npy'
    with path.open('wb') as file:
        header = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(4 * 4 * 6))
    with pytest.raises(DataError, match=r'a.npy cannot be read'):
        FolderDataset(npys)


def test_a_malformed_header_is_no_array(npys: Path) -> None:
    (npys / 'depth/b.npy').unlink()
    header = b'(' * 100  # which NumPy gives to the tokenizer of Python
    content = b'\x93NUMPY\x01\0' + len(header).to_bytes(2, 'little') + header
    (npys / 'depth/a.npy').write_bytes(content)
    with pytest.raises(DataError, match=r'a.npy cannot be read'):
        FolderDataset(npys)


def test_an_archive_is_no_array(npys: Path) -> None:
    np.savez(npys / 'depth/c.npz', np.ones((4, 6)))
    (npys / 'depth/c.npz').rename(npys / 'depth/a.npy')
    with pytest.raises(DataError, match=r'a.npy cannot be read: .*archive of several arrays'):
        FolderDataset(npys, depth_unit_m=0.001)


def test_values_that_are_none(npys: Path) -> None:
    (npys / 'depth/b.npy').unlink()
    np.save(npys / 'depth/a.npy', np.repeat([[np.nan, -np.inf, -1.0, 0.0, np.inf, 3.0]], 4, 0))
    sample = FolderDataset(npys)[0]
    assert sample.valid[0].tolist() == [False] * 5 + [True]
    assert sample.depth_m[0, 4:].tolist() == [float('inf'), 3.0]
    assert sample.depth_m[0, :4].isnan().all()


@pytest.mark.parametrize(('orientation', 'row', 'column'), [(1, 0, 0), (3, 11, 19), (6, 0, 11)])
def test_pictures_are_those_of_their_upright_depth(
    tmp_path: Path, orientation: int, row: int, column: int
) -> None:
    stored = np.zeros((12, 20, 3), np.uint8)
    stored[:4, :4] = 255  # the corner that is upper left before it is turned
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / 'a.jpg', exif=tags, quality=95)
    upright = (20, 12) if orientation == 6 else (12, 20)
    (tmp_path / 'depth').mkdir()
    np.save(tmp_path / 'depth/a.npy', np.full(upright, 2.0, np.float32))
    sample = FolderDataset(tmp_path)[0]
    assert sample.depth_m.shape == upright
    assert sample.image[0, row, column] > 0.8
    assert float((sample.image[0] > 0.5).float().mean()) < 0.1


def test_depth_of_the_picture_before_it_was_turned_says_so(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 8
    Image.new('RGB', (20, 12)).save(tmp_path / 'a.jpg', exif=tags)
    (tmp_path / 'depth').mkdir()
    np.save(tmp_path / 'depth/a.npy', np.full((12, 20), 2.0, np.float32))
    with pytest.raises(DataError, match=r'EXIF orientation: turn the depth likewise'):
        FolderDataset(tmp_path)[0]


@pytest.mark.parametrize('share', [0.4, 0.5])
def test_a_jpeg_that_lost_data_is_named(root: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    content = bytearray(cv2.imencode('.jpg', noise)[1].tobytes())
    middle = int(len(content) * share)
    content[middle : middle + 4096] = bytes(4096)

    for path in (root / 'images').iterdir():
        path.unlink()
    (root / 'images/lost.jpg').write_bytes(content)
    with pytest.raises(DataError, match=r'lost\.jpg .* is a damaged JPEG file'):
        FolderDataset(root, depth_unit_m=0.001)[0]
