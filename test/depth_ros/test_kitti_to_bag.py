# SPDX-License-Identifier: Apache-2.0
"""KITTI to rosbag2; what other converters get wrong is a test each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.interfaces import ConnectionExtRosbag2

from depth_core.data.bag import BagDataset
from depth_core.data.bag.frame_tree import FrameTree
from depth_core.data.bag.messages import header_stamp_ns, points_of
from depth_core.data.bag.opener import open_bag
from depth_core.data.kitti.dataset import KittiDataset
from depth_core.geometry import transform
from depth_ros.kitti_to_bag.__main__ import main
from test.depth_ros import kitti_drive
from test.depth_ros.kitti_drive import (
    BEGIN_NS,
    DAY,
    FRAMES,
    HEIGHT,
    LITTLE,
    WIDTH,
    read,
    write_drive,
)

NAMES = ('gray_left', 'gray_right', 'color_left', 'color_right')
SAMPLE = Path(__file__).resolve().parents[2].parent / 'shared/data/kitti_raw_mini' / DAY


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp('kitti'))


@pytest.fixture(scope='module')
def bag_path(drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('bags') / 'drive'
    main([str(drive), '--output', str(path), '--images', 'raw'])
    return path


@pytest.fixture(scope='module')
def bag(bag_path: Path) -> dict[str, list[Any]]:
    return read(bag_path)


def numbers(text: str, shape: tuple[int, int]) -> Any:
    return np.array(text.split(), np.float64).reshape(shape)


def kitti_chain(points: Any, camera: int, day: Path) -> Any:
    """Pixels by P_rect * R_rect_00 * [R|T], straight from the calibration files."""
    entries = {}
    for name in ('calib_cam_to_cam.txt', 'calib_velo_to_cam.txt'):
        for line in (day / name).read_text().splitlines():
            key, _, values = line.partition(':')
            entries[key] = values
    rectify, move = np.eye(4), np.eye(4)
    rectify[:3, :3] = numbers(entries['R_rect_00'], (3, 3))
    move[:3, :3] = numbers(entries['R'], (3, 3))
    move[:3, 3] = numbers(entries['T'], (3, 1))[:, 0]
    ahead = np.hstack((points, np.ones((len(points), 1))))
    pixels = ahead @ (numbers(entries[f'P_rect_{camera:02d}'], (3, 4)) @ rectify @ move).T
    return pixels[:, :2] / pixels[:, 2:], pixels[:, 2]


def bag_chain(messages: dict[str, list[Any]], points: Any, name: str) -> Any:
    """Pixels by the bag's own transforms and camera_info."""
    frames = FrameTree()
    for message in messages['/tf_static']:
        frames.add(message)
    info = messages[f'/kitti/camera_{name}/camera_info'][0]
    lidar = messages['/kitti/velo/points'][0].header.frame_id
    matrix = frames.between(info.header.frame_id, lidar)
    pixels = (
        np.hstack((transform(points, matrix), np.ones((len(points), 1))))
        @ np.reshape(info.p, (3, 4)).T
    )
    return pixels[:, :2] / pixels[:, 2:]


@pytest.mark.parametrize('camera', range(4))
def test_the_lidar_falls_where_the_kitti_chain_puts_it(
    drive: Path, bag: dict[str, list[Any]], camera: int
) -> None:
    points = points_of(bag['/kitti/velo/points'][0], source='scan')
    np.testing.assert_array_equal(points, kitti_drive.scan(0)[:, :3])
    wanted, depth = kitti_chain(points, camera, drive.parent)
    seen = depth > 1.0
    pixels = bag_chain(bag, points, NAMES[camera])
    assert seen.sum() > 300
    np.testing.assert_allclose(pixels[seen], wanted[seen], atol=1e-3)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason='the KITTI sample is not here')
def test_a_real_drive_falls_where_the_kitti_chain_puts_it(tmp_path: Path) -> None:
    drive = SAMPLE / f'{DAY}_drive_0052_sync'
    main([str(drive), '--output', str(tmp_path / 'bag'), '--frames', '0-2'])
    messages = read(tmp_path / 'bag')
    points = points_of(messages['/kitti/velo/points'][0], source='scan')
    wanted, depth = kitti_chain(points, 2, SAMPLE)
    pixels = bag_chain(messages, points, 'color_left')
    assert len(points) > 10_000
    np.testing.assert_allclose(pixels[depth > 1.0], wanted[depth > 1.0], atol=1e-3)


@pytest.fixture(params=['UTC', 'America/New_York', 'Asia/Kathmandu'])
def _time_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    former = os.environ.get('TZ')
    os.environ['TZ'] = request.param
    time.tzset()
    yield
    if former is None:
        del os.environ['TZ']
    else:
        os.environ['TZ'] = former
    time.tzset()


@pytest.mark.usefixtures('_time_zone')
def test_stamps_are_those_of_the_files_in_any_time_zone_to_the_nanosecond(
    drive: Path, tmp_path: Path
) -> None:
    main([str(drive), '--output', str(tmp_path / 'bag'), '--cameras', '0', *LITTLE])
    messages = read(tmp_path / 'bag')
    images = messages['/kitti/camera_gray_left/image_rect/compressed']
    assert [header_stamp_ns(item) for item in images] == [
        BEGIN_NS + 100_000_000 * number for number in range(FRAMES)
    ]
    assert header_stamp_ns(messages['/kitti/velo/points'][0]) == BEGIN_NS + 4_000_000


def test_rectified_images_have_the_camera_of_p_rect_without_distortion(
    bag: dict[str, list[Any]],
) -> None:
    for name, projection in zip(NAMES, kitti_drive.P_RECT, strict=True):
        assert f'/kitti/camera_{name}/image_raw' not in bag
        image = bag[f'/kitti/camera_{name}/image_rect'][1]
        info = bag[f'/kitti/camera_{name}/camera_info'][1]
        matrix = numbers(projection, (3, 4))[:, :3]
        assert np.array_equal(np.reshape(info.k, (3, 3)), matrix)
        assert np.array_equal(np.reshape(info.p, (3, 4))[:, :3], matrix)
        assert np.reshape(info.r, (3, 3)).tolist() == np.eye(3).tolist()
        assert not np.any(info.d)
        assert (info.height, info.width) == (image.height, image.width) == (HEIGHT, WIDTH)
        assert header_stamp_ns(info) == header_stamp_ns(image)
        assert info.header.frame_id == image.header.frame_id == f'camera_{name}_optical_frame'


def test_pixels_are_those_of_the_files(bag: dict[str, list[Any]]) -> None:
    colour = bag['/kitti/camera_color_left/image_rect'][2]
    assert (colour.encoding, colour.step) == ('rgb8', 3 * WIDTH)
    bgr = kitti_drive.picture(22, (HEIGHT, WIDTH), gray=False)
    assert np.array_equal(colour.data.reshape(HEIGHT, WIDTH, 3), bgr[..., ::-1])
    gray = bag['/kitti/camera_gray_right/image_rect'][0]
    assert gray.encoding == 'mono8'
    assert np.array_equal(
        gray.data.reshape(HEIGHT, WIDTH), kitti_drive.picture(10, (HEIGHT, WIDTH), gray=True)
    )


def test_compressed_images_are_the_files(drive: Path, tmp_path: Path) -> None:
    cameras = ('--cameras', 'color_right', '0')
    main([str(drive), '--output', str(tmp_path / 'bag'), *cameras, *LITTLE])
    messages = read(tmp_path / 'bag')
    image = messages['/kitti/camera_color_right/image_rect/compressed'][1]
    assert image.format == 'bgr8; png compressed bgr8'
    assert image.data.tobytes() == (drive / 'image_03/data/0000000001.png').read_bytes()
    assert messages['/kitti/camera_gray_left/image_rect/compressed'][0].format == (
        'mono8; png compressed mono8'
    )
    assert not any('gray_right' in topic or 'color_left' in topic for topic in messages)


@pytest.mark.parametrize(
    ('yaw', 'wanted'), [(0.0, (0, 0, 0, 1)), (np.pi / 2, (0, 0, 0.5**0.5, 0.5**0.5))]
)
def test_quaternions_are_x_y_z_w(tmp_path: Path, yaw: float, wanted: tuple[float, ...]) -> None:
    drive = write_drive(tmp_path, cameras=(2,), frames=1, yaw=yaw)
    main([str(drive), '--output', str(tmp_path / 'bag')])
    messages = read(tmp_path / 'bag')
    moved = messages['/tf'][0].transforms[0]
    assert (moved.header.frame_id, moved.child_frame_id) == ('odom', 'base_link')
    turns = (
        messages['/kitti/oxts/imu'][0].orientation,
        messages['/kitti/odometry'][0].pose.pose.orientation,
        moved.transform.rotation,
    )
    for turn in turns:
        np.testing.assert_allclose((turn.x, turn.y, turn.z, turn.w), wanted, atol=1e-12)


def test_static_transforms_come_once_and_first_for_late_subscribers(
    bag_path: Path, bag: dict[str, list[Any]]
) -> None:
    with open_bag(bag_path) as opened:
        (static,) = (item for item in opened.connections if item.topic == '/tf_static')
        assert static.msgcount == 1
        assert isinstance(static.ext, ConnectionExtRosbag2)
        assert static.ext.offered_qos_profiles[0].durability.name == 'TRANSIENT_LOCAL'
        assert next(opened.messages(opened.connections)).connection.topic == '/tf_static'
    links = {item.child_frame_id: item.header.frame_id for item in bag['/tf_static'][0].transforms}
    cameras = {f'camera_{name}_optical_frame': 'velo_link' for name in NAMES}
    assert links == {'imu_link': 'base_link', 'velo_link': 'imu_link', **cameras}


def test_true_depth_is_that_of_the_data_set(bag: dict[str, list[Any]], drive: Path) -> None:
    samples = KittiDataset(drive.parents[1])
    for number in range(FRAMES):
        message = bag['/kitti/camera_color_left/velodyne_depth/image_rect'][number]
        assert message.encoding == '32FC1'
        depth_m = message.data.view(np.float32).reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(depth_m, samples[number].depth_m.numpy())
        assert np.isfinite(depth_m).sum() > 100
    info = bag['/kitti/camera_color_left/velodyne_depth/camera_info'][0]
    assert np.array_equal(info.k, bag['/kitti/camera_color_left/camera_info'][0].k)


def test_a_bag_is_a_data_set_whose_picture_is_not_the_depth(drive: Path, tmp_path: Path) -> None:
    options = ['--cameras', '2', '--no_oxts', '--images', 'raw']
    main([str(drive), '--output', str(tmp_path / 'bag'), *options])
    samples, wanted = BagDataset(tmp_path / 'bag'), KittiDataset(drive.parents[1])
    assert samples.topics.image == '/kitti/camera_color_left/image_rect'
    assert samples.topics.camera_info == '/kitti/camera_color_left/camera_info'
    for number in range(FRAMES):
        np.testing.assert_array_equal(samples[number].image, wanted[number].image)
        known = wanted[number].valid & samples[number].valid
        assert known.sum() > 0.95 * wanted[number].valid.sum()  # a few round to other pixels
        np.testing.assert_allclose(
            samples[number].depth_m[known], wanted[number].depth_m[known], rtol=1e-5
        )


def test_annotated_depth_is_in_metres_and_nan_where_there_is_none(tmp_path: Path) -> None:
    drive = write_drive(tmp_path, cameras=(2,))
    codes = np.zeros((HEIGHT, WIDTH), np.uint16)
    codes[3, 4] = 256 * 17 + 128
    folder = tmp_path / f'depth/val/{drive.name}/proj_depth/groundtruth/image_02'
    folder.mkdir(parents=True)
    assert cv2.imwrite(str(folder / '0000000001.png'), codes)
    main([str(drive), '--output', str(tmp_path / 'bag'), '--depth_root', str(tmp_path / 'depth')])
    (message,) = read(tmp_path / 'bag')['/kitti/camera_color_left/annotated_depth/image_rect']
    depth_m = message.data.view(np.float32).reshape(HEIGHT, WIDTH)
    assert depth_m[3, 4] == 17.5
    assert np.isnan(depth_m).sum() == HEIGHT * WIDTH - 1
    assert header_stamp_ns(message) == BEGIN_NS + 102_000_000  # of the image of camera 2


def test_each_point_has_the_time_at_which_the_lidar_looked_its_way(
    bag: dict[str, list[Any]],
) -> None:
    cloud = bag['/kitti/velo/points'][0]
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'intensity', 'time']
    values = cloud.data.view(np.float32).reshape(-1, 5)
    np.testing.assert_array_equal(values[:, 3], kitti_drive.scan(0)[:, 3])
    # 50 ms from behind to ahead, then 48 ms: left of the car, right of it, behind it, ahead.
    np.testing.assert_allclose(values[:4, 4], [0.024, -0.025, 0.048, 0.0], atol=1e-5)


def test_inertial_unit_gps_and_odometry_say_what_the_files_say(bag: dict[str, list[Any]]) -> None:
    fix = bag['/kitti/oxts/gps/fix'][0]
    assert (fix.latitude, fix.longitude, fix.altitude) == (49.0, 8.4, 112.5)
    assert fix.position_covariance[0] == pytest.approx(0.05**2)
    unit = bag['/kitti/oxts/imu'][0]
    assert (unit.linear_acceleration.z, unit.angular_velocity.z) == (9.8, 0.5)
    odometry = bag['/kitti/odometry'][2]
    place = odometry.pose.pose.position
    np.testing.assert_allclose((place.x, place.y, place.z), (2.0, 0.0, 0.0), atol=1e-6)
    # The unit is 1.405 m behind base_link and 0.32 m left of it; the car turns by 0.5 rad/s.
    speed = odometry.twist.twist.linear
    wx, wy, wz = 0.01, 0.02, 0.5
    x, y, z = 1.405, -0.32, -0.93
    wanted = (10.0 + wy * z - wz * y, wz * x - wx * z, wx * y - wy * x)
    np.testing.assert_allclose((speed.x, speed.y, speed.z), wanted, atol=1e-9)


def test_images_as_taken_keep_their_distortion(tmp_path: Path) -> None:
    drive = write_drive(tmp_path, kind='extract', cameras=(2,))
    main([str(drive), '--output', str(tmp_path / 'bag')])
    messages = read(tmp_path / 'bag')
    info = messages['/kitti/camera_color_left/camera_info'][0]
    assert '/kitti/camera_color_left/image_raw/compressed' in messages
    assert not any('depth' in topic for topic in messages)
    assert info.k.tolist() == [60.0, 0.0, 55.0, 0.0, 61.0, 20.0, 0.0, 0.0, 1.0]
    assert info.d.tolist() == [-0.37, 0.2, 0.002, 0.001, -0.07]
    assert (info.height, info.width) == (kitti_drive.RAW_HEIGHT, kitti_drive.RAW_WIDTH)
    # The frame is that of the lens: R turns it into the rectified one.
    frames = FrameTree()
    frames.add(messages['/tf_static'][0])
    matrix = frames.between(info.header.frame_id, 'velo_link')
    points = points_of(messages['/kitti/velo/points'][0], source='scan')
    rectified = transform(points, matrix) @ np.reshape(info.r, (3, 3)).T
    pixels = rectified @ np.reshape(info.p, (3, 4))[:, :3].T
    wanted, depth = kitti_chain(points, 2, drive.parent)
    seen = depth > 1.0
    np.testing.assert_allclose((pixels[:, :2] / pixels[:, 2:])[seen], wanted[seen], atol=1e-3)


def test_an_odometry_sequence_has_cameras_and_goes_ahead(tmp_path: Path) -> None:
    sequence = kitti_drive.write_sequence(tmp_path)
    main([str(sequence), '--output', str(tmp_path / 'bag'), '--storage', 'sqlite3'])
    messages = read(tmp_path / 'bag')
    info = messages['/kitti/camera_color_left/camera_info'][1]
    assert info.k.tolist() == [55.0, 0.0, 46.5, 0.0, 56.0, 14.25, 0.0, 0.0, 1.0]
    stamps = [header_stamp_ns(item) for item in messages['/kitti/velo/points']]
    assert np.diff(stamps).tolist() == [103_624_000, 103_624_100]
    assert 'time' not in [field.name for field in messages['/kitti/velo/points'][0].fields]
    for number, odometry in enumerate(messages['/kitti/odometry']):
        place = odometry.pose.pose.position
        assert (place.x, place.y, place.z) == (number, 0.0, 0.0)
        assert odometry.twist.twist.linear.x == pytest.approx(1.0 / 0.1036240, rel=1e-5)
    points = points_of(messages['/kitti/velo/points'][0], source='scan')
    frames = FrameTree()
    frames.add(messages['/tf_static'][0])
    matrix = frames.between('camera_color_left_optical_frame', 'velo_link')
    calibration = dict(
        line.split(': ') for line in (sequence / 'calib.txt').read_text().splitlines()
    )
    move = np.eye(4)
    move[:3] = numbers(calibration['Tr'], (3, 4))
    whole = np.hstack((points, np.ones((len(points), 1))))
    wanted = whole @ (numbers(calibration['P2'], (3, 4)) @ move).T
    seen = wanted[:, 2] > 1.0
    pixels = transform(points, matrix) @ np.reshape(info.p, (3, 4))[:, :3].T
    np.testing.assert_allclose(
        (pixels[:, :2] / pixels[:, 2:])[seen], (wanted[:, :2] / wanted[:, 2:])[seen], atol=1e-3
    )
