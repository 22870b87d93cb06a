# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from depth_core.contracts import (
    DepthKind,
    DepthMap,
    Float32Array,
    InputSpec,
    Intrinsics,
    OutputSpec,
    probability_within_factor,
)
from depth_core.errors import ConfigError, DataError, unknown_name


def test_confidence_equals_the_laplace_probability_found_by_sampling() -> None:
    depth_m, sigma_m = 8.0, 1.5
    noise = np.random.default_rng(0).laplace(depth_m, sigma_m / math.sqrt(2.0), 400_000)
    inside = np.mean((noise > depth_m / 1.25) & (noise < depth_m * 1.25))
    computed = probability_within_factor(
        np.full((1, 1), depth_m, np.float32), np.full((1, 1), sigma_m, np.float32)
    )
    assert computed.item() == pytest.approx(inside, abs=4e-3)


def test_confidence_is_zero_without_an_estimate() -> None:
    depth_m = np.array([[np.nan, np.inf, -np.inf, 2.0, 2.0]], np.float32)
    sigma_m = np.array([[0.1, 0.1, 0.1, np.nan, 0.1]], np.float32)
    confidence = DepthMap(depth_m=depth_m, sigma_m=sigma_m).confidence
    np.testing.assert_array_equal(confidence[0, :4], 0.0)
    assert 0.99 < confidence[0, 4] <= 1.0
    assert confidence.dtype == np.float32


def test_sigma_is_made_when_it_is_first_asked_for_and_once() -> None:
    made: list[Float32Array] = []

    def make() -> Float32Array:
        made.append(np.full((1, 1), 0.5, np.float32))
        return made[-1]

    answer = DepthMap(depth_m=np.full((1, 1), 2.0, np.float32), sigma_m=make)
    assert made == []
    same = dataclasses.replace(answer, stamp_ns=7)
    assert same.sigma_m is answer.sigma_m is made[0]
    assert len(made) == 1
    assert same == dataclasses.replace(same)
    assert same != answer
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.sigma_m = made[0]  # type: ignore[misc]
    with pytest.raises(TypeError, match='sigma_m'):
        DepthMap(depth_m=made[0])


def test_confidence_falls_with_sigma() -> None:
    sigma_m = np.geomspace(1e-3, 1e3, 50, dtype=np.float32)[None]
    confidence = probability_within_factor(np.full_like(sigma_m, 10.0), sigma_m)
    assert (np.diff(confidence) <= 0).all()
    assert confidence[0, 0] == 1.0
    assert confidence[0, -1] < 0.01


def test_contracts_load_no_torch() -> None:
    code = "import depth_core.contracts, sys; raise SystemExit('torch' in sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)


def test_impossible_specs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'input\.height is 0'):
        InputSpec(height=0, width=320)
    with pytest.raises(ConfigError, match=r'input\.batch is -1'):
        InputSpec(height=240, width=320, batch=-1)
    with pytest.raises(ConfigError, match=r'depth\.min_m is 2.0 and depth\.max_m is 1.0'):
        OutputSpec(kind=DepthKind.METRIC, min_depth=2.0, max_depth=1.0)


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    assert unknown_name('model', 'densdepth', ['zoedepth_n', 'densedepth']) == (
        "unknown model 'densdepth'; did you mean 'densedepth'? Known: densedepth, zoedepth_n"
    )


def test_capitals_and_blanks_do_not_hide_the_nearest_name() -> None:
    assert "unknown encoding 'RGB8 '; did you mean 'rgb8'?" in unknown_name(
        'encoding', 'RGB8 ', ['mono8', 'rgb8', '16UC1']
    )


def test_an_inverse_of_unknown_scale_claims_no_probability() -> None:
    planes: dict[str, Any] = {
        'depth_m': np.full((2, 3), 10.0, np.float32),
        'sigma_m': np.full((2, 3), 0.1, np.float32),
    }
    for kind in (DepthKind.METRIC, DepthKind.UP_TO_SCALE):  # a ratio needs no scale
        np.testing.assert_allclose(DepthMap(kind=kind, **planes).confidence, 1.0, atol=1e-3)
    relative = DepthMap(kind=DepthKind.INVERSE, **planes)
    np.testing.assert_array_equal(relative.confidence, np.zeros((2, 3)))
    fitted = dataclasses.replace(relative, kind=DepthKind.METRIC)
    np.testing.assert_allclose(fitted.confidence, 1.0, atol=1e-3)


@pytest.mark.parametrize('name', ['fx_px', 'fy_px', 'cx_px', 'cy_px'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_intrinsics_are_finite(name: str, value: float) -> None:
    numbers = {'fx_px': 50.0, 'fy_px': 50.0, 'cx_px': 9.0, 'cy_px': 5.0, name: value}
    with pytest.raises(DataError, match=f'{name[:2]}={value}'):
        Intrinsics(**numbers, height=12, width=20)
