# SPDX-License-Identifier: Apache-2.0
"""What a robot meets, by the true depth alone: ground, obstacles and thin things.

A network can look good on the road alone. The ground is a plane fitted to the truth; an obstacle
is truth more than 0.3 m above it, up to the height of a robot's way; thin is what has something
clearly farther at both sides, within a fiftieth of the width of the image.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

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
    known = valid & np.isfinite(target_m) & (target_m > 0.0)
    if not known.any():
        return {}
    truth_m = np.where(known, target_m, np.float32(np.nan))
    groups = {'thin': thin(truth_m)}
    plane = fit_ground_plane(truth_m, camera, _SETTINGS).plane
    if plane is not None:
        rows, columns = np.nonzero(known)
        height_m = np.full(truth_m.shape, np.nan)
        z_m = truth_m[rows, columns].astype(np.float64)
        x_m = (columns - camera.cx_px) / camera.fx_px * z_m
        y_m = (rows - camera.cy_px) / camera.fy_px * z_m
        points_m = np.stack((x_m, y_m, z_m), axis=-1)
        height_m[rows, columns] = plane.height_above(points_m)
        with np.errstate(invalid='ignore'):
            groups['ground'] = np.abs(height_m) < ON_GROUND_M
            groups['obstacle'] = (height_m > OBSTACLE_M) & (height_m < OVERHEAD_M)
    return {name: mask for name, mask in groups.items() if mask.any()}


def thin(truth_m: Float32Array) -> BoolArray:
    """[H, W] where something nearer than both its sides is no wider than `THIN_WIDTH`.

    Args:
        truth_m: [H, W] metres, NaN = unknown.
    """
    near = _filled(truth_m)
    width = max(3, round(truth_m.shape[1] * THIN_WIDTH)) | 1
    # An opening of nearness takes away whatever is narrower than the bar.
    without = cv2.morphologyEx(near, cv2.MORPH_OPEN, np.ones((1, width), np.uint8))
    found: BoolArray = np.isfinite(truth_m) & (without > 0.0) & (near > THIN_RATIO * without)
    return found


def _filled(truth_m: Float32Array) -> NDArray[np.float32]:
    """Nearness, 1 / m: that of the nearest known pixel up to some pixels away, 0 beyond."""
    known = np.isfinite(truth_m)
    nearness = np.where(known, 1.0 / np.where(known, truth_m, 1.0), 0.0).astype(np.float32)
    if known.all():
        return nearness
    away_px, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(label.max()) + 1, np.float32)
    of_label[label[known]] = nearness[known]
    filled = np.where(away_px <= _FILLED_PX, of_label[label], np.float32(0.0))
    return np.asarray(filled, np.float32)
