# SPDX-License-Identifier: Apache-2.0
"""Calibrations follow their image, and rays are those of the camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_core.images import MAX_PIXELS
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.camera_info import (
    CameraInfoStore,
    image_is_rectified,
    info_for_image,
    rays,
)
from depth_ros.middleware import publishers
from depth_ros.middleware.publishers import Publishers
from depth_ros.middleware.qos import Sender


def header(sec: int = 7, frame: str = 'camera') -> Header:
    result = Header(frame_id=frame)
    result.stamp.sec = sec
    return result


def calibration(**changes: object) -> CameraInfo:
    info = CameraInfo(width=640, height=480, distortion_model='plumb_bob', header=header(3))
    info.k = np.array([500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1])
    info.p = np.array([480.0, 0, 310.0, -48.0, 0, 490.0, 230.0, 0, 0, 0, 1, 0])
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def fitted(info: CameraInfo, width: int, height: int) -> CameraInfo:
    return info_for_image(info, header=header(), height=height, width=width)


def test_the_info_of_the_very_image_only_gets_its_header() -> None:
    info = calibration(d=[0.1, 0.2, 0.0, 0.0, 0.0])
    same = fitted(info, 640, 480)
    assert same.header == header()
    assert (same.width, same.height) == (640, 480)
    assert_allclose(same.k, info.k)
    assert_allclose(same.p, info.p)
    assert list(same.d) == list(info.d)
    assert info.header == header(3), 'the message of the driver was changed'


def test_half_the_size_halves_the_camera_around_pixel_centres() -> None:
    half = fitted(calibration(), 320, 240)
    assert (half.width, half.height) == (320, 240)
    assert_allclose(half.k, [250, 0, 159.5, 0, 255, 119.5, 0, 0, 1])
    assert_allclose(half.p, [240, 0, 154.75, -24, 0, 245, 114.75, 0, 0, 0, 1, 0])


def test_a_region_of_interest_moves_the_principal_point() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=240)
    cut = fitted(calibration(roi=roi), 320, 240)
    assert_allclose(cut.k, [500, 0, 219.5, 0, 510, 199.5, 0, 0, 1])
    assert_allclose(cut.p[:3], [480, 0, 210])
    assert cut.roi == RegionOfInterest(), 'the region would be taken off twice'


def test_binning_scales_the_region() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=240)
    binned = fitted(calibration(roi=roi, binning_x=2, binning_y=2), 160, 120)
    assert_allclose(binned.k, [250, 0, 109.5, 0, 255, 99.5, 0, 0, 1])
    assert binned.binning_x == binned.binning_y == 0


def test_an_uncalibrated_camera_stays_uncalibrated() -> None:
    for info in (CameraInfo(), CameraInfo(width=640, height=480)):
        same = fitted(info, 640, 480)
        assert not np.any(same.k)
        assert not np.any(same.p)
        assert (same.width, same.height) == (640, 480)
        with pytest.raises(FrameError, match='all-zero') as caught:
            rays(same, rectified=False)
        assert caught.value.reason is DropReason.UNCALIBRATED


@pytest.mark.parametrize(
    ('info', 'said'),
    [(calibration(), 'no plain resize'), (calibration(width=0), 'unknown')],
)
def test_an_info_of_another_image_is_refused(info: CameraInfo, said: str) -> None:
    with pytest.raises(FrameError, match=said) as caught:
        fitted(info, 640, 300)
    assert caught.value.reason is DropReason.CAMERA_INFO_SIZE


def test_rectified_images_obey_p_and_raw_ones_k() -> None:
    by_p = rays(calibration(), rectified=True)
    by_k = rays(calibration(), rectified=False)
    assert by_p.shape == by_k.shape == (2, 480, 640)
    assert_allclose(by_p[:, 200, 100], [(100 - 310) / 480, (200 - 230) / 490], rtol=1e-5)
    assert_allclose(by_k[:, 200, 100], [(100 - 319.5) / 500, (200 - 239.5) / 510], rtol=1e-5)


def test_a_lone_matrix_stands_in_for_the_empty_one() -> None:
    only_p, only_k = calibration(k=np.zeros(9)), calibration(p=np.zeros(12))
    assert_allclose(rays(only_p, rectified=False), rays(calibration(), rectified=True))
    assert_allclose(rays(only_k, rectified=True), rays(calibration(), rectified=False))


def test_an_unknown_distortion_model_is_refused() -> None:
    with pytest.raises(FrameError, match='thin_prism') as caught:
        rays(calibration(distortion_model='thin_prism', d=[0.1] * 6), rectified=False)
    assert caught.value.reason is DropReason.DISTORTION_MODEL


def test_a_calibration_that_is_no_number_is_refused() -> None:
    for name, values in (
        ('d', [np.nan] * 5),
        ('r', np.full(9, np.inf)),
        ('p', np.full(12, np.nan)),
    ):
        info = calibration(**{name: values})
        for use in (
            lambda info: fitted(info, 640, 480),
            lambda info: rays(info, rectified=False),
            lambda info: image_is_rectified(info, topic='/image', geometry='auto'),
        ):
            with pytest.raises(FrameError, match=f'{name.upper()} holds (nan|inf)') as caught:
                use(info)
            assert caught.value.reason is DropReason.UNCALIBRATED


def test_the_largest_image_is_four_times_that_of_the_camera() -> None:
    store = CameraInfoStore(Publishers('/camera/camera_info', kind='sensor_msgs/msg/CameraInfo'))
    assert store.max_pixels() == 16_000_000
    store.add(calibration())
    assert store.max_pixels() == 16_000_000
    store.add(calibration(width=4000, height=3000))
    assert store.max_pixels() == 4 * 4000 * 3000
    store.add(calibration(width=2**32 - 1, height=2**32 - 1))
    assert store.max_pixels() == MAX_PIXELS, 'a camera_info cannot raise the limit of the package'


@pytest.mark.parametrize(
    ('senders', 'said'),
    [
        ((), '/cam has no publisher; remap'),
        (
            (Sender(kind='sensor_msgs/msg/CameraInfo', reliability='reliable'),),
            'publishers: 1 x sensor_msgs/msg/CameraInfo, reliable; remap',
        ),
        (
            2 * (Sender(kind='sensor_msgs/msg/Image', reliability='best_effort'),),
            'best_effort, none of type sensor_msgs/msg/CameraInfo; remap front/camera_info (',
        ),
    ],
)
def test_a_topic_without_camera_info_is_said_with_its_publishers(
    senders: tuple[Sender, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishers, 'LOOK_S', math.inf)
    looks = iter((senders,))
    found = Publishers('/cam', kind='sensor_msgs/msg/CameraInfo', find=lambda: next(looks))
    store = CameraInfoStore(found, name='front/camera_info')
    for _ in range(2):  # images follow each other; publishers are looked for now and then
        with pytest.raises(FrameError) as caught:
            store.pair(header(), exact=False)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ('topic', 'distortion', 'geometry', 'expected'),
    [
        ('/camera/image_rect', [0.1], 'auto', True),
        ('/camera/image_raw', [0.1], 'auto', False),
        ('/camera/image_raw', [], 'auto', True),
        ('/camera/image_rect', [0.1], 'raw', False),
        ('/camera/image_raw', [0.1], 'rectified', True),
    ],
)
def test_what_makes_an_image_rectified(
    topic: str, distortion: list[float], geometry: str, expected: bool
) -> None:
    info = calibration(d=distortion)
    assert image_is_rectified(info, topic=topic, geometry=geometry) is expected


def test_the_info_of_the_same_stamp_is_preferred_to_the_latest() -> None:
    store = CameraInfoStore(Publishers('/camera/camera_info', kind='sensor_msgs/msg/CameraInfo'))
    with pytest.raises(FrameError, match='/camera/camera_info'):
        store.pair(header(), exact=False)
    for sec in (6, 7, 8):
        store.add(calibration(header=header(sec)))
    assert store.pair(header(7), exact=False).header.stamp.sec == 7
    assert store.pair(header(7), exact=True).header.stamp.sec == 7
    assert store.pair(header(9), exact=False).header.stamp.sec == 8
    with pytest.raises(FrameError, match='none of the last 3') as caught:
        store.pair(header(9), exact=True)
    assert caught.value.reason is DropReason.NO_CAMERA_INFO
