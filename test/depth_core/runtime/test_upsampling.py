# SPDX-License-Identifier: Apache-2.0
"""Guided enlargement: edges of depth go where those of the image are, and nothing lies between."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.runtime.upsampling import sharpen_edges

FACTOR = 4
HEIGHT, WIDTH = 32, 48
"""Of the image; the network sees 8 x 12."""


def coarse_step(near: float = 2.0, far: float = 10.0) -> Float32Array:
    """Six columns near and six far: the step lies at column 24 of the image."""
    coarse = np.full((HEIGHT // FACTOR, WIDTH // FACTOR), near, np.float32)
    coarse[:, 6:] = far
    return coarse


def image_step(column: int) -> Uint8Array:
    """Black left of a column, white from there on."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, column:] = 255
    return image


def enlarged(coarse: Float32Array) -> Float32Array:
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))


def sharpened(coarse: Float32Array, image: Uint8Array) -> Float32Array:
    depth = enlarged(coarse)
    sharpen_edges(depth, coarse, image)
    return depth


def test_depth_without_an_edge_stays_bit_for_bit() -> None:
    ramp = np.linspace(5.0, 6.0, 12, dtype=np.float32)
    coarse = np.tile(ramp, (8, 1))
    assert np.array_equal(sharpened(coarse, image_step(20)), enlarged(coarse))


@pytest.mark.parametrize('column', [23, 24, 25])
def test_a_step_goes_where_the_colours_change_and_nothing_lies_between(column: int) -> None:
    coarse = coarse_step()
    between = (enlarged(coarse) > 2.001) & (enlarged(coarse) < 9.999)
    assert between.any(), 'bilinear interpolation flies'
    depth = sharpened(coarse, image_step(column))
    expected = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    expected[:, column:] = 10.0
    np.testing.assert_allclose(depth, expected, rtol=1e-5)


def test_an_image_without_colours_parts_the_sides_in_the_middle() -> None:
    depth = sharpened(coarse_step(), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    np.testing.assert_allclose(depth[:, :24], 2.0, rtol=1e-5)
    np.testing.assert_allclose(depth[:, 24:], 10.0, rtol=1e-5)


def test_each_side_is_a_mean_of_its_own_pixels() -> None:
    coarse = coarse_step()
    coarse[:, 5] = 2.1  # a little farther: still the near side
    coarse[:, 6] = 9.9
    depth = sharpened(coarse, image_step(24))
    assert depth[:, :24].max() <= 2.1 + 1e-5
    assert depth[:, 24:].min() >= 9.9 - 1e-4


def test_sky_is_a_side_and_is_not_mixed() -> None:
    depth = enlarged(coarse_step(5.0, 80.0))
    sharpen_edges(depth, coarse_step(5.0, np.inf), image_step(24))
    np.testing.assert_allclose(depth[:, :24], 5.0, rtol=1e-5)
    assert np.isposinf(depth[:, 24:28]).all(), 'the pixels of the edge'


@pytest.mark.parametrize('nothing', [np.nan, -np.inf])
def test_what_has_no_depth_takes_no_part_and_stays(nothing: float) -> None:
    coarse = coarse_step()
    coarse[3:5, 5] = nothing
    depth = enlarged(coarse_step())
    depth[14:17, 20:22] = nothing
    sharpen_edges(depth, coarse, image_step(24))
    np.testing.assert_array_equal(depth[14:17, 20:22], np.float32(nothing))
    depth[14:17, 20:22] = 2.0
    np.testing.assert_allclose(depth[:, :24], 2.0, rtol=1e-5)
    np.testing.assert_allclose(depth[:, 24:], 10.0, rtol=1e-5)


def test_the_image_may_have_any_size() -> None:
    large = cv2.resize(image_step(24), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    depth = sharpened(coarse_step(), np.asarray(large, np.uint8))
    np.testing.assert_allclose(depth, sharpened(coarse_step(), image_step(24)), rtol=1e-5)
