# SPDX-License-Identifier: Apache-2.0
"""Scale from motion: a world of two distances in which the camera moves sideways."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.errors import DataError
from depth_core.scale import MotionView, ScaleState, motion_scale

pytestmark = pytest.mark.numeric

HEIGHT, WIDTH, FOCAL_PX = 160, 240, 200.0
CAMERA = Intrinsics(
    fx_px=FOCAL_PX, fy_px=FOCAL_PX, cx_px=119.5, cy_px=79.5, height=HEIGHT, width=WIDTH
)
NEAR_M, FAR_M = 5.0, 10.0
"""Of the lower and the upper half."""
MOVED_M = 0.2
"""To the left: 200 px * 0.2 m / 5 m = 8 px below, and 4 px above."""


def texture() -> Uint8Array:
    """Spots of some pixels, wider than the image."""
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH + 16)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray(cv2.equalizeHist(smooth), np.uint8)


def seen(*, moved: bool) -> Uint8Array:
    strip = texture()
    near, far = (8, 4) if moved else (0, 0)
    upper = strip[: HEIGHT // 2, 8 - far : 8 - far + WIDTH]
    lower = strip[HEIGHT // 2 :, 8 - near : 8 - near + WIDTH]
    return np.ascontiguousarray(np.concatenate((upper, lower)))


def depth_m() -> Float32Array:
    depth = np.full((HEIGHT, WIDTH), FAR_M, np.float32)
    depth[HEIGHT // 2 :] = NEAR_M
    return depth


def view(unit_m: float = 1.0) -> MotionView:
    """The first image; its depth in units of so many metres."""
    depth = (depth_m() / unit_m).astype(np.float32)
    return MotionView(grey=seen(moved=False), depth=depth, intrinsics=CAMERA)


@pytest.mark.parametrize('unit_m', [1.0, 0.02, 30.0])
def test_the_motion_gives_the_unit_of_the_depth(unit_m: float) -> None:
    found = motion_scale(view(unit_m), seen(moved=True), moved_m=MOVED_M)
    assert found.valid
    assert found.scale == pytest.approx(unit_m, rel=0.05)
    assert found.residual < 0.1
    assert found.points >= 40


def test_depth_that_is_missing_takes_no_part() -> None:
    before = view()
    before.depth[:, ::2] = np.nan
    before.depth[:, 1::4] = np.inf
    found = motion_scale(before, seen(moved=True), moved_m=MOVED_M, min_points=20)
    assert found.scale == pytest.approx(1.0, rel=0.1)
    before.depth[:] = np.nan
    assert motion_scale(before, seen(moved=True), moved_m=MOVED_M).state is (
        ScaleState.TOO_FEW_POINTS
    )


@pytest.mark.parametrize(
    ('grey', 'moved_m'),
    [
        (seen(moved=True), 0.05),  # less than corners can tell
        (seen(moved=False), 1.0),  # the image stands still
        (np.full((HEIGHT, WIDTH), 90, np.uint8), 1.0),  # nothing is found again
    ],
    ids=['no way', 'no flow', 'no corners'],
)
def test_too_little_to_go_by_gives_no_scale(grey: Uint8Array, moved_m: float) -> None:
    found = motion_scale(view(), grey, moved_m=moved_m)
    assert found.state is ScaleState.TOO_FEW_POINTS
    assert np.isnan(found.scale)


def test_corners_that_move_apart_give_no_scale() -> None:
    grey = seen(moved=True)
    strips = [np.roll(grey[row : row + 8], (row // 8 % 5 - 2) * 7, axis=1) for row in
              range(0, HEIGHT, 8)]  # fmt: skip
    found = motion_scale(view(), np.concatenate(strips), moved_m=MOVED_M)
    assert not found.valid


def test_a_camera_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match='120x160'):
        motion_scale(view(), np.zeros((120, 160), np.uint8), moved_m=1.0)
