# SPDX-License-Identifier: Apache-2.0
"""Calibrations follow their image, and rays are those of the camera."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_ros.camera_info import (
    CameraInfoStore,
    image_is_rectified,
    info_for_image,
    rays,
)
from depth_ros.drops import DropReason, FrameError


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


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [
        ('plumb_bob', [-0.37, 0.2, 0.0005, 0.0002, -0.05]),
        ('plumb_bob', [0.2, -0.1, 0.01, -0.02, 0.0]),
        ('rational_polynomial', [0.3, 0.1, 0.001, 0.001, 0.02, 0.4, 0.2, 0.01]),
    ],
)
def test_distorted_rays_project_back_to_their_pixels(
    model: str, coefficients: list[float]
) -> None:
    info = calibration(distortion_model=model, d=coefficients)
    found = rays(info, rectified=False)
    corners = [(0, 0), (479, 639), (0, 639), (240, 320), (100, 17)]
    directions = np.array([[*found[:, row, column], 1.0] for row, column in corners])
    pixels, _ = cv2.projectPoints(
        directions,
        np.zeros(3),
        np.zeros(3),
        np.array(info.k).reshape(3, 3),
        np.array(coefficients),
    )
    assert_allclose(pixels[:, 0], [(column, row) for row, column in corners], atol=1e-3)


def test_fisheye_rays_project_back_to_their_pixels() -> None:
    info = calibration(distortion_model='equidistant', d=[0.05, -0.01, 0.002, 0.0])
    x, y = rays(info, rectified=False)[:, 20, 600].astype(float)
    theta = np.arctan(np.hypot(x, y))
    bent = theta + 0.05 * theta**3 - 0.01 * theta**5 + 0.002 * theta**7
    column, row = np.array([x, y]) / np.hypot(x, y) * bent * [500, 510] + [319.5, 239.5]
    assert_allclose([column, row], [600, 20], atol=1e-3)


def test_where_the_distortion_folds_there_is_no_ray() -> None:
    found = rays(calibration(d=[-0.9, 0.0, 0.0, 0.0, 0.0]), rectified=False)
    assert np.isnan(found[:, 0, 0]).all()
    assert np.isfinite(found[:, 240, 320]).all()


def test_an_unknown_distortion_model_is_refused() -> None:
    with pytest.raises(FrameError, match='thin_prism') as caught:
        rays(calibration(distortion_model='thin_prism', d=[0.1] * 6), rectified=False)
    assert caught.value.reason is DropReason.DISTORTION_MODEL


@pytest.mark.parametrize(
    ('topic', 'distortion', 'geometry', 'expected'),
    [
        ('/camera/image_rect', [0.1], 'auto', True),
        ('/camera/image_rect_color', [0.1], 'auto', True),
        ('/camera/image_raw', [0.1], 'auto', False),
        ('/directory/image_raw', [0.1], 'auto', False),
        ('/camera/image_raw', [0.0, 0.0], 'auto', True),
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
    store = CameraInfoStore('/camera/camera_info')
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
