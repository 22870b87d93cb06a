# SPDX-License-Identifier: Apache-2.0
"""What a robot meets, by the true depth alone: ground, obstacles and thin things.

A network can look good on the road alone. The ground is a plane fitted to the truth; an obstacle
is truth more than 0.3 m above it, up to the height of a robot's way; thin is what has something
clearly farther at both sides, within a fiftieth of the width of the image.
"""

from __future__ import annotations

from functools import reduce
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import BoolArray, Float32Array, Intrinsics
from depth_core.scale import GroundSettings, fit_ground_plane

ON_GROUND_M: Final = 0.15
"""Truth within so much of the plane is ground."""
OBSTACLE_M: Final = 0.3
"""Truth that is higher above the plane is an obstacle."""
OVERHEAD_M: Final = 4.0
"""Truth that is higher is passed under: bridges, leaves, signs."""
THIN_WIDTH: Final = 0.02
"""Widest thin thing, as a share of the width of the image."""
THIN_RATIO: Final = 1.15
"""How much farther both sides of a thing are."""
_LOOKED_AT_PX: Final = 640
"""Wider images are looked at in blocks of 2x2 pixels, 3x3 and so on, about so many in a row."""
_FILLED_PX: Final = 6
"""Gaps between the lines of a lidar that are closed before widths are looked at, pixels."""
_SETTINGS: Final = GroundSettings(max_points=1500, planes=150)


def surroundings(
    target_m: Float32Array, valid: BoolArray, camera: Intrinsics
) -> dict[str, BoolArray]:
    """Find the pixels of each group.

    Args:
        target_m: [H, W] true depth.
        valid: [H, W] where there is one.
        camera: Of these pixels.

    Returns:
        [H, W] masks of `ground` and `obstacle`, where a ground plane fits the truth, and of
        `thin`; a group without pixels is left out.
    """
    known = valid & (target_m > 0.0) & (target_m < np.inf)  # NaN is neither
    lines = np.flatnonzero(known.any(axis=1))
    if not lines.size:
        return {}
    truth_m: Float32Array = np.full(target_m.shape, np.inf, np.float32)
    cv2.copyTo(target_m, known.view(np.uint8), truth_m)  # some times faster than np.where
    # A lidar says nothing of the upper part of an image; blocks of rows stay whole.
    step = _block_px(truth_m.shape[1])
    rows = slice(int(lines[0]) // step * step, int(lines[-1]) + 1)
    groups = {'thin': thin(truth_m[rows])}
    plane = fit_ground_plane(truth_m, camera, _SETTINGS).plane
    if plane is not None:
        height_m = plane.height_of_pixels(truth_m, camera, rows)
        groups['ground'] = np.abs(height_m) < ON_GROUND_M
        groups['obstacle'] = (height_m > OBSTACLE_M) & (height_m < OVERHEAD_M)
    return {name: _whole(mask, rows, known) for name, mask in groups.items() if mask.any()}


def _whole(mask: BoolArray, rows: slice, like: BoolArray) -> BoolArray:
    """The mask of some rows within one of all."""
    whole = np.zeros_like(like)
    whole[rows] = mask
    return whole


def thin(truth_m: Float32Array) -> BoolArray:
    """[H, W] where something nearer than both its sides is no wider than `THIN_WIDTH`.

    Args:
        truth_m: [H, W] metres, +inf = unknown.
    """
    height, width = truth_m.shape
    nearness = np.float32(1.0) / truth_m
    step = _block_px(width)
    near = _filled(_nearest_of_blocks(nearness, step), _FILLED_PX / step)
    bar = max(3, round(near.shape[1] * THIN_WIDTH)) | 1
    # An opening of nearness takes away whatever is narrower than the bar.
    without = cv2.morphologyEx(near, cv2.MORPH_OPEN, np.ones((1, bar), np.uint8))
    if step > 1:
        whole = (without.shape[1] * step, without.shape[0] * step)
        without = cv2.resize(without, whole, interpolation=cv2.INTER_NEAREST)[:height, :width]
    found: BoolArray = (without > 0.0) & (nearness > np.float32(THIN_RATIO) * without)
    return found


def _block_px(width: int) -> int:
    """Sides of the blocks in which an image of this width is looked at for thin things."""
    return max(1, round(width / _LOOKED_AT_PX))


def _nearest_of_blocks(nearness: Float32Array, step: int) -> Float32Array:
    """Largest of each block of step x step pixels; those at the border may be smaller."""
    if step == 1:
        return nearness
    height, width = nearness.shape
    whole = np.zeros((-(-height // step) * step, -(-width // step) * step), np.float32)
    whole[:height, :width] = nearness
    rows = reduce(np.maximum, (whole[first::step] for first in range(step)))
    return np.ascontiguousarray(reduce(np.maximum, (rows[:, k::step] for k in range(step))))


def _filled(nearness: Float32Array, reach_px: float) -> Float32Array:
    """Nearness, 1 / m: where it is 0, that of the nearest pixel that has some, if in reach."""
    unknown = nearness == 0.0
    if not unknown.any():
        return nearness
    away_px, label = cv2.distanceTransformWithLabels(
        unknown.view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.flatnonzero(~unknown)
    of_label = np.zeros(places.size + 1, np.float32)
    of_label[label.reshape(-1).take(places)] = nearness.reshape(-1).take(places)
    filled = np.asarray(of_label.take(label), np.float32)
    filled *= away_px <= reach_px
    return filled
