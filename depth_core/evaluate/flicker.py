# SPDX-License-Identifier: Apache-2.0
"""Flicker: whether depth stays what it was while the camera moves, by its known motion.

Each pixel of an image is put into the world by its depth, and looked up in the image before: what
was said of it there, and how far it is from there, differ where depth flickers. The median over
the pixels leaves out what moved by itself or was hidden, which is the smaller part of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.places import Place

_STEP_PX: Final = 4
"""Every so-manieth row and column is looked at."""
_SHARED: Final = 0.5
"""Share of an image that the one before has to have seen, for the two to be neighbours."""


@dataclass(frozen=True)
class Seen:
    """An image with its depth and its place."""

    depth_m: Float32Array
    """[H, W]; what is not finite is no estimate."""
    camera: Intrinsics
    place: Place


class Flicker:
    """Compares each image with the one before."""

    def __init__(self) -> None:
        self._before: Seen | None = None

    def __call__(self, now: Seen | None) -> float | None:
        """How much depth changed beyond the motion; None where there is no neighbour.

        Args:
            now: The image; None where depth in metres or the place is not known.
        """
        before, self._before = self._before, now
        if before is None or now is None or before.place.world != now.place.world:
            return None
        return change(before, now)


def change(before: Seen, now: Seen) -> float | None:
    """Median of |ln(depth said before / depth expected there by what is said now)|.

    Returns:
        None where less than half of the image was in view before.
    """
    points_m = _points(now)  # [h, w, 3]
    motion = np.linalg.inv(before.place.camera_to_world) @ now.place.camera_to_world
    moved = points_m @ motion[:3, :3].T + motion[:3, 3]
    expected = moved[..., 2]
    camera = before.camera
    with np.errstate(invalid='ignore', divide='ignore'):
        column = moved[..., 0] / expected * camera.fx_px + camera.cx_px
        row = moved[..., 1] / expected * camera.fy_px + camera.cy_px
        height, width = before.depth_m.shape
        inside = (expected > 0.0) & (column >= 0) & (column <= width - 1)
        inside &= (row >= 0) & (row <= height - 1)
    if not inside.any() or inside.sum() < _SHARED * np.isfinite(points_m[..., 2]).sum():
        return None
    said = cv2.remap(
        before.depth_m,
        np.where(inside, column, -1.0).astype(np.float32),
        np.where(inside, row, -1.0).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    usable = inside & np.isfinite(said) & (said > 0.0)
    if not usable.any():
        return None
    return float(np.median(np.abs(np.log(said[usable] / expected[usable]))))


def _points(seen: Seen) -> NDArray[np.float64]:
    """[h, w, 3] points of some pixels of an image in its camera; NaN without an estimate."""
    z_m = seen.depth_m[::_STEP_PX, ::_STEP_PX].astype(np.float64)
    z_m = np.where(np.isfinite(z_m) & (z_m > 0.0), z_m, np.nan)
    camera = seen.camera
    rows, columns = (_STEP_PX * item for item in np.indices(z_m.shape))
    x_m = (columns - camera.cx_px) / camera.fx_px * z_m
    y_m = (rows - camera.cy_px) / camera.fy_px * z_m
    return np.stack((x_m, y_m, z_m), axis=-1)
