# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from depth_core.contracts import DepthKind, DepthMap, Float32Array, OutputSpec
from depth_core.errors import ConfigError
from depth_core.preview import (
    ColourScale,
    colour_depth,
    matplotlib_scale,
    palette,
    scale_for,
    scale_of_range,
    side_by_side,
)

METRIC = OutputSpec(kind=DepthKind.METRIC, min_depth=1.0, max_depth=100.0)
INVERSE = OutputSpec(kind=DepthKind.INVERSE, min_depth=1.0, max_depth=100.0)


def plane(values: object) -> Float32Array:
    return np.atleast_2d(np.asarray(values, np.float32))


def answer(values: object, kind: DepthKind = DepthKind.METRIC) -> DepthMap:
    depth = plane(values)
    return DepthMap(depth_m=depth, sigma_m=np.full_like(depth, np.nan), kind=kind)


def test_the_scale_is_logarithmic_between_its_ends() -> None:
    scale = ColourScale(near=1.0, far=100.0)
    depth = np.array([0.5, 1.0, 10.0, 100.0, 1000.0, np.inf, -np.inf], np.float32)
    np.testing.assert_allclose(scale.position(depth), [0, 0, 0.5, 1, 1, 1, 0], atol=1e-6)


def test_near_is_red_far_is_blue_and_nothing_is_black() -> None:
    near, far, beyond, nothing = colour_depth(
        plane([1.0, 60.0, np.inf, np.nan]), scale_for(METRIC)
    )[0]
    assert near[0] > 2 * int(near[2])
    assert far[2] > far[0]
    assert beyond.any()
    assert not nothing.any()


def test_the_ends_have_one_colour_each_and_the_infinities_are_at_them() -> None:
    scale = ColourScale(near=0.5, far=80.0)
    near, nearer, too_near, far, farther, beyond = colour_depth(
        plane([0.5, 0.1, -np.inf, 80.0, 300.0, np.inf]), scale
    )[0].tolist()
    assert near == nearer == too_near == palette()[0].tolist()
    assert far == farther == beyond == palette()[-1].tolist()


def test_the_palette_holds_the_colours_of_equal_steps_of_the_logarithm() -> None:
    scale = ColourScale(near=1.0, far=2.0**5.1)
    steps = plane(2.0 ** (0.1 * np.arange(52)))  # each step is 5 codes of 255
    np.testing.assert_array_equal(colour_depth(steps, scale)[0], palette()[::5])


def test_plots_have_the_same_colours() -> None:
    scale = ColourScale(near=0.5, far=80.0)
    depth = plane(np.geomspace(0.5, 80.0, 256))
    plotted = matplotlib_scale(scale).to_rgba(depth, bytes=True)[..., :3].astype(int)
    # matplotlib rounds to the other of two neighbouring colours here and there.
    assert np.abs(plotted - colour_depth(depth, scale)).max() <= 10


def test_the_same_depth_has_the_same_colour_in_every_frame() -> None:
    scale = scale_for(METRIC)
    one = colour_depth(plane([5.0, 90.0]), scale)
    other = colour_depth(plane([5.0, 2.0]), scale)
    np.testing.assert_array_equal(one[0, 0], other[0, 0])


def test_a_scale_can_be_given() -> None:
    scale = scale_for(METRIC, near=2.0, far=8.0)
    assert scale == ColourScale(near=2.0, far=8.0)


@pytest.mark.parametrize(
    ('depth_range', 'near', 'far', 'expected'),
    [
        ((0.5, 80.0), None, None, (0.5, 80.0)),
        ((0.001, 80.0), None, None, (0.4, 80.0)),  # a 200th
        ((0.5, 80.0), 2.0, None, (2.0, 80.0)),
        ((0.5, 80.0), 90.0, None, (90.0, 180.0)),  # beyond the far end: twice
        ((0.5, 80.0), None, 10.0, (0.5, 10.0)),
        ((0.5, 80.0), None, 0.6, (0.3, 0.6)),  # close to the near end: half
        ((0.5, 80.0), 0.01, 1000.0, (0.01, 1000.0)),
    ],
)
def test_limits_that_are_not_given_are_those_of_the_model(
    depth_range: tuple[float, float],
    near: float | None,
    far: float | None,
    expected: tuple[float, float],
) -> None:
    scale = scale_of_range(depth_range, near=near, far=far)
    assert (scale.near, scale.far) == pytest.approx(expected)


@pytest.mark.parametrize(('near', 'far'), [(8.0, 2.0), (0.0, 1.0), (1.0, float('inf'))])
def test_no_range_is_refused(near: float, far: float) -> None:
    with pytest.raises(ConfigError, match='0 < near < far'):
        scale_for(METRIC, near=near, far=far)


def test_inverse_depth_is_spread_over_its_image_with_large_values_red() -> None:
    assert scale_for(INVERSE) is None
    with pytest.raises(ConfigError, match='inverse'):
        scale_for(INVERSE, far=3.0)
    colours = colour_depth(plane([1000.0, -5.0, np.nan]), None)[0]
    assert colours[0][0] > 2 * int(colours[0][2])
    assert not colours[2].any()


@pytest.mark.parametrize('values', [[3.0, 3.0], [np.nan, np.nan]])
def test_an_image_without_contrast_is_coloured(values: list[float]) -> None:
    assert colour_depth(plane(values), None).shape == (1, 2, 3)


def test_side_by_side_keeps_the_image_and_adds_a_bar() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    whole = side_by_side(image, answer(np.full((60, 80), 4.0)), scale_for(METRIC))
    assert whole.shape == (60, 80 + 80 + 64, 3)
    np.testing.assert_array_equal(whole[:, :80], image)
    assert side_by_side(image, answer(np.ones((60, 80)), DepthKind.INVERSE), None).shape[1] == 160
