# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.evaluate.surroundings import surroundings, thin
from depth_core.metrics.boundary import boundary_sums
from depth_core.metrics.regions import sums_by_place
from depth_core.preview import scale_of_scene

CAMERA = Intrinsics(fx_px=100.0, fy_px=100.0, cx_px=99.5, cy_px=39.5, height=120, width=200)


def street_m() -> Float32Array:
    """A camera 1.5 m above level ground, a wall 20 m ahead, a box 1 m high at 8 m."""
    rows = np.arange(CAMERA.height)[:, None] - CAMERA.cy_px
    with np.errstate(divide='ignore'):
        ground_m = np.where(rows > 0.0, 1.5 * CAMERA.fy_px / np.maximum(rows, 1e-6), np.inf)
    depth_m = np.minimum(np.broadcast_to(ground_m, (120, 200)), 20.0).astype(np.float32)
    top = round(CAMERA.cy_px + 0.5 / 8.0 * CAMERA.fy_px)
    bottom = round(CAMERA.cy_px + 1.5 / 8.0 * CAMERA.fy_px)
    depth_m[top:bottom, 60:120] = 8.0
    return np.asarray(depth_m, np.float32)


def test_ground_and_obstacles_are_told_apart_by_height() -> None:
    truth_m = street_m()
    groups = surroundings(truth_m, np.ones(truth_m.shape, np.bool_), CAMERA)
    assert groups['ground'][110].all(), 'the ground before the camera'
    assert not groups['ground'][:40].any()
    # The box from 0.3 m above the ground on: its foot is neither.
    assert groups['obstacle'][47:54, 60:120].all()
    assert not groups['obstacle'][62:].any()
    assert not (groups['ground'] & groups['obstacle']).any()


def test_sparse_truth_has_the_same_groups_where_it_is_known() -> None:
    truth_m = street_m()
    known = np.zeros(truth_m.shape, np.bool_)
    known[::3, ::2] = True
    whole = surroundings(truth_m, np.ones(truth_m.shape, np.bool_), CAMERA)
    sparse = surroundings(truth_m, known, CAMERA)
    for name in ('ground', 'obstacle'):
        assert (sparse[name] == (whole[name] & known)).mean() > 0.99


def test_a_pole_is_thin_and_a_wall_is_not() -> None:
    truth_m = np.full((40, 200), 10.0, np.float32)
    truth_m[:, 50:53] = 5.0  # a pole of three pixels; four are the widest
    truth_m[:, 100:160] = 5.0
    found = thin(truth_m)
    assert found[:, 50:53].all()
    assert found.sum() == 40 * 3
    truth_m[::2] = np.inf
    assert thin(truth_m)[1::2, 50:53].all(), 'lines of a lidar'


def test_boundaries_found_and_missed() -> None:
    truth_m, known = np.full((8, 12), 2.0), np.ones((8, 12), np.bool_)
    truth_m[:, 6:] = 4.0
    near = np.full((8, 12), 2.0)
    near[:, 7:] = 4.0  # one pixel off counts as right
    found = boundary_sums(near, truth_m, known).metrics()
    assert (found.precision, found.recall, found.f1) == (1.0, 1.0, 1.0)
    far = np.full((8, 12), 2.0)
    far[:, 10:] = 4.0
    missed = boundary_sums(far, truth_m, known).metrics()
    assert (missed.precision, missed.recall) == (0.0, 0.0)
    flat = boundary_sums(np.full((8, 12), 3.0), truth_m, known).metrics()
    assert np.isnan(flat.precision)
    assert flat.recall == 0.0


def test_errors_by_part_of_the_image() -> None:
    places = np.array([0, 5 * 9 + 7, 5 * 9 + 8])  # of 6x9 pixels
    _, sums = sums_by_place(np.array([0.1, 0.5, -0.5]), np.full(3, 2.0), places, (6, 9))
    found = {item.name: item for item in (sums + sums).regions()}
    assert found.keys() == {'top left', 'bottom right'}
    assert found['top left'].abs_rel == pytest.approx(0.1)
    assert (found['bottom right'].abs_rel, found['bottom right'].bias) == (0.5, 0.0)
    assert found['bottom right'].pixels == 4


def test_the_colours_of_a_scene_are_those_of_its_depths() -> None:
    depths = np.linspace(1.0, 3.0, 1001, dtype=np.float32)
    scale = scale_of_scene(depths, np.array([np.nan, np.inf, 0.0], np.float32))
    assert scale is not None
    assert (scale.near, scale.far) == pytest.approx((1.04, 2.96), abs=1e-3)
    wall = scale_of_scene(np.full(5, 2.0, np.float32))
    assert wall is not None
    assert (wall.near, wall.far) == (2.0, 3.0)
    assert scale_of_scene(np.array([np.nan], np.float32)) is None
