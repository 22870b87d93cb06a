# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from depth_core.metrics import (
    PROTOCOLS,
    SPARSIFICATION_STEPS,
    MetricAccumulator,
    best_constant_depth,
    calibration_sums,
    depth_metrics,
    find_protocol,
    sparsification_curves,
)

pytestmark = pytest.mark.numeric

TO_TEN_METRES = find_protocol('none', min_depth_m=1e-3, max_depth_m=10.0)


def plane(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


@given(st.lists(st.floats(0.5, 80.0), min_size=1, max_size=40), st.floats(0.5, 80.0))
def test_best_constant_beats_every_other(targets: list[float], other: float) -> None:
    values = np.array(targets)

    def error(constant: float) -> float:
        return float(np.mean(np.abs(constant - values) / values))

    assert error(best_constant_depth([values])) <= error(other) + 1e-12


def test_best_constant_weighs_images_not_pixels() -> None:
    crowd, single = np.full(1000, 2.0), np.full(1, 2.5)
    assert best_constant_depth([crowd]) == 2.0
    assert best_constant_depth([np.full(1000, 4.0), single, single]) == 2.5


def test_baseline_is_reported_beside_the_numbers() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((2.0, 4.0, 4.0)), plane((2.0, 4.0, 4.0)))
    result = accumulator.result()
    assert result.constant_depth_m == pytest.approx(2.0)
    assert result.constant_mean is not None
    assert result.constant_mean.abs_rel == pytest.approx((0.0 + 0.5 + 0.5) / 3)


def test_baseline_of_many_pixels_stays_close_to_the_exact_one() -> None:
    rng = np.random.default_rng(1)
    target = rng.uniform(1.0, 9.0, (200, 200)).astype(np.float32)
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(target, target)
    result = accumulator.result()
    exact = best_constant_depth([target.ravel()])
    assert result.constant_depth_m == pytest.approx(exact, rel=1e-3)
    assert result.constant_mean is not None
    exact_metrics = depth_metrics(np.full_like(target, exact), target)
    assert result.constant_mean.abs_rel == pytest.approx(exact_metrics.abs_rel, rel=1e-3)


def test_errors_by_distance_by_hand() -> None:
    accumulator = MetricAccumulator(PROTOCOLS['none'])
    accumulator.update(plane((1.5, 0.5, 66.0)), plane((1.0, 1.0, 60.0)))
    accumulator.update(plane((2.5, np.nan)), plane((1.0, 1.0)))
    near, far = accumulator.result().by_distance
    assert (near.from_m, near.to_m, near.pixels) == (1.0, 2.0, 3)
    assert near.abs_rel == pytest.approx((0.5 + 0.5 + 1.5) / 3)
    assert near.bias == pytest.approx((0.5 - 0.5 + 1.5) / 3)
    assert (far.from_m, far.to_m, far.pixels) == (60.0, math.inf, 1)
    assert far.bias == pytest.approx(0.1)


def test_perfect_uncertainty_has_no_ause() -> None:
    rng = np.random.default_rng(2)
    target = rng.uniform(2.0, 9.0, 500)
    prediction = target * rng.uniform(0.6, 1.6, 500)
    curves = sparsification_curves(prediction, target, np.abs(prediction - target) / target)
    assert curves['abs_rel'].ause == pytest.approx(0.0, abs=1e-12)
    assert curves['abs_rel'].aurg > 0.0
    assert len(curves['abs_rel'].by_sigma) == SPARSIFICATION_STEPS + 1


def test_inverted_uncertainty_is_worse_than_none() -> None:
    target = np.full(300, 4.0)
    prediction = np.linspace(4.0, 8.0, 300)
    curves = sparsification_curves(prediction, target, -prediction + 9.0)
    assert all(curve.aurg < 0.0 < curve.ause for curve in curves.values())


def test_constant_sigma_gains_nothing_in_any_pixel_order() -> None:
    target = np.full(400, 4.0)
    prediction = np.linspace(4.0, 8.0, 400)
    curve = sparsification_curves(prediction, target, np.ones(400))['abs_rel']
    np.testing.assert_allclose(curve.by_sigma[:-1], np.mean(prediction / 4.0 - 1.0))
    shuffled = np.random.default_rng(0).permutation(prediction)
    again = sparsification_curves(shuffled, target, np.ones(400))['abs_rel']
    assert again.ause == pytest.approx(curve.ause)
    # The last of 50 intervals falls to 0 for every order: half an interval is all it can gain.
    assert curve.aurg == pytest.approx(curve.by_sigma[0] / 100.0)


def test_sparsification_of_four_pixels_by_hand() -> None:
    target = np.ones(4)
    prediction = 1.0 + np.array([0.1, 0.2, 0.3, 0.4])
    curve = sparsification_curves(prediction, target, np.array([1.0, 2.0, 4.0, 3.0]))['abs_rel']
    assert curve.by_sigma[0] == pytest.approx(0.25)
    assert curve.by_sigma[13] == pytest.approx((0.1 + 0.2 + 0.4) / 3)
    assert curve.by_error[13] == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert curve.by_sigma[49] == pytest.approx(0.1)
    assert curve.by_sigma[50] == 0.0


def test_laplace_likelihood_by_hand() -> None:
    spread = 0.3 / math.sqrt(2.0)
    metrics = calibration_sums(np.array([2.0]), np.array([2.5]), np.array([0.3])).metrics()
    assert metrics.nll == pytest.approx(math.log(2.0 * spread) + 0.5 / spread)


def test_true_laplace_errors_are_calibrated_and_half_the_sigma_is_not() -> None:
    rng = np.random.default_rng(5)
    prediction = rng.uniform(4.0, 9.0, 40_000)
    sigma = rng.uniform(0.2, 2.0, 40_000)
    target = np.maximum(prediction + rng.laplace(scale=sigma / math.sqrt(2.0)), 1e-3)
    honest = calibration_sums(prediction, target, sigma).metrics()
    boasting = calibration_sums(prediction, target, 0.5 * sigma).metrics()
    assert honest.expected_within == pytest.approx(honest.observed_within, abs=0.01)
    assert honest.calibration_error < 0.01
    assert boasting.calibration_error > 0.05
    assert boasting.nll > honest.nll
    assert sum(honest.bin_share) == pytest.approx(1.0)


def test_pixels_without_usable_sigma_are_not_in_the_uncertainty() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    sigma = plane((0.5, np.nan, 0.0, np.inf))
    accumulator.update(plane((2.0, 2.0, 2.0, 2.0)), plane((2.0, 2.0, 2.0, 2.0)), sigma_m=sigma)
    result = accumulator.result()
    assert result.uncertainty is not None
    assert result.uncertainty.pixels == 1
    assert result.pooled is not None
    assert result.pooled.abs_rel == 0.0
