# SPDX-License-Identifier: Apache-2.0
"""Averaging with the mirror image: the authors' arrays, and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, DepthMap, Intrinsics, Uint8Array
from depth_core.runtime.flip import FlipAverage, average_flipped, predict_averaged

pytestmark = pytest.mark.numeric

INF, NAN = np.inf, np.nan


def depth_map(
    depth_m: NDArray[np.floating],
    sigma_m: NDArray[np.floating] | None = None,
    depth_range: tuple[float, float] = (0.0, INF),
) -> DepthMap:
    sigma_m = depth_m if sigma_m is None else sigma_m
    return DepthMap(
        depth_m=np.atleast_2d(depth_m).astype(np.float32),
        sigma_m=np.atleast_2d(sigma_m).astype(np.float32),
        depth_range=depth_range,
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
    assert np.abs(1.0 / blended.depth_m / fused - 1.0).max() > 1e-3, 'the arrays differ'


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


def test_blended_flip_average_is_that_of_the_literature(repository: Path) -> None:
    with np.load(repository / 'test/data/flip_reference.npz') as arrays:
        plain, flipped, fused = (arrays[name] for name in ('plain', 'flipped', 'fused'))
    ours = average_flipped(depth_map(plain), depth_map(flipped), 'blended')
    np.testing.assert_allclose(ours.depth_m, fused, rtol=1e-5)


def test_mean_flip_average_turns_the_second_pass_back() -> None:
    one, two = depth_map(np.array([1.0, 2.0, 3.0])), depth_map(np.array([5.0, 6.0, 9.0]))
    averaged = average_flipped(one, two, 'mean')
    assert averaged.depth_m.tolist() == [[5.0, 4.0, 4.0]]
    assert averaged.sigma_m.tolist() == [[5.0, 4.0, 4.0]]
    assert averaged.inference_s == 1.0
    assert average_flipped(one, two, 'none') is one


@pytest.mark.parametrize('how', ['mean', 'blended'])
def test_what_is_no_number_survives_averaging(how: Any) -> None:
    nan, inf = np.nan, np.inf
    one = depth_map(np.array([nan, nan, 2.0, inf, 2.0, inf]))
    two = depth_map(np.array([inf, 3.0, inf, nan, 4.0, nan])[:])
    averaged = average_flipped(one, two, how).depth_m[0]
    mirrored = two.depth_m[0, ::-1]
    for index, value in enumerate(averaged.tolist()):
        pair = (float(one.depth_m[0, index]), float(mirrored[index]))
        if all(np.isnan(pair)):
            assert np.isnan(value)
        elif any(np.isnan(pair)):
            assert value == next(item for item in pair if not np.isnan(item))
        else:
            assert not np.isnan(value)


@pytest.mark.parametrize(
    ('how', 'one', 'two', 'expected'),
    [
        ('mean', 79.0, INF, 79.5),
        ('mean', INF, INF, INF),
        ('mean', 79.99, INF, INF),  # within a thousandth of the end
        ('mean', -INF, INF, 40.25),
        ('mean', -INF, -INF, -INF),
        ('mean', 0.7, -INF, 0.6),
        ('blended', -INF, 1.5, 1.0),
        ('blended_inverse', INF, 20.0, 32.0),  # 1 / ((1/80 + 1/20) / 2)
        ('blended_inverse', -INF, INF, 80.0 / 80.5),  # 1 / ((2 + 1/80) / 2)
        ('mean', NAN, INF, INF),
        ('mean', 500.0, 500.0, INF),
    ],
)
def test_beyond_the_range_counts_as_its_end(
    how: FlipAverage, one: float, two: float, expected: float
) -> None:
    passes = [depth_map(np.full(21, value), depth_range=(0.5, 80.0)) for value in (one, two)]
    averaged = average_flipped(passes[0], passes[1], how)
    assert averaged.depth_m[0, 10] == pytest.approx(expected, rel=1e-6)


def test_inverse_depth_without_range_is_averaged_as_it_is() -> None:
    one, two = (
        replace(depth_map(np.full(3, value)), kind=DepthKind.INVERSE) for value in (-3.0, 1.0)
    )
    assert average_flipped(one, two, 'mean').depth_m.tolist() == [[-1.0, -1.0, -1.0]]


def test_the_second_pass_sees_the_mirror_image_and_none_runs_once() -> None:
    seen: list[Uint8Array] = []
    cameras: list[Intrinsics | None] = []

    def predict(image: Uint8Array, intrinsics: Intrinsics | None) -> DepthMap:
        seen.append(image)
        cameras.append(intrinsics)
        return depth_map(image[..., 0].astype(np.float32))

    image = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    np.testing.assert_array_equal(
        predict_averaged(predict, image, 'mean').depth_m[1], [*range(15, 30, 3)]
    )
    np.testing.assert_array_equal(seen[1], image[:, ::-1])
    assert seen[1].flags.c_contiguous
    predict_averaged(predict, image, 'none')
    assert len(seen) == 3
    assert cameras == [None, None, None]
    camera = Intrinsics(fx_px=4.0, fy_px=5.0, cx_px=1.0, cy_px=0.5, height=2, width=5)
    predict_averaged(predict, image, 'mean', camera)
    assert cameras[3:] == [camera, replace(camera, cx_px=3.0)]  # column u becomes 4 - u
