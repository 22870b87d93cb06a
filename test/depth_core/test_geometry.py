# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from depth_core.contracts import Intrinsics
from depth_core.errors import DataError
from depth_core.geometry import (
    crop_intrinsics,
    focal_length_px,
    intrinsics_from_hfov,
    intrinsics_from_matrix,
    median_scale,
    mirror_camera,
    pixel_rays,
    project,
    render_sparse_depth,
    resize_intrinsics,
    scale_and_shift,
    transform,
    unproject,
)

pytestmark = pytest.mark.numeric

CAMERA = Intrinsics(fx_px=100.0, fy_px=50.0, cx_px=4.0, cy_px=2.0, height=6, width=8)


def test_hand_worked_projection() -> None:
    uv_px, z_m = project(np.array([[1.0, -2.0, 50.0], [0.0, 0.0, -1.0]]), CAMERA)
    np.testing.assert_allclose(uv_px[0], [6.0, 0.0])
    assert np.isnan(uv_px[1]).all()
    np.testing.assert_allclose(z_m, [50.0, -1.0])


def test_unproject_then_project_returns_every_pixel() -> None:
    depth_m = np.linspace(1.0, 9.0, 48, dtype=np.float32).reshape(6, 8)
    uv_px, z_m = project(unproject(depth_m, CAMERA).reshape(-1, 3), CAMERA)
    rows, columns = np.mgrid[:6, :8]
    np.testing.assert_allclose(uv_px[:, 0], columns.ravel(), atol=1e-4)
    np.testing.assert_allclose(uv_px[:, 1], rows.ravel(), atol=1e-4)
    np.testing.assert_allclose(z_m, depth_m.ravel())


def test_unproject_keeps_what_is_not_an_estimate() -> None:
    depth_m = np.full((6, 8), 2.0, np.float32)
    depth_m[0, 0], depth_m[1, 1] = np.nan, np.inf
    points = unproject(depth_m, CAMERA)
    assert np.isnan(points[0, 0]).all()
    assert np.isnan(points[1, 1, :2]).all()
    assert np.isfinite(points[2:]).all()


def test_unproject_refuses_intrinsics_of_another_size() -> None:
    with pytest.raises(DataError, match='5x8 does not belong to intrinsics of 6x8'):
        unproject(np.ones((5, 8), np.float32), CAMERA)


@pytest.mark.parametrize(('height', 'width'), [(12, 16), (3, 4), (7, 21)])
def test_resize_keeps_the_ray_through_the_image_borders(height: int, width: int) -> None:
    resized = resize_intrinsics(CAMERA, height=height, width=width)
    for edge in (-0.5, CAMERA.width - 0.5):
        ray = (edge - CAMERA.cx_px) / CAMERA.fx_px
        moved = (edge + 0.5) * width / CAMERA.width - 0.5
        assert (moved - resized.cx_px) / resized.fx_px == pytest.approx(ray)


def test_crop_moves_the_principal_point_only() -> None:
    cropped = crop_intrinsics(CAMERA, top=1, left=3, height=4, width=5)
    assert (cropped.cx_px, cropped.cy_px) == (1.0, 1.0)
    assert (cropped.fx_px, cropped.height, cropped.width) == (100.0, 4, 5)


def test_crop_refuses_a_window_outside() -> None:
    with pytest.raises(DataError, match='leaves the image of 6x8'):
        crop_intrinsics(CAMERA, top=3, left=0, height=4, width=5)


def test_nearest_point_wins_and_pixels_are_not_shifted() -> None:
    on_pixel_5_3 = np.array([1.0 / 100.0, 1.0 / 50.0, 1.0])
    points = np.stack((on_pixel_5_3 * 7.0, on_pixel_5_3 * 3.0, on_pixel_5_3 * 5.0))
    depth_m = render_sparse_depth(points, CAMERA)
    assert depth_m[3, 5] == pytest.approx(3.0)
    assert np.isnan(np.delete(depth_m.ravel(), 3 * 8 + 5)).all()


def test_points_outside_or_behind_leave_no_trace() -> None:
    points = np.array([[0.0, 0.0, -2.0], [100.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert np.isnan(render_sparse_depth(points, CAMERA)).all()


def test_transform_rotates_then_translates() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = [10, 20, 30]
    np.testing.assert_allclose(transform(np.array([[1.0, 2.0, 3.0]]), matrix), [[8, 21, 33]])


def test_median_scale_by_hand_ignores_invalid() -> None:
    prediction = np.array([[1.0, 2.0, 3.0, 99.0]], np.float32)
    target = np.array([[2.0, 5.0, 6.0, np.nan]], np.float32)
    assert median_scale(prediction, target, np.isfinite(target)) == pytest.approx(2.5)


def test_median_scale_says_what_is_missing() -> None:
    ones = np.ones((2, 2), np.float32)
    with pytest.raises(DataError, match='no ground truth'):
        median_scale(ones, ones, np.zeros((2, 2), np.bool_))
    with pytest.raises(DataError, match='median prediction, which is 0'):
        median_scale(0 * ones, ones, np.ones((2, 2), np.bool_))


def test_scale_and_shift_recovers_an_affine_map() -> None:
    prediction = np.arange(12, dtype=np.float32).reshape(3, 4)
    scale, shift = scale_and_shift(prediction, 0.5 * prediction + 3, prediction > 2)
    assert [scale, shift] == pytest.approx([0.5, 3.0])
    with pytest.raises(DataError, match='not unique'):
        scale_and_shift(np.ones_like(prediction), prediction, prediction > 2)


def test_an_uncalibrated_camera_is_refused() -> None:
    with pytest.raises(DataError, match='all-zero camera_info'):
        intrinsics_from_matrix(np.zeros((3, 3)), height=4, width=4)


def test_a_mirrored_camera_sees_each_ray_on_the_other_side() -> None:
    camera = Intrinsics(fx_px=3.0, fy_px=4.0, cx_px=0.5, cy_px=1.0, height=3, width=6)
    rays, mirrored = pixel_rays(camera), pixel_rays(mirror_camera(camera))
    np.testing.assert_allclose(mirrored[:, ::-1, 0], -rays[..., 0], rtol=1e-6)
    np.testing.assert_allclose(mirrored[:, ::-1, 1], rays[..., 1], rtol=1e-6)


def test_a_field_of_view_reaches_the_outer_edges() -> None:
    camera = intrinsics_from_hfov(90.0, height=4, width=10)
    assert (camera.cx_px, camera.cy_px) == (4.5, 1.5)
    assert camera.fx_px == camera.fy_px == pytest.approx(5.0)  # half of 10 at 45 degrees
    for wrong in (0.0, 180.0, float('nan')):
        with pytest.raises(DataError, match='field of view'):
            intrinsics_from_hfov(wrong, height=4, width=10)


def test_which_focal_length_counts() -> None:
    camera = Intrinsics(fx_px=3.0, fy_px=4.0, cx_px=0.5, cy_px=1.0, height=3, width=6)
    assert focal_length_px(camera) == focal_length_px(camera, 'mean') == 3.5
    assert (focal_length_px(camera, 'fx'), focal_length_px(camera, 'fy')) == (3.0, 4.0)
