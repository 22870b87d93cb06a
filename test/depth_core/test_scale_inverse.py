# SPDX-License-Identifier: Apache-2.0
"""Scale and shift of relative inverse depth, from true depth at some pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from depth_core.errors import DataError
from depth_core.scale import ScaleState, sparse_inverse_fit, sparse_plane


def scene(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Depths from 1 to 50 m, and v with 1 / z = 0.25 v - 0.5."""
    depth_m = np.geomspace(1.0, 50.0, count).astype(np.float32)
    return ((1.0 / depth_m + 0.5) / 0.25).astype(np.float32), depth_m


def test_two_numbers_are_found_and_invert_the_prediction() -> None:
    v, depth_m = scene()
    found = sparse_inverse_fit(v, depth_m)
    assert found.valid
    assert found.points == 400
    assert_allclose([found.scale, found.shift], [0.25, -0.5], rtol=1e-4)
    assert_allclose(found.depth_m(v), depth_m, rtol=1e-3)
    edges = found.depth_m(np.array([1.0, np.nan, 6.0], np.float32))
    assert np.isposinf(edges[0]), 'beyond the horizon'
    assert np.isnan(edges[1])
    assert_allclose(edges[2], 1.0, rtol=1e-4)


def test_four_in_ten_may_be_wrong() -> None:
    v, depth_m = scene()
    measured = depth_m.copy()
    measured[::5] = 2.0
    measured[1::5] = 60.0
    found = sparse_inverse_fit(v, measured)
    assert_allclose(found.depth_m(v), depth_m, rtol=1e-3)


def test_errors_of_a_share_of_the_distance_do_not_pull_it_away() -> None:
    v, depth_m = scene()
    noisy = depth_m * np.random.default_rng(1).normal(1.0, 0.03, depth_m.shape)
    found = sparse_inverse_fit(v, noisy)
    assert_allclose(found.depth_m(v)[depth_m < 20.0], depth_m[depth_m < 20.0], rtol=0.05)
    assert 0.005 < found.residual < 0.05


def test_holes_take_no_part() -> None:
    v, depth_m = scene()
    measured = depth_m.copy()
    measured[::2], measured[1::4], v[3::4] = np.nan, 0.0, np.inf
    assert sparse_inverse_fit(v, measured).state is ScaleState.TOO_FEW_POINTS
    measured[::2] = depth_m[::2]
    assert_allclose(sparse_inverse_fit(v, measured).scale, 0.25, rtol=1e-4)


@pytest.mark.parametrize('v', [np.ones(400), np.linspace(0.0, 1.0, 400)], ids=['flat', 'farther'])
def test_what_is_no_inverse_depth_is_refused(v: np.ndarray) -> None:
    _, depth_m = scene()
    found = sparse_inverse_fit(v, depth_m)
    assert found.state is ScaleState.INCONSISTENT
    assert np.isnan([found.scale, found.shift]).all()


def test_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match='for the same pixels'):
        sparse_inverse_fit(np.ones(30), np.ones(31))


def test_the_nearest_of_a_pixel_hides_what_is_behind() -> None:
    places = np.array([0.2, 0.9, 1.0, 2.5, 3.0, -0.1])
    plane = sparse_plane(
        places, np.zeros(6), np.array([4.0, 3.0, 5.0, -1.0, 7.0, 8.0]), height=3, width=2
    )
    assert plane[:, 0].tolist()[:2] == [3.0, 5.0], 'rows 0 (twice) and 1; row 3 is outside'
    assert np.isnan(plane[2, 0])
    assert np.isnan(plane[:, 1]).all()
