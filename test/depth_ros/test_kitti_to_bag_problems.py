# SPDX-License-Identifier: Apache-2.0
"""KITTI to rosbag2 where something is missing, damaged, or interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.kitti.recording import open_recording
from depth_core.errors import ConfigError, DataError, DepthError
from depth_ros.kitti_to_bag import conversion
from depth_ros.kitti_to_bag.__main__ import main
from test.depth_ros import kitti_drive
from test.depth_ros.kitti_drive import BEGIN_NS, LITTLE, raw_bytes, read, write_drive


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp('kitti'))


def test_a_conversion_goes_on_after_a_damaged_file_is_put_right(tmp_path: Path) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    whole, interrupted = tmp_path / 'whole', tmp_path / 'interrupted'
    main([str(drive), '--output', str(whole), *LITTLE])
    scan = drive / 'velodyne_points/data/0000000001.bin'
    content = scan.read_bytes()
    scan.write_bytes(content[:-3])
    with pytest.raises(DataError, match=r'truncated.*measurements are kept in .*\.partial'):
        main([str(drive), '--output', str(interrupted), *LITTLE])
    assert not interrupted.exists()
    kept = raw_bytes(tmp_path / 'interrupted.partial/interrupted_0')
    assert len(kept) == 1 + 2 + 1 + 2  # transforms, an image, its scan, the next image
    scan.write_bytes(content)
    main([str(drive), '--output', str(interrupted), *LITTLE])
    assert raw_bytes(interrupted) == raw_bytes(whole)
    assert len(list(interrupted.glob('*.mcap'))) == 2
    assert not (tmp_path / 'interrupted.partial').exists()


def test_a_conversion_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    main([str(drive), '--output', str(tmp_path / 'whole'), *LITTLE])
    settings = conversion.Settings(truth=(), oxts=False, part_bytes=10_000)
    chosen = conversion.plan(open_recording(drive), settings)
    seen = 0

    def interrupt(events: int, _size: int) -> None:
        nonlocal seen
        seen += events
        if seen == 5:
            raise KeyboardInterrupt

    output = tmp_path / 'bag'
    with pytest.raises(KeyboardInterrupt):
        conversion.convert(chosen, settings, output, progress=interrupt)
    assert not output.exists()
    begun: list[int] = []
    conversion.convert(chosen, settings, output, progress=lambda events, _: begun.append(events))
    assert begun[0] == 4  # in the parts that were complete
    assert sum(begun) == 6
    assert raw_bytes(output) == raw_bytes(tmp_path / 'whole')


def test_parts_of_another_conversion_are_not_gone_on_with(tmp_path: Path) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    scan = drive / 'velodyne_points/data/0000000002.bin'
    scan.write_bytes(b'123')
    for _ in range(2):
        with pytest.raises(DataError, match='kept in'):
            main([str(drive), '--output', str(tmp_path / 'bag'), *LITTLE])
    with pytest.raises(ConfigError, match='another source or with other options'):
        main([str(drive), '--output', str(tmp_path / 'bag'), '--images', 'raw', *LITTLE])


def test_frames_and_sensors_are_chosen(drive: Path, tmp_path: Path) -> None:
    options = ['--frames', '0', '2-9', '--no_oxts', '--no_lidar', '--cameras', '2']
    main([str(drive), '--output', str(tmp_path / 'bag'), *options])
    messages = read(tmp_path / 'bag')
    assert set(messages) == {
        '/tf_static',
        '/kitti/camera_color_left/camera_info',
        '/kitti/camera_color_left/image_rect/compressed',
        '/kitti/camera_color_left/velodyne_depth/camera_info',
        '/kitti/camera_color_left/velodyne_depth/image_rect',
    }
    stamps = [header_stamp_ns(item) for item in messages['/kitti/camera_color_left/camera_info']]
    assert stamps == [BEGIN_NS + 2_000_000, BEGIN_NS + 202_000_000]


def test_a_scan_that_was_not_recorded_does_not_shift_the_times_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    (drive / 'velodyne_points/data/0000000001.bin').unlink()
    for path in (drive / 'velodyne_points').glob('*.txt'):
        lines = path.read_text().splitlines()
        path.write_text('\n'.join([lines[0], '', lines[2]]) + '\n')
    main([str(drive), '--output', str(tmp_path / 'bag'), *LITTLE])
    stamps = [header_stamp_ns(item) for item in read(tmp_path / 'bag')['/kitti/velo/points']]
    assert stamps == [BEGIN_NS + 4_000_000, BEGIN_NS + 204_000_000]
    assert 'velodyne_points lacks 1 of the frames 0 to 2, first 1' in caplog.text


def test_times_that_are_missing_are_said_to_be_made_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    for path in drive.glob('*/timestamps*.txt'):
        path.unlink()
    main([str(drive), '--output', str(tmp_path / 'bag'), *LITTLE])
    stamps = [header_stamp_ns(item) for item in read(tmp_path / 'bag')['/kitti/velo/points']]
    midnight_ns = 1_316_995_200_000_000_000
    assert stamps == [midnight_ns, midnight_ns + 100_000_000, midnight_ns + 200_000_000]
    assert 'image_02/timestamps.txt is missing: its frames are put at 10 a second' in caplog.text
    assert 'has no images of the cameras 0 (gray_left), 1 (gray_right), 3 (color_right)' in (
        caplog.text
    )


def _cut_times(drive: Path) -> None:
    (drive / 'image_02/timestamps.txt').write_text(kitti_drive.stamp(0))


def _bad_time(drive: Path) -> None:
    (drive / 'image_02/timestamps.txt').write_text('2011-13-26 13:02:25.1\n' * 3)


def _no_calibration(drive: Path) -> None:
    (drive.parent / 'calib_velo_to_cam.txt').unlink()


def _other_size(drive: Path) -> None:
    cv2.imwrite(str(drive / 'image_02/data/0000000000.png'), np.zeros((8, 8, 3), np.uint8))


def _cut_image(drive: Path) -> None:
    path = drive / 'image_02/data/0000000000.png'
    path.write_bytes(path.read_bytes()[:-100])


def _no_images(drive: Path) -> None:
    for path in drive.glob('image_*/data/*'):
        path.unlink()


def _cut_oxts(drive: Path) -> None:
    (drive / 'oxts/data/0000000000.txt').write_text('49.0 8.4')


@pytest.mark.parametrize(
    ('damage', 'complaint'),
    [
        (_cut_times, r'timestamps.txt has 1 lines, but there is .*0000000002.png'),
        (_bad_time, r"line 1 of .*timestamps.txt is '2011-13-26 13:02:25.1'; a line is"),
        (_no_calibration, r'calibration .*calib_velo_to_cam.txt cannot be read'),
        (_other_size, r'0000000000.png is 8x8, but its calibration is for 30x96'),
        (_cut_image, r'0000000000.png .*truncated.*unpack it again'),
        (_no_images, r'holds no image; it must hold image_02/data'),
        (_cut_oxts, r'has 2 numbers; it must have 30'),
    ],
)
def test_a_half_unpacked_drive(tmp_path: Path, damage: Any, complaint: str) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    damage(drive)
    with pytest.raises(DepthError, match=complaint):
        main([str(drive), '--output', str(tmp_path / 'bag')])
    assert not (tmp_path / 'bag').exists()


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--cameras', '1'], r'camera 1 \(gray_right\) has no images .* 2 \(color_left\)'),
        (['--cameras', 'middle'], r"'middle' is no camera of KITTI"),
        (['--frames', '9-7'], r"'9-7' names no frames"),
        (['--frames', '70-80'], r'none of the frames .* is in'),
        (['--image', 'raw'], r"unknown option '--image'; did you mean '--images'"),
    ],
)
def test_wrong_options(tmp_path: Path, options: list[str], complaint: str) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    with pytest.raises(ConfigError, match=complaint):
        main([str(drive), '--output', str(tmp_path / 'bag'), *options])
    assert not (tmp_path / 'bag').exists()


def test_a_folder_of_drives_names_them(drive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'no single drive; it holds .*_drive_0001_sync'):
        main([str(drive.parents[1]), '--output', str(tmp_path / 'bag')])
    with pytest.raises(DataError, match=r'does not exist'):
        main([str(tmp_path / 'nothing'), '--output', str(tmp_path / 'bag')])


def test_a_bag_is_not_overwritten(drive: Path, tmp_path: Path) -> None:
    (tmp_path / 'bag').mkdir()
    with pytest.raises(ConfigError, match='exists; name a new folder'):
        main([str(drive), '--output', str(tmp_path / 'bag')])
