# SPDX-License-Identifier: Apache-2.0
"""Published data sets, each on a tiny tree in its true layout with codes worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from depth_core.data import detect_dataset, open_dataset
from depth_core.errors import ConfigError, DataError
from test.depth_core.data.matlab_files import ibims_matlab

HEIGHT, WIDTH = 2, 4
NAN = np.nan


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))


def codes(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(values, np.uint16))


def sevenscenes(root: Path) -> None:
    """A wall at 2 m with a step to 1 m, and without depth in its middle."""
    folder = root / 'chess/seq-01'
    folder.mkdir(parents=True)
    grey = np.full((480, 640, 3), 90, np.uint8)
    assert cv2.imwrite(str(folder / 'frame-000000.color.png'), grey)
    depth_mm = np.full((480, 640), 2000)
    depth_mm[:, :120] = 1000
    depth_mm[220:260, 300:320] = 0
    depth_mm[220:260, 320:340] = 65535
    codes(folder / 'frame-000000.depth.png', depth_mm)


def sevenscenes_m() -> Any:
    """What the colour camera sees of it: 525 px in place of 585, and 25 mm beside."""
    depth_m = np.full((480, 640), NAN)
    depth_m[25:455, 20:127] = 1.0  # columns from 32.8 to 139.6, less 13.125
    depth_m[25:455, 134:601] = 2.0  # from 140.5 to 606.3, less 6.5625: a gap at the step
    depth_m[222:258, 296:331] = NAN
    return depth_m


def tum(root: Path) -> None:
    picture(root / 'rgb/10.02.png')
    picture(root / 'rgb/10.50.png')
    codes(root / 'depth/10.01.png', [[0, 5000, 2500, 1], [1, 1, 1, 25000]])
    (root / 'rgb.txt').write_text('# colour\n10.02 rgb/10.02.png\n10.50 rgb/10.50.png\n')
    (root / 'depth.txt').write_text('# depth\n# file\n10.01 depth/10.01.png\n')


def diode(root: Path) -> None:
    stem = root / 'val/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010'
    picture(stem.with_suffix('.png'))
    depth_m = np.arange(8, dtype=np.float32).reshape(HEIGHT, WIDTH, 1)
    np.save(f'{stem}_depth.npy', depth_m)
    np.save(f'{stem}_depth_mask.npy', np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.float32))


def ibims(root: Path) -> None:
    picture(root / 'rgb/corridor_01.png')
    codes(root / 'depth/corridor_01.png', [[0, 65535, 13107, 13107], [13107] * 4])
    for name, hidden in (('mask_invalid', 2), ('mask_transp', 3)):
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[0, hidden] = 0
        (root / name).mkdir()
        assert cv2.imwrite(str(root / name / 'corridor_01.png'), mask)
    (root / 'calib').mkdir()
    (root / 'calib/corridor_01.txt').write_text('550.5 0 316.5\n0 551.5 239.5\n0 0 1\n')
    (root / 'imagelist.txt').write_text('corridor_01\n')


def kitti_selection(root: Path) -> None:
    folder = root / 'val_selection_cropped'
    picture(folder / 'image/2011_09_26_drive_0002_sync_image_0000000005_image_02.png')
    name = '2011_09_26_drive_0002_sync_groundtruth_depth_0000000005_image_02.png'
    codes(folder / 'groundtruth_depth' / name, [[0, 256, 5120, 1], [0, 0, 0, 25600]])
    (folder / 'intrinsics').mkdir()
    camera = folder / 'intrinsics/2011_09_26_drive_0002_sync_image_0000000005_image_02.txt'
    camera.write_text('721.5377 0 596.5593 0 721.5377 149.854 0 0 1')


def sunrgbd(root: Path) -> None:
    folder = root / 'kv1/NYUdata/NYU0001'
    picture(folder / 'image/NYU0001.jpg')
    # 2000 mm is 2000 << 3; 9001 mm needs the upper bits, which are turned round to the lower end.
    codes(folder / 'depth/NYU0001.png', [[0, 16000, (9001 << 3) % 65536 + 1, 8], [8] * 4])
    (folder / 'intrinsics.txt').write_text('518.8 0 325.5 0 519.4 253.7 0 0 1')


def vkitti2(root: Path) -> None:
    folder = root / 'Scene01/clone/frames'
    picture(folder / 'rgb/Camera_0/rgb_00000.jpg')
    codes(folder / 'depth/Camera_0/depth_00000.png', [[0, 65535, 1234, 100], [100] * 4])


def hypersim(root: Path) -> None:
    images = root / 'ai_001_001/images'
    picture(images / 'scene_cam_00_final_preview/frame.0000.tonemap.jpg')
    folder = images / 'scene_cam_00_geometry_hdf5'
    folder.mkdir()
    # Focal length 4 * 886.81 / 1024 px, axis at (1.5, 0.5): a wall at 3 m, by its distance.
    focal = 4 * 886.81 / 1024
    columns, rows = (np.arange(4) - 1.5) / focal, (np.arange(2) - 0.5)[:, None] / focal
    distance = 3.0 * np.sqrt(1.0 + columns**2 + rows**2)
    distance[0, 0] = np.nan
    with h5py.File(folder / 'frame.0000.depth_meters.hdf5', 'w') as file:
        file['dataset'] = distance.astype(np.float16)


def cityscapes(root: Path) -> None:
    name = 'frankfurt_000000_000294'
    picture(root / f'leftImg8bit/val/frankfurt/{name}_leftImg8bit.png')
    # Code 2561 is 10 px: 0.2 m * 2000 px / 10 px. Code 1 is no shift at all.
    codes(root / f'disparity/val/frankfurt/{name}_disparity.png', [[0, 2561, 1, 5121], [2561] * 4])
    camera = root / f'camera/val/frankfurt/{name}_camera.json'
    camera.parent.mkdir(parents=True)
    stated = {
        'extrinsic': {'baseline': 0.2},
        'intrinsic': {'fx': 2000.0, 'fy': 2100.0, 'u0': 1.5, 'v0': 0.5},
    }
    camera.write_text(json.dumps(stated))


def ddad(root: Path) -> None:
    """The camera looks along x of the world, 1 m ahead of its origin; the lidar is 2 m up."""
    folder = root / '000000'
    picture(folder / 'rgb/CAMERA_01/15616458296936490.png')
    points = np.array([[6.0, 1.25, -0.75, 1.0], [11.0, -7.5, -4.5, 1.0]], np.float32)
    (folder / 'point_cloud/LIDAR').mkdir(parents=True)
    np.savez(folder / 'point_cloud/LIDAR/15616458296936490.npz', data=points)

    def pose(quaternion: tuple[float, ...], place: tuple[float, ...]) -> Any:
        return {
            'rotation': dict(zip(('qw', 'qx', 'qy', 'qz'), quaternion, strict=True)),
            'translation': dict(zip('xyz', place, strict=True)),
        }

    optical = pose((0.5, -0.5, 0.5, -0.5), (1.0, 0.0, 0.0))
    above = pose((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 2.0))
    image = {'filename': 'rgb/CAMERA_01/15616458296936490.png', 'pose': optical}
    cloud = {'filename': 'point_cloud/LIDAR/15616458296936490.npz', 'pose': above}
    scene = {
        'data': [
            {'key': 'a', 'id': {'name': 'CAMERA_01'}, 'datum': {'image': image}},
            {'key': 'b', 'id': {'name': 'LIDAR'}, 'datum': {'point_cloud': cloud}},
        ],
        'samples': [{'datum_keys': ['a', 'b'], 'calibration_key': 'c'}],
    }
    (folder / 'scene_5c56.json').write_text(json.dumps(scene))
    stated = {'fx': 2.0, 'fy': 2.0, 'cx': 1.5, 'cy': 0.5, 'skew': 0.0}
    (folder / 'calibration').mkdir()
    calibration = {'names': ['LIDAR', 'CAMERA_01'], 'intrinsics': [{}, stated]}
    (folder / 'calibration/c.json').write_text(json.dumps(calibration))
    splits = {'scene_splits': {'1': {'filenames': ['000000/scene_5c56.json']}}}
    (root / 'ddad.json').write_text(json.dumps(splits))


CASES: dict[str, tuple[Callable[[Path], None], Any, tuple[float, float, float, float]]] = {
    'sevenscenes': (
        sevenscenes,
        sevenscenes_m(),
        (525.0, 525.0, 320.0, 240.0),
    ),
    'tum': (
        tum,
        [[NAN, 1.0, 0.5, 0.0002], [0.0002, 0.0002, 0.0002, 5.0]],
        (525.0, 525.0, 319.5, 239.5),
    ),
    'diode': (diode, [[NAN, 1, NAN, 3], [NAN, 5, 6, 7]], (886.81, 927.06, 512.0, 384.0)),
    'ibims': (ibims, [[NAN, 50, NAN, NAN], [10] * 4], (550.5, 551.5, 316.5, 239.5)),
    'ibims_matlab': (ibims_matlab, [[NAN, 50, NAN, NAN], [10] * 4], (550.5, 551.5, 316.5, 239.5)),
    'kitti_selection': (
        kitti_selection,
        [[NAN, 1.0, 20.0, 1 / 256], [NAN, NAN, NAN, 100.0]],
        (721.5377, 721.5377, 596.5593, 149.854),
    ),
    'sunrgbd': (
        sunrgbd,
        [[NAN, 2.0, 9.001, 0.001], [0.001] * 4],
        (518.8, 519.4, 325.5, 253.7),
    ),
    'vkitti2': (
        vkitti2,
        [[NAN, np.inf, 12.34, 1.0], [1.0] * 4],
        (725.0087, 725.0087, 620.5, 187.0),
    ),
    'hypersim': (
        hypersim,
        [[NAN, 3, 3, 3], [3] * 4],
        (4 * 886.81 / 1024, 4 * 886.81 / 1024, 1.5, 0.5),
    ),
    'ddad': (ddad, [[NAN, 5, NAN, NAN], [NAN, NAN, NAN, 10]], (2.0, 2.0, 1.5, 0.5)),
    'cityscapes': (cityscapes, [[NAN, 40, NAN, 20], [40] * 4], (2000.0, 2100.0, 1.5, 0.5)),
}


@pytest.mark.parametrize('name', CASES)
def test_depth_in_metres_and_the_camera(tmp_path: Path, name: str) -> None:
    build, depth_m, (fx, fy, cx, cy) = CASES[name]
    name = name.removesuffix('_matlab')
    root = tmp_path / 'data'
    build(root)
    assert detect_dataset(root) == name
    dataset: Any = open_dataset('auto', root=root)
    sample = dataset[0]
    valid = np.isfinite(np.asarray(depth_m, float))
    tolerance = 2e-3 if name == 'hypersim' else 1e-6  # distances there are of 16 bits
    np.testing.assert_allclose(sample.depth_m, depth_m, rtol=tolerance)
    np.testing.assert_array_equal(sample.valid, valid)
    matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(sample.intrinsics, matrix, rtol=1e-6)
    assert dataset.has_depth(0)
    assert all(path.is_file() for path in dataset.sources(0))
    split = tmp_path / 'list.txt'
    split.write_text(f'{sample.key}\n')
    assert len(open_dataset(name, root=root, split=split)) == 1
    split.write_text('nothing\n')
    with pytest.raises(DataError, match=r"line 1 of list .* names 'nothing', .*, as "):
        open_dataset(name, root=root, split=split)


@pytest.mark.parametrize('name', [name for name in CASES if name not in {'tum', 'ibims_matlab'}])
def test_another_folder_is_refused_with_the_layout(tmp_path: Path, name: str) -> None:
    picture(tmp_path / 'images/a.png')
    with pytest.raises(DataError, match=r'holds no image of .*; it must hold .* and the like'):
        open_dataset(name, root=tmp_path)


@pytest.mark.parametrize(
    ('build', 'unpacked', 'given', 'right'),
    [
        (sunrgbd, 'all/SUNRGBD', 'all', 'all/SUNRGBD'),
        (vkitti2, 'a/b/vkitti', 'a', 'a/b/vkitti'),
        (cityscapes, 'streets', 'streets/leftImg8bit', 'streets'),
    ],
)
def test_a_folder_above_or_within_a_data_set_names_the_right_one(
    tmp_path: Path, build: Any, unpacked: str, given: str, right: str
) -> None:
    build(tmp_path / unpacked)
    with pytest.raises(DataError, match=rf'holds no images, but {tmp_path}/{right} looks like '):
        detect_dataset(tmp_path / given)
    other = tmp_path / 'other'  # beside a data set, not of it
    (other / 'folder').mkdir(parents=True)
    assert detect_dataset(other) == 'folder'


@pytest.mark.parametrize(
    ('build', 'given'),
    [(tum, 'rgb'), (ibims, 'rgb'), (cityscapes, 'leftImg8bit/val/frankfurt')],
)
def test_images_within_a_data_set_are_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, build: Any, given: str
) -> None:
    build(tmp_path / 'data')
    assert detect_dataset(tmp_path / 'data' / given) == 'folder'
    assert f'without depth, but {tmp_path}/data looks like' in caplog.text


def test_ibims_is_read_without_its_list(tmp_path: Path) -> None:
    ibims(tmp_path)
    listed: Any = open_dataset('ibims', root=tmp_path)
    (tmp_path / 'imagelist.txt').unlink()
    assert detect_dataset(tmp_path) == 'ibims'
    found: Any = open_dataset('ibims', root=tmp_path)
    assert [pair.key for pair in found.pairs] == [pair.key for pair in listed.pairs]


def test_an_image_without_its_camera_or_mask_is_counted_and_said(tmp_path: Path) -> None:
    lost = ('sunrgbd', sunrgbd, 'intrinsics.txt'), ('diode', diode, '*_depth_mask.npy')
    for name, build, pattern in lost:
        build(tmp_path / name)
        path = next((tmp_path / name).rglob(pattern))
        path.unlink()
        with pytest.raises(DataError, match=f'{path} is not there'):
            _ = open_dataset(name, root=tmp_path / name)[0]


def test_poses_of_7_scenes_and_tum(tmp_path: Path) -> None:
    sevenscenes(tmp_path / 'rooms')
    tum(tmp_path / 'sequence')
    at = np.eye(4)
    at[:3, 3] = (1.0, 2.0, 3.0)
    np.savetxt(tmp_path / 'rooms/chess/seq-01/frame-000000.pose.txt', at)
    (tmp_path / 'sequence/groundtruth.txt').write_text('# time\n10.03 1 2 3 0 0 0 1\n')
    rooms: Any = open_dataset('sevenscenes', root=tmp_path / 'rooms')
    colour = at.copy()
    colour[0, 3] += 0.025  # beside the depth camera, whose pose it is
    np.testing.assert_allclose(rooms.place(0).camera_to_world, colour)
    dataset: Any = open_dataset('tum', root=tmp_path / 'sequence')
    np.testing.assert_allclose(dataset.place(0).camera_to_world, at)
    assert dataset.place(1) is None, 'half a second from the only pose'


def test_a_missing_depth_is_named(tmp_path: Path) -> None:
    vkitti2(tmp_path)
    path = tmp_path / 'Scene01/clone/frames/depth/Camera_0/depth_00000.png'
    path.unlink()
    dataset: Any = open_dataset('vkitti2', root=tmp_path)
    assert not dataset.has_depth(0)
    assert not dataset[0].valid.any()
    assert str(path) in dataset.depth_looked_for()


def test_tum_pairs_by_time_and_knows_its_cameras(tmp_path: Path) -> None:
    root = tmp_path / 'rgbd_dataset_freiburg3_office'
    tum(root)
    dataset: Any = open_dataset('tum', root=root)
    assert [dataset.has_depth(index) for index in range(2)] == [True, False]
    assert 'depth.txt is within 0.02 s of rgb/10.5' in dataset.depth_looked_for()
    assert dataset[0].intrinsics[0, 0] == pytest.approx(535.4)
    (root / 'depth.txt').write_text('10.01\n')
    with pytest.raises(DataError, match=r"line 1 of .*depth.txt is '10.01'; a line is"):
        open_dataset('tum', root=root)


def test_a_bad_camera_of_cityscapes(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    path = next(tmp_path.glob('camera/*/*/*'))
    path.write_text('{"intrinsic": {}}')
    with pytest.raises(DataError, match=r'camera .*_camera.json cannot be read'):
        _ = open_dataset('cityscapes', root=tmp_path)[0]


def test_hdf5_of_text_or_of_too_many_pixels_is_not_read(tmp_path: Path) -> None:
    hypersim(tmp_path)
    path = next(tmp_path.glob('*/images/*/*.hdf5'))
    dataset = open_dataset('hypersim', root=tmp_path)
    with h5py.File(path, 'w') as file:
        file.create_dataset('dataset', (100_000, 100_000), 'f4', chunks=(64, 64))  # few bytes
    with pytest.raises(DataError, match=r'floats of \[100000, 100000\]; it must hold'):
        _ = dataset[0]
    with h5py.File(path, 'w') as file:
        file['dataset'] = 'text'
    with pytest.raises(DataError, match=r"type 'O' of \[\]; it must hold numbers"):
        _ = dataset[0]
    path.write_bytes(b'no HDF5')
    with pytest.raises(DataError, match=r'cannot be read as HDF5'):
        _ = dataset[0]


def write_labelled(path: Path) -> None:
    images = np.zeros((2, 3, WIDTH, HEIGHT), np.uint8)
    images[1, 0, 3, 1] = 255  # red, column 3, row 1
    depths = np.full((2, WIDTH, HEIGHT), 2.5, np.float32)
    depths[1, 0, 1] = 0.0
    with h5py.File(path, 'w') as file:
        file['images'], file['depths'] = images, depths


def test_the_labelled_part_of_nyu_is_turned(tmp_path: Path) -> None:
    path = tmp_path / 'nyu_depth_v2_labeled.mat'
    write_labelled(path)
    dataset = open_dataset('auto', root=path)
    assert len(dataset) == 2
    sample = dataset[1]
    assert sample.image[:, 1, 3].tolist() == [1.0, 0.0, 0.0]
    np.testing.assert_array_equal(sample.depth_m, [[2.5] * 4, [NAN, 2.5, 2.5, 2.5]])
    with h5py.File(path, 'w') as file:
        file['images'] = np.zeros((2, 3), np.uint8)
    with pytest.raises(DataError, match=r'holds images \[2, 3\] and depths \[\]'):
        open_dataset('nyu_labelled', root=path)


def test_ddad_reads_one_part_and_names_what_is_broken(tmp_path: Path) -> None:
    ddad(tmp_path)
    assert len(open_dataset('ddad', root=tmp_path, part='val')) == 1
    with pytest.raises(DataError, match='holds no image of DDAD'):
        open_dataset('ddad', root=tmp_path, part='train')
    with pytest.raises(ConfigError, match=r"part is 'x'; ddad.json has train, val"):
        open_dataset('ddad', root=tmp_path, part='x')
    with pytest.raises(ConfigError, match=r"camera_name is 'front'; DDAD has CAMERA_01"):
        open_dataset('ddad', root=tmp_path, camera_name='front')
    dataset = open_dataset('ddad', root=tmp_path)
    next(tmp_path.glob('*/point_cloud/*/*.npz')).write_bytes(b'PK')
    with pytest.raises(DataError, match=r'scan .*npz cannot be read'):
        _ = dataset[0]
    path = tmp_path / '000000/scene_5c56.json'
    path.write_text('{"data": [{"key": "a"}], "samples": [{"datum_keys": ["a"]}]}')
    with pytest.raises(DataError, match=r"scene .* lacks 'id'"):
        open_dataset('ddad', root=tmp_path)


def test_an_unknown_option_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'diode' 'hight'; did you mean 'height'"):
        open_dataset('diode', root=tmp_path, hight=3)
