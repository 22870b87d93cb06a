# SPDX-License-Identifier: Apache-2.0
"""Scale from the ground and from sparse depth: planes and ratios known exactly, and streets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data import open_dataset
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import intrinsics_from_matrix, pixel_rays
from depth_core.scale import (
    GroundSettings,
    ScaleState,
    fit_ground_plane,
    ground_plane_scale,
    sparse_depth_scale,
)
from depth_core.scale.sparse import SPARSE_METHODS

pytestmark = pytest.mark.numeric

CAMERA = Intrinsics(fx_px=100.0, fy_px=100.0, cx_px=79.5, cy_px=39.5, height=96, width=160)
HEIGHT_M = 1.65


def street(
    *, tilt_rad: float = 0.0, roll_rad: float = 0.0, factor: float = 1.0
) -> tuple[Float32Array, NDArray[np.float64]]:
    """Depth of a plane 1.65 m below the camera, 40 m at most, and its normal."""
    normal = np.array(
        [
            math.sin(roll_rad),
            math.cos(roll_rad) * math.cos(tilt_rad),
            math.cos(roll_rad) * math.sin(tilt_rad),
        ]
    )
    rays = np.concatenate((pixel_rays(CAMERA), np.ones((96, 160, 1))), axis=-1)
    with np.errstate(divide='ignore'):
        depth_m = HEIGHT_M / (rays @ normal)
    depth_m[(depth_m < 0.0) | (depth_m > 40.0)] = 40.0
    return (depth_m / factor).astype(np.float32), normal


@pytest.mark.parametrize('factor', [0.01, 1.0, 30.0])
@pytest.mark.parametrize(('tilt_rad', 'roll_rad'), [(0.0, 0.0), (0.1, 0.0), (-0.05, 0.08)])
def test_an_exact_plane(factor: float, tilt_rad: float, roll_rad: float) -> None:
    depth, normal = street(tilt_rad=tilt_rad, roll_rad=roll_rad, factor=factor)
    found = ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M)
    assert found.valid
    assert found.scale == pytest.approx(factor, rel=1e-4)
    assert found.residual < 1e-4
    fit = fit_ground_plane(depth, CAMERA)
    assert fit.plane is not None
    np.testing.assert_allclose(fit.plane.normal, normal, atol=1e-4)
    assert fit.plane.height == pytest.approx(HEIGHT_M / factor, rel=1e-4)


def test_height_above_the_plane() -> None:
    fit = fit_ground_plane(street()[0], CAMERA)
    assert fit.plane is not None
    heights = fit.plane.height_above(np.array([[0.0, 1.65, 9.0], [3.0, 0.65, 5.0], [0, 2.15, 4]]))
    np.testing.assert_allclose(heights, [0.0, 1.0, -0.5], atol=1e-3)


@pytest.mark.parametrize('seed', range(3))
def test_noise_and_obstacles(seed: int) -> None:
    generator = np.random.default_rng(seed)
    depth, _ = street(factor=7.0)
    depth *= 1.0 + 0.02 * generator.standard_normal(depth.shape).astype(np.float32)
    depth[60:, 40:75] *= 0.6  # a car stands on a third of the road
    wild = generator.random(depth.shape) < 0.1
    depth[wild] *= generator.uniform(0.2, 0.9, wild.sum()).astype(np.float32)
    depth[generator.random(depth.shape) < 0.1] = np.nan
    found = ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M)
    assert found.valid
    assert found.scale == pytest.approx(7.0, rel=0.01)
    assert found.residual == pytest.approx(0.02, rel=0.25)  # the noise, less what it cuts off


def test_the_answer_does_not_depend_on_chance() -> None:
    depth, _ = street()
    depth *= 1.0 + 0.02 * np.random.default_rng(0).standard_normal(depth.shape).astype(np.float32)
    first = ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M)
    assert first == ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M)
    other = GroundSettings(seed=1)
    second = ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M, settings=other)
    assert second.scale == pytest.approx(first.scale, rel=5e-3)


def test_what_has_no_ground_has_no_scale() -> None:
    empty = ground_plane_scale(
        np.full((96, 160), np.nan, np.float32), CAMERA, camera_height_m=HEIGHT_M
    )
    assert (empty.state, empty.points) == (ScaleState.TOO_FEW_POINTS, 0)
    assert math.isnan(empty.scale)
    beyond = np.full((96, 160), np.inf, np.float32)
    state = ground_plane_scale(beyond, CAMERA, camera_height_m=HEIGHT_M).state
    assert state is ScaleState.TOO_FEW_POINTS
    wall = np.full((96, 160), 5.0, np.float32)  # a plane, but upright
    state = ground_plane_scale(wall, CAMERA, camera_height_m=HEIGHT_M).state
    assert state is ScaleState.NO_PLANE
    drawn = np.random.default_rng(0).uniform(1.0, 40.0, (96, 160)).astype(np.float32)
    state = ground_plane_scale(drawn, CAMERA, camera_height_m=HEIGHT_M).state
    assert state is ScaleState.NO_PLANE


def test_a_plane_with_much_below_it_is_no_ground() -> None:
    depth, _ = street()
    depth[:, :64] *= 2.0  # as far under the plane as the camera is above it
    found = ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M)
    assert found.state is ScaleState.INCONSISTENT
    assert math.isnan(found.scale)
    assert found.residual < 0.01


def test_too_steep_a_plane_is_no_ground() -> None:
    depth, _ = street(tilt_rad=0.35)
    assert ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M).state is ScaleState.NO_PLANE
    pitched = GroundSettings(down=(0.0, math.cos(0.35), math.sin(0.35)))
    found = ground_plane_scale(depth, CAMERA, camera_height_m=HEIGHT_M, settings=pitched)
    assert found.scale == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize('index', range(6))
def test_synthetic_streets_have_the_height_of_their_camera(index: int) -> None:
    dataset = SyntheticDataset(
        seed=5, length=6, height=96, width=160, scenes='outdoor', camera='kitti'
    )
    sample = dataset[index]
    assert sample.pose is not None
    camera = intrinsics_from_matrix(sample.intrinsics.numpy(), height=96, width=160)
    true_height_m = -float(sample.pose[1, 3])
    depth: Float32Array = (sample.depth_m / 3.7).numpy()
    found = ground_plane_scale(depth, camera, camera_height_m=true_height_m)
    assert found.valid
    assert found.scale == pytest.approx(3.7, rel=3e-3)  # beside it are kerbs and verges


def test_bad_questions_are_refused() -> None:
    depth, _ = street()
    with pytest.raises(ConfigError, match=r'camera height of 0\.0 m gives no scale'):
        ground_plane_scale(depth, CAMERA, camera_height_m=0.0)
    with pytest.raises(ConfigError, match=r'tolerance is 1\.5; give a share'):
        GroundSettings(tolerance=1.5)
    with pytest.raises(DataError, match='or resize them with it'):
        ground_plane_scale(depth[1:], CAMERA, camera_height_m=HEIGHT_M)


# Sparse depth


@pytest.mark.parametrize('method', ['median', 'least_squares'])
def test_a_factor_is_found_exactly(method: str) -> None:
    prediction = np.linspace(1.0, 20.0, 50).astype(np.float32)
    found = sparse_depth_scale(prediction, prediction * 2.5, method=method)  # type: ignore[arg-type]
    assert (found.state, found.points) == (ScaleState.VALID, 50)
    assert found.scale == pytest.approx(2.5, rel=1e-6)
    assert found.residual < 1e-6


def test_least_squares_by_hand() -> None:
    # w = 1 / t^2: scale = sum(p / t) / sum((p / t)^2) over the ratios p / t = 1, 1.1, 0.9.
    target = np.tile([2.0, 4.0, 8.0], 10)
    prediction = target * np.tile([1.0, 1.1, 0.9], 10)
    found = sparse_depth_scale(prediction, target, method='least_squares')
    assert found.scale == pytest.approx(3.0 / (1.0 + 1.21 + 0.81))
    # With sigma: sum(p t / s^2) / sum(p^2 / s^2); the last kind does not count.
    sigma = np.tile([1.0, 1.0, 1e6], 10)
    found = sparse_depth_scale(prediction, target, sigma=sigma, method='least_squares')
    assert found.scale == pytest.approx((2 * 2 + 4.4 * 4) / (2**2 + 4.4**2), rel=1e-6)


def test_outliers_are_left_out() -> None:
    generator = np.random.default_rng(0)
    prediction = generator.uniform(1.0, 30.0, 400)
    measured = 3.0 * prediction * (1.0 + 0.03 * generator.standard_normal(400))
    measured[:120] *= generator.uniform(2.0, 6.0, 120)  # through a window, off a mirror
    squares = sparse_depth_scale(prediction, measured, method='least_squares')
    assert squares.scale == pytest.approx(3.0, rel=0.01)
    assert 250 <= squares.points <= 285
    median = sparse_depth_scale(prediction, measured)
    assert median.scale == pytest.approx(3.0, rel=0.04)  # a third of wrong points pulls it a bit
    assert median.points == 400


def test_least_squares_is_the_more_exact_one() -> None:
    errors = {'median': 0.0, 'least_squares': 0.0}
    for seed in range(40):
        generator = np.random.default_rng(seed)
        prediction = generator.uniform(1.0, 30.0, 60)
        measured = prediction * (1.0 + 0.05 * generator.standard_normal(60))
        for method in errors:
            found = sparse_depth_scale(prediction, measured, method=method)  # type: ignore[arg-type]
            errors[method] += (found.scale - 1.0) ** 2
    assert errors['least_squares'] < errors['median']


def test_what_has_no_factor_has_no_scale() -> None:
    prediction = np.full(30, 2.0)
    few = sparse_depth_scale(prediction, np.where(np.arange(30) < 19, 4.0, np.nan))
    assert (few.state, few.points) == (ScaleState.TOO_FEW_POINTS, 19)
    unknown = np.array([np.nan, np.inf, 0.0, -1.0] * 10)
    assert sparse_depth_scale(unknown, np.ones(40)).points == 0
    other_shape = np.geomspace(0.1, 50.0, 100)
    found = sparse_depth_scale(other_shape, other_shape[::-1])
    assert found.state is ScaleState.INCONSISTENT
    assert found.residual > 0.5
    assert not found.valid
    generator = np.random.default_rng(0)
    unrelated = generator.uniform(1.0, 30.0, (2, 1000))
    for method in SPARSE_METHODS:
        found = sparse_depth_scale(unrelated[0], unrelated[1], method=method)
        assert found.state is ScaleState.INCONSISTENT
    rough = unrelated[0] * np.exp(0.3 * generator.standard_normal(1000))  # off by a third
    assert sparse_depth_scale(unrelated[0], rough).valid


def test_bad_sparse_questions_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown sparse scale method 'mean'"):
        sparse_depth_scale(np.ones(30), np.ones(30), method='mean')  # type: ignore[arg-type]
    with pytest.raises(DataError, match='give both for the same pixels'):
        sparse_depth_scale(np.ones(30), np.ones(29))


def test_recorded_lidar_agrees_with_itself(shared_dir: Path) -> None:
    root = shared_dir / 'data/kitti_raw_mini'
    dataset = open_dataset(
        'kitti', root=root, split=shared_dir / 'data/splits/eigen_mini/test_files.txt'
    )
    sample = dataset[0]
    measured_m = sample.depth_m.numpy()
    found = sparse_depth_scale(measured_m / np.float32(40.0), measured_m, method='least_squares')
    assert found.scale == pytest.approx(40.0, rel=1e-4)
    camera = intrinsics_from_matrix(
        sample.intrinsics.numpy(), height=measured_m.shape[0], width=measured_m.shape[1]
    )
    # The lidar of the road itself: the camera of the recording stands 1.65 m above it.
    ground = ground_plane_scale(measured_m, camera, camera_height_m=1.65)
    assert ground.valid
    assert ground.scale == pytest.approx(1.0, rel=0.06)
