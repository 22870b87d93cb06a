# SPDX-License-Identifier: Apache-2.0
"""Rays and rectification are those of the camera, and calibrations that are none are refused."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from depth_core.camera import (
    Calibration,
    CameraError,
    CameraProblem,
    image_is_rectified,
    rays,
    rectification,
)
from depth_core.distortion import undistorted

pytestmark = pytest.mark.numeric

K = np.array([[500.0, 0.0, 319.5], [0.0, 510.0, 239.5], [0.0, 0.0, 1.0]])
P = np.array([[480.0, 0.0, 310.0, -48.0], [0.0, 490.0, 230.0, 0.0], [0.0, 0.0, 1.0, 0.0]])


def calibration(**changes: Any) -> Calibration:
    given: dict[str, Any] = {'height': 480, 'width': 640, 'k': K, 'p': P, 'r': np.eye(3), 'd': []}
    given.update(changes)
    given['d'] = np.array(given['d'], np.float64)
    return Calibration(**given)


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [
        ('plumb_bob', [-0.37, 0.2, 0.0005, 0.0002]),
        ('plumb_bob', [-0.37, 0.2, 0.0005, 0.0002, -0.05]),
        ('', [0.2, -0.1, 0.01, -0.02, 0.0]),
        ('rational_polynomial', [0.3, 0.1, 0.001, 0.001, 0.02, 0.4, 0.2, 0.01]),
        (
            'rational_polynomial',
            [0.3, 0.1, 0.001, 0.001, 0.02, 0.4, 0.2, 0.01, 0.01, -0.002, 0.02, 0.003],
        ),
        (
            'rational_polynomial',
            [0.3, 0.1, 0.001, 0.001, 0.02, 0.4, 0.2, 0.01, 0.01, -0.002, 0.02, 0.003, 0.05, -0.04],
        ),
        ('rational_polynomial', [0.1, 0.01, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1, *(0.0,) * 6]),
        ('rational_polynomial', [0.0] * 12 + [0.1, 0.2]),
    ],
)
def test_distorted_rays_project_back_to_their_pixels(
    model: str, coefficients: list[float]
) -> None:
    found = rays(calibration(distortion_model=model, d=coefficients), rectified=False)
    corners = [(0, 0), (479, 639), (0, 639), (240, 320), (100, 17)]
    directions = np.array([[*found[:, row, column], 1.0] for row, column in corners])
    pixels, _ = cv2.projectPoints(directions, np.zeros(3), np.zeros(3), K, np.array(coefficients))
    assert_allclose(pixels[:, 0], [(column, row) for row, column in corners], atol=2e-3)


@pytest.mark.parametrize(
    ('coefficients', 'f_px', 'share'),
    [
        ([-0.35, 0.12, 0.002, -0.003, -0.02], 400.0, 0.97),
        ([-0.3, 0.0, 0.001, -0.001], 330.0, 0.54),
        ([10.0, -3.0, 1e-3, 1e-3, 0.4, 10.3, -1.0, 0.5], 300.0, 0.98),
    ],
)
def test_every_ray_of_a_lens_that_folds_leads_to_its_pixel(
    coefficients: list[float], f_px: float, share: float
) -> None:
    """Near its edge the radius hardly grows; beyond there is no ray."""
    rows, columns = np.mgrid[:480, :640].astype(np.float64)
    points = np.stack((columns - 319.5, rows - 239.5), axis=-1).reshape(-1, 1, 2) / f_px
    lens = np.array(coefficients)
    rays = undistorted(points.copy(), lens, fisheye=False, focal_px=np.full(2, f_px))
    found = np.isfinite(rays).all(axis=(1, 2))
    assert found.mean() > share
    ahead = np.dstack((rays[found], np.ones((int(found.sum()), 1, 1))))
    still = np.zeros(3)
    seen, _ = cv2.projectPoints(ahead, still, still, np.eye(3), lens)
    assert np.abs(seen - points[found]).max() * f_px <= 1e-4  # pixels


def test_fisheye_rays_project_back_to_their_pixels() -> None:
    camera = calibration(distortion_model='equidistant', d=[0.05, -0.01, 0.002, 0.0])
    x, y = rays(camera, rectified=False)[:, 20, 600].astype(float)
    theta = np.arctan(np.hypot(x, y))
    bent = theta + 0.05 * theta**3 - 0.01 * theta**5 + 0.002 * theta**7
    column, row = np.array([x, y]) / np.hypot(x, y) * bent * [500, 510] + [319.5, 239.5]
    assert_allclose([column, row], [600, 20], atol=1e-3)


def test_where_the_distortion_folds_there_is_no_ray() -> None:
    found = rays(calibration(d=[-0.9, 0.0, 0.0, 0.0, 0.0]), rectified=False)
    assert np.isnan(found[:, 0, 0]).all()
    assert np.isfinite(found[:, 240, 320]).all()


def test_where_an_equidistant_lens_folds_there_is_no_ray() -> None:
    """The radius theta - 0.4 theta^3 is largest at 0.913, where it is 0.609."""
    found = rays(calibration(distortion_model='equidistant', d=[-0.4, 0, 0, 0]), rectified=False)
    radius = np.hypot((np.arange(640) - 319.5) / 500, 0.5 / 510)
    assert np.isfinite(found[0, 240, radius < 0.59]).all()
    folded = rays(calibration(distortion_model='equidistant', d=[-0.9, 0, 0, 0]), rectified=False)
    assert np.isnan(folded[:, 240, radius > 0.41]).all(), 'the largest radius is 0.406'
    angles = np.arctan(np.hypot(*folded[:, 240]))
    assert np.nanmax(angles) < 0.6086, 'the slope is zero there'


def test_a_coefficient_of_next_to_nothing_bends_nothing() -> None:
    plain = rays(calibration(distortion_model='equidistant', d=[-0.1, 0, 0, 0]), rectified=False)
    tiny = calibration(distortion_model='equidistant', d=[-0.1, 0, 0, 1e-320])
    assert_allclose(rays(tiny, rectified=False), plain)


def test_fisheye_images_are_rectified_where_their_rays_lead() -> None:
    camera = calibration(distortion_model='equidistant', d=[0.05, -0.01, 0.002, 0.0])
    straight = rectification(camera, rectified=False)
    assert straight.maps is not None
    columns, rows = straight.maps
    # Pixel (100, 50) of the rectified image lies along this ray, and the lens bends it to:
    x, y = (100 - 310) / 480, (50 - 230) / 490
    theta = np.arctan(np.hypot(x, y))
    bent = theta + 0.05 * theta**3 - 0.01 * theta**5 + 0.002 * theta**7
    expected = np.array([x, y]) / np.hypot(x, y) * bent * [500, 510] + [319.5, 239.5]
    assert_allclose([columns[50, 100], rows[50, 100]], expected, atol=1e-3)


def test_rectifying_puts_pixels_where_the_model_says() -> None:
    camera = calibration(d=[-0.2, 0.02, 0.0, 0.0, 0.0], p=np.zeros((3, 4)))
    straight = rectification(camera, rectified=False)
    assert straight.intrinsics.matrix.tolist() == K.tolist(), 'without P it is rectified to K'
    ramp = np.broadcast_to(np.arange(640)[:, None] // 3, (480, 640, 3)).astype(np.uint8)
    x, y = (600 - 319.5) / 500, (400 - 239.5) / 510
    square = x * x + y * y
    column = 319.5 + 500 * x * (1.0 - 0.2 * square + 0.02 * square**2)
    assert straight.apply(ramp)[400, 600, 0] == pytest.approx(column / 3, abs=1.0)


def test_a_rotation_turns_rectified_images_and_points() -> None:
    turn = cv2.Rodrigues(np.array([0.0, 0.1, 0.0]))[0]
    straight = rectification(calibration(r=turn, d=[0.0, 1e-9, 0.0, 0.0]), rectified=False)
    assert_allclose(straight.rotation, turn)
    assert straight.maps is not None
    # The optical axis of the rectified camera, seen by the raw one.
    x, _, z = turn.T @ [0.0, 0.0, 1.0]
    assert straight.maps[0][230, 310] == pytest.approx(500 * x / z + 319.5, abs=1e-2)


def test_images_that_are_straight_stay_as_they_are() -> None:
    turn = cv2.Rodrigues(np.array([0.0, 0.1, 0.0]))[0]
    image = np.zeros((480, 640, 3), np.uint8)
    by_p = rectification(calibration(r=turn, d=[0.1] * 5), rectified=True)
    by_k = rectification(calibration(r=turn), rectified=False)
    assert by_p.apply(image) is by_k.apply(image) is image
    assert_allclose(by_p.intrinsics.matrix, P[:, :3])
    assert_allclose(by_p.rotation, turn)
    assert_allclose(by_k.intrinsics.matrix, K)
    assert_allclose(by_k.rotation, np.eye(3))
    unstated = rectification(calibration(r=np.zeros((3, 3))), rectified=True)
    assert_allclose(unstated.rotation, np.eye(3))


@pytest.mark.parametrize(
    ('changes', 'problem', 'said'),
    [
        ({'d': [np.nan] * 5}, CameraProblem.UNCALIBRATED, 'D holds nan'),
        ({'k': np.full((3, 3), np.inf)}, CameraProblem.UNCALIBRATED, 'K holds inf'),
        ({'p': P * np.nan}, CameraProblem.UNCALIBRATED, 'P holds nan'),
        ({'r': np.full((3, 3), np.nan)}, CameraProblem.UNCALIBRATED, 'R holds nan'),
        ({'d': [0.1, -1e308, 0, 0]}, CameraProblem.UNCALIBRATED, r'D holds -1e\+308.*at most'),
        ({'k': np.zeros((3, 3)), 'p': P * 0}, CameraProblem.UNCALIBRATED, 'all-zero'),
        ({'k': -K, 'p': P * 0}, CameraProblem.UNCALIBRATED, 'not positive'),
        ({'d': [0.1]}, CameraProblem.DISTORTION, 'with 1 coefficients in D'),
        ({'d': [0.1] * 3}, CameraProblem.DISTORTION, 'plumb_bob with 4, 5, 8, 12, 14'),
        ({'d': [0.1] * 7}, CameraProblem.DISTORTION, 'with 7 coefficients in D'),
        (
            {'d': [0.1] * 5, 'distortion_model': 'equidistant'},
            CameraProblem.DISTORTION,
            "'equidistant' with 5 coefficients",
        ),
        (
            {'d': [0.1] * 4, 'distortion_model': 'double_sphere'},
            CameraProblem.DISTORTION,
            "'double_sphere' with 4 coefficients",
        ),
    ],
)
@pytest.mark.parametrize('use', [rays, rectification])
def test_what_is_no_calibration_is_refused(
    use: Any, changes: dict[str, Any], problem: CameraProblem, said: str
) -> None:
    with pytest.raises(CameraError, match=said) as caught:
        use(calibration(**changes), rectified=False)
    assert caught.value.problem is problem


def test_a_rectified_image_that_would_be_black_is_refused() -> None:
    with pytest.raises(CameraError, match=r'of the rectified image would show') as caught:
        rectification(calibration(d=[1e8] * 5), rectified=False)
    assert caught.value.problem is CameraProblem.DISTORTION


def test_odd_distortion_of_rectified_images_is_not_looked_at() -> None:
    odd = calibration(d=[0.1] * 3)
    assert_allclose(rays(odd, rectified=True), rays(calibration(), rectified=True))
    assert rectification(odd, rectified=True).maps is None


@pytest.mark.parametrize(
    'region', [(400, 40, 320, 240), (0, 300, 320, 240), (-1, 0, 320, 240), (0, 0, 0, 240)]
)
@pytest.mark.parametrize('size', [(240, 320), (480, 640)])
def test_a_region_outside_of_the_image_is_refused(
    region: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    with pytest.raises(CameraError, match='which is not inside of 640x480') as caught:
        calibration(region=region).fitted(height=size[0], width=size[1])
    assert caught.value.problem is CameraProblem.SIZE


def test_an_image_of_the_calibrated_size_is_not_cropped_whatever_the_region_says() -> None:
    whole = calibration(region=(100, 40, 320, 240)).fitted(height=480, width=640)
    assert_allclose(whole.k, calibration().k)
    assert_allclose(whole.p, calibration().p)
    assert whole.region == (0, 0, 0, 0)


def test_a_region_is_taken_off_once() -> None:
    part = calibration(region=(100, 40, 320, 240)).fitted(height=120, width=160)
    assert_allclose(part.k, np.array([[250.0, 0.0, 109.5], [0.0, 255.0, 99.5], [0.0, 0.0, 1.0]]))
    again = part.fitted(height=120, width=160)
    assert_allclose(again.k, part.k)
    assert_allclose(again.p, part.p)
    with pytest.raises(CameraError, match='320x240 pixels are described') as caught:
        calibration(region=(100, 40, 320, 240)).fitted(height=240, width=240)
    assert caught.value.problem is CameraProblem.SIZE


@pytest.mark.parametrize(
    ('topic', 'distortion', 'expected'),
    [
        ('/camera/image_rect', [0.1] * 5, True),
        ('/camera/image_rect_color', [0.1] * 5, True),
        ('/camera/rect/image', [0.1] * 5, True),
        ('image_rectified', [0.1] * 5, True),
        ('/camera/image_raw', [0.1] * 5, False),
        ('/direct_cam/image_raw', [0.1] * 5, False),
        ('/camera/image_unrectified', [0.1] * 5, False),
        ('/corrected_exposure/rectangle', [0.1] * 5, False),
        ('/camera/image_raw', [0.0] * 5, True),
        ('/camera/image_raw', [], True),
    ],
)
def test_what_makes_an_image_rectified(
    topic: str, distortion: list[float], expected: bool
) -> None:
    assert image_is_rectified(calibration(d=distortion), topic=topic) is expected
