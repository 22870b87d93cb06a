# SPDX-License-Identifier: Apache-2.0
"""Maps of a camera: images, sparse depth and what the lens does not see, by OpenCV's formulas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_core import camera
from depth_core.camera import Calibration
from depth_core.contracts import Float32Array
from depth_core.errors import DataError
from depth_ros.frames.rectify import Maps

HEIGHT, WIDTH = 60, 80
K = np.array([[70.0, 0.0, 40.0], [0.0, 70.0, 30.0], [0.0, 0.0, 1.0]])
D = (-0.3, 0.1, 0.0, 0.0, 0.0)


def calibration(*, shift_px: float = 0.0, d: tuple[float, ...] = D) -> Calibration:
    k = K.copy()
    k[0, 2] += shift_px
    p = np.hstack([k, np.zeros((3, 1))])
    return Calibration(
        height=HEIGHT, width=WIDTH, k=k, d=np.array(d), r=np.eye(3), p=p,
        distortion_model='plumb_bob', region=(0, 0, 0, 0),
    )  # fmt: skip


def maps() -> Maps:
    own = calibration()
    found = camera.rectification(own, rectified=False)
    assert found.maps is not None
    return Maps(own, found, found.maps)


def measured(*pixels: tuple[int, int, float]) -> Float32Array:
    """A plane of the raw image with depth at (row, column)."""
    plane = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    for row, column, depth_m in pixels:
        plane[row, column] = depth_m
    return plane


def undistorted(row: int, column: int) -> tuple[int, int]:
    """Where OpenCV puts a raw pixel."""
    point = cv2.undistortPoints(np.array([[[column, row]]], np.float64), K, np.array(D), P=K)
    x, y = np.rint(point[0, 0]).astype(int)
    return int(y), int(x)


def test_an_image_is_that_of_opencv_inside() -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    expected = cv2.undistort(cv2.GaussianBlur(image, (0, 0), 2), K, np.array(D))
    found = maps()(np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8))
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(found[inner].astype(int) - expected[inner].astype(int)).max() <= 2


def test_measured_depth_goes_where_its_pixel_goes() -> None:
    pixels = [(30, 40), (10, 12), (50, 70)]
    moved = maps().moved(measured(*((row, column, 2.0 + row) for row, column in pixels)))
    assert np.isfinite(moved).sum() == 3
    assert undistorted(30, 40) == (30, 40), 'the principal point stays'
    assert undistorted(10, 12) != (10, 12), 'the others do not'
    for row, column in pixels:
        assert moved[undistorted(row, column)] == pytest.approx(2.0 + row)


def test_what_is_no_depth_or_leaves_the_view_is_lost() -> None:
    nothing = measured((30, 40, 0.0), (31, 40, -2.0), (32, 40, np.inf))
    assert np.isnan(maps().moved(nothing)).all()
    corner = undistorted(0, 0)
    assert min(corner) < 0
    assert np.isnan(maps().moved(measured((0, 0, 5.0)))).all()


def test_depth_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match='does not belong to images of 60x80'):
        maps().moved(np.ones((30, 40), np.float32))


def test_maps_serve_a_camera_that_is_all_but_the_same() -> None:
    own = maps()
    assert own.fits(calibration())
    assert own.fits(calibration(shift_px=0.04))
    assert not own.fits(calibration(shift_px=0.06))
    assert not own.fits(calibration(d=(-0.3, 0.1, 0.0, 0.0, 1e-4)))


def test_barrel_distortion_hides_nothing_and_pincushion_does() -> None:
    assert maps().hidden(HEIGHT, WIDTH) is None
    lens = calibration(d=(0.3, 0.0, 0.0, 0.0, 0.0))
    found = camera.rectification(lens, rectified=False)
    assert found.maps is not None
    hides = Maps(lens, found, found.maps)
    whole, half = hides.hidden(HEIGHT, WIDTH), hides.hidden(HEIGHT // 2, WIDTH // 2)
    assert whole is not None
    assert half is not None
    assert whole[0, 0]
    assert not whole[30, 40]
    assert half.shape == (30, 40)
    assert abs(half.mean() - whole.mean()) < 0.05
