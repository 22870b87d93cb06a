# SPDX-License-Identifier: Apache-2.0
"""Scale from motion: how far the camera moved in metres, and how far by its own images.

Corners of one image, brought into space by the predicted depth, are found again in a later image;
the pose that explains where they are now (Lepetit et al., EPnP, with RANSAC) moves by as many
units of the prediction as the camera moved metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array, Intrinsics, Uint8Array
from depth_core.geometry import check_camera_size
from depth_core.scale.estimate import ScaleEstimate, ScaleState, refused

MIN_MOVED_M: Final = 0.1
"""Less motion than this is too little for corners of whole pixels."""

_CORNERS: Final = 500
_QUALITY: Final = 0.01
_APART_PX: Final = 6
_BACK_PX: Final = 0.7
"""A corner that does not come back to within this is no match."""
_REPROJECTED_PX: Final = 1.5
_LEAST_FLOW_PX: Final = 1.0
"""Median motion of the corners below which nothing can be said."""
_MIN_SHARE: Final = 0.5
"""Corners that have to agree on the motion."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionView:
    """One image with what was predicted for it."""

    grey: Uint8Array
    """[H, W] of the rectified image."""
    depth: Float32Array
    """[H, W] z-depth in any unit."""
    intrinsics: Intrinsics


def motion_scale(
    before: MotionView, grey: Uint8Array, *, moved_m: float, min_points: int = 40
) -> ScaleEstimate:
    """Find the factor that makes the motion between two images as long as it was.

    Args:
        before: The earlier image and its depth.
        grey: [H, W] the later one, of the same camera.
        moved_m: How far the camera moved between them, metres.
        min_points: Fewer corners give no scale.

    Returns:
        The estimate. Its residual is the median distance of the corners from where the motion
        puts them, by the median way they moved. Too little motion is `too_few_points`.

    Raises:
        DataError: The camera is one of images of another size.
    """
    check_camera_size(before.intrinsics, height=grey.shape[0], width=grey.shape[1])
    if moved_m < MIN_MOVED_M:
        return refused(ScaleState.TOO_FEW_POINTS, points=0)
    old, new = _matches(before.grey, grey)
    points, known = _in_space(old, before)
    old, new, points = old[known], new[known], points[known]
    if len(points) < min_points:
        return refused(ScaleState.TOO_FEW_POINTS, points=len(points))
    flow_px = float(np.median(np.linalg.norm(new - old, axis=1)))
    if flow_px < _LEAST_FLOW_PX:
        return refused(ScaleState.TOO_FEW_POINTS, points=len(points))
    cv2.setRNGSeed(0)  # the same images give the same answer
    found, turn, shift, inliers = cv2.solvePnPRansac(
        points,
        new,
        before.intrinsics.matrix,
        np.zeros(4),
        reprojectionError=_REPROJECTED_PX,
        iterationsCount=200,
        flags=cv2.SOLVEPNP_EPNP,
    )
    agree = 0 if inliers is None else len(inliers)
    if not found or agree < max(_MIN_SHARE * len(points), min_points):
        return refused(ScaleState.INCONSISTENT, points=agree)
    kept = inliers.ravel()
    turn, shift = cv2.solvePnPRefineLM(
        points[kept], new[kept], before.intrinsics.matrix, np.zeros(4), turn, shift
    )
    projected, _ = cv2.projectPoints(
        points[kept], turn, shift, before.intrinsics.matrix, np.zeros(4)
    )
    off_px = np.linalg.norm(projected.reshape(-1, 2) - new[kept], axis=1)
    residual = float(np.median(off_px)) / flow_px
    moved = float(np.linalg.norm(shift))  # a rotation keeps its length
    if not (math.isfinite(moved) and moved > 0.0):
        return refused(ScaleState.INCONSISTENT, points=agree, residual=residual)
    return ScaleEstimate(
        state=ScaleState.VALID, scale=moved_m / moved, residual=residual, points=agree
    )


def _matches(
    before: Uint8Array, after: Uint8Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places of corners in both images, [N, 2] columns and rows."""
    corners = cv2.goodFeaturesToTrack(before, _CORNERS, _QUALITY, _APART_PX)
    if corners is None:
        return np.empty((0, 2)), np.empty((0, 2))
    start = corners.astype(np.float32)
    there, seen, _ = cv2.calcOpticalFlowPyrLK(before, after, start, start.copy())
    back, seen_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, there.copy())
    returned = np.linalg.norm((back - start).reshape(-1, 2), axis=1) < _BACK_PX
    good = returned & (seen.ravel() == 1) & (seen_back.ravel() == 1)
    places = start.reshape(-1, 2)[good], there.reshape(-1, 2)[good]
    return places[0].astype(np.float64), places[1].astype(np.float64)


def _in_space(
    pixels: NDArray[np.float64], view: MotionView
) -> tuple[NDArray[np.float64], BoolArray]:
    """[N, 3] points of pixels by the prediction, and which have one."""
    height, width = view.depth.shape
    column = np.clip(np.rint(pixels[:, 0]).astype(np.intp), 0, width - 1)
    row = np.clip(np.rint(pixels[:, 1]).astype(np.intp), 0, height - 1)
    z = view.depth[row, column].astype(np.float64)
    known: BoolArray = np.isfinite(z) & (z > 0.0)
    camera = view.intrinsics
    x = (pixels[:, 0] - camera.cx_px) / camera.fx_px
    y = (pixels[:, 1] - camera.cy_px) / camera.fy_px
    with np.errstate(invalid='ignore'):
        return np.stack((x * z, y * z, z), axis=1), known
