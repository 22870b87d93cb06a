# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.data import open_dataset
from depth_core.data.kitti.dataset import KittiDataset
from depth_core.data.kitti.files import read_calibration
from depth_core.data.kitti.split import LEFT, RIGHT, find_split, read_split
from depth_core.data.sample import DepthDataset
from depth_core.errors import ConfigError, DataError

HEIGHT, WIDTH, F_PX, CX_PX, CY_PX = 20, 40, 50.0, 19.0, 9.0
DAY, DRIVE = '2011_09_26', '2011_09_26_drive_0001_sync'
BASELINE_M = 0.06
LIDAR_PLACE_M = np.array([0.1, -0.2, -0.3])
CAMERA_FROM_LIDAR = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])

CAMERAS = f"""calib_time: 09-Jan-2012 13:57:47
S_rect_02: {WIDTH:e} {HEIGHT:e}
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: {F_PX} 0 {CX_PX} {F_PX * BASELINE_M} 0 {F_PX} {CY_PX} 0 0 0 1 0
S_rect_03: {WIDTH:e} {HEIGHT:e}
P_rect_03: {F_PX} 0 {CX_PX} {-F_PX * BASELINE_M} 0 {F_PX} {CY_PX} 0 0 0 1 0
"""
LIDAR = f"""R: {' '.join(str(value) for value in CAMERA_FROM_LIDAR.ravel())}
T: {' '.join(str(value) for value in LIDAR_PLACE_M)}
"""


def lidar_points(*pixels: tuple[float, float, float]) -> NDArray[np.float32]:
    """Lidar points that fall on (column, row) of the left image at a depth in metres."""
    points = []
    for column, row, depth_m in pixels:
        own = np.array([(column - CX_PX) / F_PX, (row - CY_PX) / F_PX, 1.0]) * depth_m
        reference = own - np.array([BASELINE_M, 0.0, 0.0])
        points.append(CAMERA_FROM_LIDAR.T @ (reference - LIDAR_PLACE_M))
    scan = np.zeros((len(points), 4), np.float32)
    scan[:, :3] = points
    return scan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A day of one drive: frame 0 with a scan, frame 1 without."""
    drive = tmp_path / DAY / DRIVE
    for folder in ('image_02/data', 'image_03/data', 'velodyne_points/data'):
        (drive / folder).mkdir(parents=True)
    (tmp_path / DAY / 'calib_cam_to_cam.txt').write_text(CAMERAS)
    (tmp_path / DAY / 'calib_velo_to_cam.txt').write_text(LIDAR)
    image = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
    for camera in ('image_02', 'image_03'):
        for frame in (0, 1):
            assert cv2.imwrite(str(drive / camera / f'data/{frame:010d}.png'), image)
    write_scan(tmp_path, (7.0, 5.0, 12.0), (30.0, 15.0, 6.0), (30.0, 15.0, 4.0), (90.0, 5.0, 3.0))
    return tmp_path


def write_scan(root: Path, *pixels: tuple[float, float, float], frame: int = 0) -> None:
    path = root / DAY / DRIVE / f'velodyne_points/data/{frame:010d}.bin'
    lidar_points(*pixels).tofile(path)


def test_scan_falls_on_the_pixels_it_was_made_for(root: Path) -> None:
    sample = KittiDataset(root)[0]
    expected = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    expected[5, 7] = 12.0
    expected[15, 30] = 4.0  # the nearest of two points wins; the point outside is dropped
    np.testing.assert_allclose(sample.depth_m.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(sample.valid.numpy(), np.isfinite(expected))


def test_nothing_is_subtracted_after_rounding(root: Path) -> None:
    write_scan(root, (7.4, 5.4, 10.0), (19.6, 8.6, 20.0))
    depth_m = KittiDataset(root)[0].depth_m.numpy()
    assert depth_m[5, 7] == pytest.approx(10.0)
    assert depth_m[9, 20] == pytest.approx(20.0)
    # Where the Matlab habit would put them:
    assert np.isnan(depth_m[4, 6])
    assert np.isnan(depth_m[8, 19])


def test_points_behind_the_camera_are_dropped(root: Path) -> None:
    write_scan(root, (7.0, 5.0, -12.0), (8.0, 5.0, 12.0))
    assert KittiDataset(root)[0].valid.sum() == 1


def test_image_and_intrinsics_are_those_of_the_files(root: Path) -> None:
    sample = KittiDataset(root)[0]
    stored = cv2.imread(str(root / DAY / DRIVE / 'image_02/data/0000000000.png'))
    assert stored is not None
    pixels = sample.image.permute(1, 2, 0).numpy() * 255.0
    np.testing.assert_allclose(pixels, stored[..., ::-1], atol=1e-3)
    expected = [[F_PX, 0.0, CX_PX], [0.0, F_PX, CY_PX], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(sample.intrinsics.numpy(), expected)
    assert sample.key == f'{DAY}/{DRIVE} 0000000000 l'
    assert isinstance(KittiDataset(root), DepthDataset)


def test_right_camera_sees_the_point_where_its_baseline_puts_it(root: Path) -> None:
    write_scan(root, (20.0, 5.0, 3.0))
    left, right = (KittiDataset(root, camera='both')[index] for index in (0, 2))
    shift_px = 2.0 * BASELINE_M * F_PX / 3.0
    assert left.valid[5, 20]
    assert right.valid[5, 20 - round(shift_px)]
    assert str(right.key).endswith(' r')


def test_resized_sample_projects_points_at_its_own_size(root: Path) -> None:
    dataset = open_dataset('kitti', root=root, height=HEIGHT // 2, width=WIDTH // 2)
    sample = dataset[0]
    assert sample.image.shape == (3, 10, 20)
    column, row = (7.0 + 0.5) / 2 - 0.5, (5.0 + 0.5) / 2 - 0.5
    assert sample.depth_m[round(row), round(column)] == pytest.approx(12.0)
    assert sample.intrinsics[0, 0] == F_PX / 2
    assert sample.intrinsics[0, 2] == (CX_PX + 0.5) / 2 - 0.5


def test_frame_without_scan_stays_without_valid_pixels(root: Path) -> None:
    dataset = KittiDataset(root)
    assert len(dataset) == 2
    assert not dataset[1].valid.any()
    assert dataset[1].depth_m.isnan().all()


def test_annotated_depth_is_code_over_256_and_0_is_none(root: Path) -> None:
    folder = root / 'train' / DRIVE / 'proj_depth/groundtruth/image_02'
    folder.mkdir(parents=True)
    codes = np.zeros((HEIGHT, WIDTH), np.uint16)
    codes[3, 4] = 2560
    assert cv2.imwrite(str(folder / '0000000001.png'), codes)
    dataset = KittiDataset(root, ground_truth='annotated')
    assert not dataset[0].valid.any()
    sample = dataset[1]
    assert sample.valid.sum() == 1
    assert sample.depth_m[3, 4] == 10.0


def test_stored_sparse_depth_loses_no_value_when_resized(root: Path) -> None:
    folder = root / DAY / DRIVE / 'proj_depth/velodyne/image_02'
    folder.mkdir(parents=True)
    depth_m = np.zeros((HEIGHT, WIDTH), np.float32)
    depth_m[5, 7], depth_m[16, 33] = 12.0, 30.0
    np.savez(folder / '0000000000.npz', velodyne_depth=depth_m)
    sample = KittiDataset(root, ground_truth='proj_depth', height=10, width=20)[0]
    assert sorted(sample.depth_m[sample.valid].tolist()) == pytest.approx([12.0, 30.0])


@pytest.mark.parametrize('suffix', ['.txt', '.txt.gz'])
def test_split_lists_are_read_plain_and_gzipped(tmp_path: Path, suffix: str) -> None:
    lines = f'{DAY}/{DRIVE} 0000000001 r\n{DAY}/{DRIVE} 7 l\n'
    lines += f'{DAY}/{DRIVE}/image_03/data/0000000009.png None 721.5\n\n'
    path = tmp_path / f'split{suffix}'
    path.write_bytes(gzip.compress(lines.encode()) if suffix.endswith('.gz') else lines.encode())
    frames = read_split(path)
    assert [(item.frame, item.camera) for item in frames] == [(1, RIGHT), (7, LEFT), (9, RIGHT)]
    assert frames[1].stem == '0000000007'


def test_lists_and_images_of_other_systems_are_read(root: Path) -> None:
    image = root / DAY / DRIVE / 'image_02/data/0000000001.png'
    image.rename(image.with_suffix('.PNG'))
    split = root / 'split.txt'
    split.write_text(f'{DAY}\\{DRIVE} 0000000001 l\r\n', encoding='utf-16')
    dataset = KittiDataset(root, split=split)
    assert dataset[0].key == f'{DAY}/{DRIVE} 0000000001 l'
    assert len(KittiDataset(root)) == 2


def test_a_list_is_found_by_its_name_beside_the_data(tmp_path: Path) -> None:
    root = tmp_path / 'raw'
    for path in ('raw/splits/eigen/test_files.txt', 'splits/eigen_zhou/val_files.txt.gz'):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    assert find_split(root, Path('eigen')) == root / 'splits/eigen/test_files.txt'
    zhou = tmp_path / 'splits/eigen_zhou/val_files.txt.gz'
    assert find_split(root, Path('eigen_zhou/val')) == zhou
    with pytest.raises(DataError, match=r"split 'eigen_zhou/train' is no file, .*train_files"):
        find_split(root, Path('eigen_zhou/train'))
    assert find_split(root, zhou) == zhou


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (f'{DAY}/{DRIVE} 0 l\n{DAY}/{DRIVE} 1\n', r"line 2 of split .* is '.* 1'.*0000000000 l"),
        ('\n \n', 'is empty'),
    ],
)
def test_malformed_split_names_the_line(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / 'split.txt'
    path.write_text(content)
    with pytest.raises(DataError, match=complaint):
        read_split(path)


def test_truncated_split_archive(tmp_path: Path) -> None:
    path = tmp_path / 'split.txt.gz'
    path.write_bytes(gzip.compress(b'2011' * 100)[:-12])
    with pytest.raises(DataError, match=r'split.txt.gz cannot be read'):
        read_split(path)


def test_split_frames_must_be_there(root: Path, tmp_path: Path) -> None:
    split = tmp_path / 'split.txt'
    split.write_text(f'{DAY}/{DRIVE} 0 l\n{DAY}/{DRIVE} 5 l\n')
    with pytest.raises(DataError, match=r'1 of 2 frames .* 0000000005 l; unpack'):
        KittiDataset(root, split=split)


def test_missing_and_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='nowhere does not exist'):
        KittiDataset(tmp_path / 'nowhere')
    with pytest.raises(DataError, match='holds no KITTI raw frame'):
        KittiDataset(tmp_path)


def test_what_is_missing_is_said_with_the_remedy(root: Path) -> None:
    remarks = KittiDataset(root, camera='right').remarks()
    assert len(remarks) == 1
    assert '2 of 2 frames have no oxts, the first' in remarks[0]
    assert 'nor flicker; unpack oxts' in remarks[0]
    for path in (root / DAY / DRIVE / 'image_03/data').iterdir():
        path.unlink()
    assert (
        '1 folders of a camera that is asked for have no image'
        in (KittiDataset(root, camera='both').remarks()[0])
    )
    missing = r'image_03/data/0000000000.png and the like, and its drives hold image_02: unpack'
    with pytest.raises(DataError, match=missing):
        KittiDataset(root, camera='right')


def test_unknown_ground_truth_is_answered_with_the_known(root: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'velodyne'"):
        KittiDataset(root, ground_truth='velodine')  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize('size', [0, 8, 17])
def test_truncated_scan(root: Path, size: int) -> None:
    path = root / DAY / DRIVE / 'velodyne_points/data/0000000000.bin'
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=f'0000000000.bin has {size} bytes.*truncated'):
        KittiDataset(root)[0]


@pytest.mark.parametrize('fraction', [0.0, 0.3, 0.8])
def test_truncated_image(root: Path, fraction: float) -> None:
    path = root / DAY / DRIVE / 'image_02/data/0000000000.png'
    keep = int(path.stat().st_size * fraction)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=rf'0000000000.png \({keep} bytes\) is (empty|a trunc)'):
        KittiDataset(root)[0]


def test_truncated_jpeg_is_not_filled_up_with_grey(root: Path) -> None:
    folder = root / DAY / DRIVE / 'image_02/data'
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    (folder / '0000000000.png').unlink()
    path = folder / '0000000000.jpg'
    assert cv2.imwrite(str(path), noise)
    assert KittiDataset(root)[0].image.shape == (3, HEIGHT, WIDTH)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match='truncated'):
        KittiDataset(root)[0]


def test_image_of_another_size_than_its_calibration(root: Path) -> None:
    path = root / DAY / DRIVE / 'image_02/data/0000000000.png'
    assert cv2.imwrite(str(path), np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(DataError, match='is 10x20, but its calibration is for 20x40'):
        KittiDataset(root)[0]


def test_stored_depth_of_another_size(root: Path) -> None:
    folder = root / DAY / DRIVE / 'proj_depth/velodyne/image_02'
    folder.mkdir(parents=True)
    np.savez(folder / '0000000000.npz', velodyne_depth=np.ones((4, 5), np.float32))
    with pytest.raises(DataError, match='depth of 4x5 does not belong to an image of 20x40'):
        KittiDataset(root, ground_truth='proj_depth')[0]


def test_broken_stored_depth(root: Path) -> None:
    folder = root / DAY / DRIVE / 'proj_depth/velodyne/image_02'
    folder.mkdir(parents=True)
    (folder / '0000000000.npz').write_bytes(b'PK no archive')
    with pytest.raises(DataError, match="'velodyne_depth' in metres"):
        KittiDataset(root, ground_truth='proj_depth')[0]


def test_calibration_with_a_missing_entry(root: Path) -> None:
    path = root / DAY / 'calib_cam_to_cam.txt'
    path.write_text(CAMERAS.replace('P_rect_02', 'P_02'))
    with pytest.raises(
        DataError, match=r'P_rect_02 of calibration .* has 0 numbers; it must have 12'
    ):
        read_calibration(root / DAY, LEFT)
    path.unlink()
    with pytest.raises(DataError, match=r'calib_cam_to_cam.txt cannot be read'):
        read_calibration(root / DAY, LEFT)


@pytest.mark.parametrize(
    ('file', 'entry'),
    [
        ('calib_cam_to_cam.txt', 'P_rect_02'),
        ('calib_cam_to_cam.txt', 'R_rect_00'),
        ('calib_velo_to_cam.txt', 'R'),
    ],
)
@pytest.mark.parametrize('word', ['0', 'nan', '7,2'])
def test_a_calibration_of_no_camera_names_file_and_entry(
    root: Path, file: str, entry: str, word: str
) -> None:
    path = root / DAY / file
    lines = path.read_text().splitlines()
    path.write_text(
        '\n'.join(
            f'{entry}: ' + ' '.join(word for _ in line.split()[1:])
            if line.startswith(f'{entry}:')
            else line
            for line in lines
        )
    )
    with pytest.raises(DataError, match=rf'{entry} of calibration .*{file} (is|has) '):
        read_calibration(root / DAY, LEFT)


def test_recorded_scans_project_as_the_chain_of_matrices_says(shared_dir: Path) -> None:
    root = shared_dir / 'data/kitti_raw_mini'
    split = shared_dir / 'data/splits/eigen_mini/test_files.txt'
    dataset = KittiDataset(root, split=split)
    assert len(dataset) == 25
    assert all(dataset[index].valid.sum() > 10_000 for index in (0, 12, 24))
    sample = dataset[0]
    assert sample.image.shape == (3, 375, 1242)
    np.testing.assert_allclose(sample.intrinsics[0].numpy(), [721.5377, 0.0, 609.5593])
    path = root / DAY / '2011_09_26_drive_0052_sync/velodyne_points/data/0000000000.bin'
    scan = np.fromfile(path, np.float32).reshape(-1, 4).astype(np.float64)
    entries = {
        name: np.array([float(word) for word in words.split()])
        for file in ('calib_cam_to_cam.txt', 'calib_velo_to_cam.txt')
        for name, words in (
            line.split(':', 1) for line in (root / DAY / file).read_text().splitlines()
        )
        if name in {'P_rect_02', 'R_rect_00', 'R', 'T'}
    }
    moved = scan[:, :3] @ entries['R'].reshape(3, 3).T + entries['T']
    turned = moved @ entries['R_rect_00'].reshape(3, 3).T
    projected = np.c_[turned, np.ones(len(turned))] @ entries['P_rect_02'].reshape(3, 4).T
    pixels = np.round(projected[:, :2] / projected[:, 2:]).astype(int)
    depth_m = sample.depth_m.numpy()
    inside = (pixels >= 0).all(axis=1) & (pixels < (1242, 375)).all(axis=1) & (projected[:, 2] > 0)
    drawn = depth_m[pixels[inside, 1], pixels[inside, 0]]
    assert np.isfinite(drawn).all()
    assert (drawn <= projected[inside, 2] + 1e-4).all()
    assert np.isfinite(depth_m).sum() == len(np.unique(pixels[inside], axis=0))


def test_recorded_projected_depth(shared_dir: Path) -> None:
    dataset = KittiDataset(shared_dir / 'data/kitti_raw_mini', ground_truth='proj_depth')
    indices = [i for i, frame in enumerate(dataset.frames) if frame.drive.endswith('0023_sync')]
    assert len(indices) == 7
    assert dataset[indices[0]].valid.sum() > 19_000
