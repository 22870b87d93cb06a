# SPDX-License-Identifier: Apache-2.0
"""Averaging with the mirror image on inverse depth: the authors' arrays, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthMap
from depth_core.evaluate import average_flipped

pytestmark = pytest.mark.numeric

INF, NAN = np.inf, np.nan


def depth_map(depth_m: NDArray[np.floating], sigma_m: NDArray[np.floating]) -> DepthMap:
    return DepthMap(
        depth_m=np.atleast_2d(depth_m).astype(np.float32),
        sigma_m=np.atleast_2d(sigma_m).astype(np.float32),
        backend='test',
        inference_s=0.5,
    )


def inverse_map(inverse: NDArray[np.floating]) -> DepthMap:
    return depth_map(1.0 / inverse, np.ones_like(inverse))


def test_blended_inverse_is_that_of_packnet(repository: Path) -> None:
    with np.load(repository / 'test/data/packnet_losses.npz') as arrays:
        plain, flipped, fused = (
            arrays[name][0, 0].astype(np.float64)
            for name in ('pp_inv', 'pp_inv_flipped_pred', 'pp_out')
        )
    ours = average_flipped(inverse_map(plain), inverse_map(flipped), 'blended_inverse')
    # Float32 depths and back again: a few roundings of 6e-8.
    np.testing.assert_allclose(1.0 / ours.depth_m, fused, rtol=1e-6)
    blended = average_flipped(inverse_map(plain), inverse_map(flipped), 'blended')
    assert np.abs(1.0 / blended.depth_m / fused - 1.0).max() > 1e-3, 'the arrays tell them apart'


def test_blended_inverse_is_that_of_monodepth(repository: Path) -> None:
    with np.load(repository / 'test/data/monodepth2_layers.npz') as arrays:
        plain, again, fused = (arrays[name][0] for name in ('pp_l', 'pp_r', 'pp_out'))
    mirrored = inverse_map(again[:, ::-1])
    ours = average_flipped(inverse_map(plain), mirrored, 'blended_inverse')
    np.testing.assert_allclose(1.0 / ours.depth_m, fused, rtol=1e-6)


def test_inverse_mean_and_its_sigma_by_hand() -> None:
    # In the middle both passes count half: 1 / depth = (1/2 + 1/4) / 2 = 3/8, and
    # sigma / depth^2 = (1/4 + 2/16) / 2 = 3/16.
    one = depth_map(np.full(21, 2.0), np.full(21, 1.0))
    two = depth_map(np.full(21, 4.0), np.full(21, 2.0))
    fused = average_flipped(one, two, 'blended_inverse')
    assert fused.depth_m[0, 10] == pytest.approx(8.0 / 3.0)
    assert fused.sigma_m[0, 10] == pytest.approx(3.0 / 16.0 * (8.0 / 3.0) ** 2)
    assert fused.depth_m[0, 0] == pytest.approx(4.0), 'the left border is seen by the second pass'
    assert fused.depth_m[0, -1] == pytest.approx(2.0)
    assert fused.inference_s == 1.0


def test_what_is_no_number_survives_the_inverse() -> None:
    middle = np.full(41, 2.0)

    def fused(one: float, two: float) -> float:
        plain, other = middle.copy(), middle.copy()
        plain[20], other[20] = one, two
        result = average_flipped(
            depth_map(plain, middle), depth_map(other, middle), 'blended_inverse'
        )
        return float(result.depth_m[0, 20])

    assert fused(INF, INF) == INF
    assert fused(-INF, -INF) == -INF
    assert fused(INF, 2.0) == 4.0, 'half the inverse depth'
    assert fused(-INF, 2.0) == -INF
    assert fused(NAN, 3.0) == 3.0
    assert fused(-INF, NAN) == -INF
    assert np.isnan(fused(NAN, NAN))
