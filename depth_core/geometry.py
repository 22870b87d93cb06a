# SPDX-License-Identifier: Apache-2.0
"""Pinhole geometry and scale alignment, in NumPy.

Camera frames are optical (x right, y down, z forward, REP-103). Pixel centres are at integer
coordinates: the image covers [-0.5, width - 0.5] x [-0.5, height - 0.5].
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array, Intrinsics
from depth_core.errors import DataError

MIN_RENDER_DEPTH_M = 1e-3
"""Points nearer than this to the image plane are not projected."""

_HALF_TURN_DEG = 180.0


def resize_intrinsics(intrinsics: Intrinsics, *, height: int, width: int) -> Intrinsics:
    """Return the camera of the same image resized to `height` x `width`.

    With pixel centres at integers a resize by s maps u to (u + 0.5) s - 0.5, so the principal
    point moves by that rule and not by a plain product.
    """
    scale_y = height / intrinsics.height
    scale_x = width / intrinsics.width
    return Intrinsics(
        fx_px=intrinsics.fx_px * scale_x,
        fy_px=intrinsics.fy_px * scale_y,
        cx_px=(intrinsics.cx_px + 0.5) * scale_x - 0.5,
        cy_px=(intrinsics.cy_px + 0.5) * scale_y - 0.5,
        height=height,
        width=width,
    )


def crop_intrinsics(
    intrinsics: Intrinsics, *, top: int, left: int, height: int, width: int
) -> Intrinsics:
    """Return the camera of the window that starts at row `top` and column `left`.

    Raises:
        DataError: The window does not lie inside the image.
    """
    inside = (
        0 <= top <= top + height <= intrinsics.height
        and 0 <= left <= left + width <= intrinsics.width
    )
    if not inside:
        message = (
            f'crop of {height}x{width} at row {top}, column {left} leaves the image of '
            f'{intrinsics.height}x{intrinsics.width}; choose a window inside it.'
        )
        raise DataError(message)
    return replace(
        intrinsics,
        cx_px=intrinsics.cx_px - left,
        cy_px=intrinsics.cy_px - top,
        height=height,
        width=width,
    )


def check_camera_size(intrinsics: Intrinsics, *, height: int, width: int) -> None:
    """Refuse the camera of an image of another size.

    Raises:
        DataError: The sizes differ.
    """
    if (intrinsics.height, intrinsics.width) != (height, width):
        message = (
            f'the intrinsics belong to images of {intrinsics.height}x{intrinsics.width} and the '
            f'image is {height}x{width}; give those of this image, or resize them with it.'
        )
        raise DataError(message)


def intrinsics_from_hfov(hfov_deg: float, *, height: int, width: int) -> Intrinsics:
    """The camera with square pixels and a centred axis that sees `hfov_deg` from side to side.

    Raises:
        DataError: The angle is not between 0 and 180 degrees.
    """
    if not 0.0 < hfov_deg < _HALF_TURN_DEG:
        message = (
            f'a horizontal field of view of {hfov_deg} degrees is none of a pinhole camera; give '
            'a number between 0 and 180.'
        )
        raise DataError(message)
    focal_px = 0.5 * width / math.tan(math.radians(hfov_deg) / 2.0)
    return intrinsics_from_focal(focal_px, height=height, width=width)


def intrinsics_from_focal(focal_px: float, *, height: int, width: int) -> Intrinsics:
    """The camera of `focal_px` with square pixels and an axis through the middle of the image.

    Raises:
        DataError: The focal length is not positive.
    """
    return Intrinsics(
        fx_px=focal_px,
        fy_px=focal_px,
        cx_px=(width - 1) / 2.0,
        cy_px=(height - 1) / 2.0,
        height=height,
        width=width,
    )


def mirror_camera(intrinsics: Intrinsics) -> Intrinsics:
    """The camera of the same image with left and right swapped."""
    return replace(intrinsics, cx_px=intrinsics.width - 1 - intrinsics.cx_px)


def focal_length_px(intrinsics: Intrinsics, which: Literal['mean', 'fx', 'fy'] = 'mean') -> float:
    """The focal length that depth is scaled with: one of the two, or their mean."""
    if which == 'mean':
        return 0.5 * (intrinsics.fx_px + intrinsics.fy_px)
    return intrinsics.fx_px if which == 'fx' else intrinsics.fy_px


def intrinsics_from_matrix(matrix: NDArray[np.floating], *, height: int, width: int) -> Intrinsics:
    """Read a 3x3 (K) or 3x4 (P) camera matrix; skew and the fourth column are not used.

    Raises:
        DataError: The matrix has no positive focal lengths (an uncalibrated camera).
    """
    return Intrinsics(
        fx_px=float(matrix[0, 0]),
        fy_px=float(matrix[1, 1]),
        cx_px=float(matrix[0, 2]),
        cy_px=float(matrix[1, 2]),
        height=height,
        width=width,
    )


def pixel_rays(intrinsics: Intrinsics) -> Float32Array:
    """Return [H, W, 2]: x/z and y/z of the ray through each pixel centre."""
    columns = (np.arange(intrinsics.width) - intrinsics.cx_px) / intrinsics.fx_px
    rows = (np.arange(intrinsics.height) - intrinsics.cy_px) / intrinsics.fy_px
    rays = np.empty((intrinsics.height, intrinsics.width, 2), np.float32)
    rays[..., 0] = columns
    rays[..., 1] = rows[:, None]
    return rays


def unproject(depth_m: Float32Array, intrinsics: Intrinsics) -> Float32Array:
    """Lift a depth map into the camera frame.

    Args:
        depth_m: [H, W] z-depth; values that are not finite stay so in all three coordinates.
        intrinsics: The camera, of the same size.

    Returns:
        [H, W, 3] float32 points in metres, optical frame.

    Raises:
        DataError: The sizes of `depth_m` and `intrinsics` differ.
    """
    if depth_m.shape != (intrinsics.height, intrinsics.width):
        message = (
            f'depth of {depth_m.shape[0]}x{depth_m.shape[1]} does not belong to intrinsics of '
            f'{intrinsics.height}x{intrinsics.width}; resize the intrinsics with the image.'
        )
        raise DataError(message)
    points = np.empty((*depth_m.shape, 3), np.float32)
    with np.errstate(invalid='ignore'):
        np.multiply(pixel_rays(intrinsics), depth_m[..., None], out=points[..., :2])
    points[..., 2] = depth_m
    points[~np.isfinite(depth_m), :2] = np.nan
    return points


def lift(depth_m: Float32Array, intrinsics: Intrinsics, places: NDArray[np.intp]) -> Float32Array:
    """Lift some pixels of a depth map into the camera frame, as `unproject` lifts all.

    Args:
        depth_m: [H, W] z-depth, finite there.
        intrinsics: The camera, of the same size.
        places: [N] which pixels, counted row by row.

    Returns:
        [N, 3] float32 points in metres, optical frame.
    """
    rows, columns = np.divmod(places, depth_m.shape[1])
    points = np.empty((places.size, 3), np.float32)
    points[:, 0] = (columns - intrinsics.cx_px) / intrinsics.fx_px
    points[:, 1] = (rows - intrinsics.cy_px) / intrinsics.fy_px
    points[:, 2] = depth_m.ravel().take(places)
    points[:, :2] *= points[:, 2:]
    return points


def project(
    points_m: NDArray[np.floating], intrinsics: Intrinsics
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project camera-frame points.

    Args:
        points_m: [N, 3] in the optical frame.
        intrinsics: The camera.

    Returns:
        (`uv_px` [N, 2] column and row, `z_m` [N]); uv is NaN for points not in front.
    """
    x, y, z = np.asarray(points_m, np.float64).T
    ahead = np.where(z > MIN_RENDER_DEPTH_M, z, np.nan)
    u = intrinsics.fx_px * x / ahead + intrinsics.cx_px
    v = intrinsics.fy_px * y / ahead + intrinsics.cy_px
    return np.stack((u, v), axis=-1), z


def render_sparse_depth(points_m: NDArray[np.floating], intrinsics: Intrinsics) -> Float32Array:
    """Project points into a depth map; the nearest point wins a pixel.

    The pixel is the rounded projection. (The Matlab habit of the KITTI development kit, rounding
    and then subtracting one, shifts the map by a pixel here and is not followed.)

    Args:
        points_m: [N, 3] in the optical frame.
        intrinsics: The camera.

    Returns:
        [H, W] float32 z-depth in metres, NaN where no point falls.
    """
    x, y, z = np.asarray(points_m, np.float64).T
    ahead = z > MIN_RENDER_DEPTH_M
    x, y, z = x[ahead], y[ahead], z[ahead]
    columns = np.rint(intrinsics.fx_px * x / z + intrinsics.cx_px)
    rows = np.rint(intrinsics.fy_px * y / z + intrinsics.cy_px)
    inside = (columns >= 0) & (columns < intrinsics.width)
    inside &= (rows >= 0) & (rows < intrinsics.height)
    places = rows[inside].astype(np.intp) * intrinsics.width + columns[inside].astype(np.intp)
    nearest = np.full(intrinsics.height * intrinsics.width, np.inf, np.float32)
    np.minimum.at(nearest, places, z[inside].astype(np.float32))
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(intrinsics.height, intrinsics.width)


def transform(points_m: NDArray[np.floating], matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Apply a 4x4 rigid transform to [N, 3] points."""
    result: NDArray[np.float64] = (
        np.asarray(points_m, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    )
    return result


def median_scale(
    prediction: Float32Array, target_m: Float32Array, valid: BoolArray, *, lower: bool = False
) -> float:
    """Return median(target) / median(prediction) over `valid`.

    Args:
        prediction: Predicted depth.
        target_m: True depth of the same shape, metres.
        valid: Where both count.
        lower: Of an even number of values take the lower middle one, as torch.median and with it
            packnet-sfm; else the mean of both, as np.median and with it monodepth2.

    Raises:
        DataError: No valid pixel, or the median prediction is not positive and finite.
    """
    if not valid.any():
        message = 'median alignment needs at least one valid pixel; the image has no ground truth.'
        raise DataError(message)
    middle = _lower_median if lower else np.median
    centre = float(middle(prediction[valid]))
    if not (np.isfinite(centre) and centre > 0.0):
        message = (
            f'median alignment divides by the median prediction, which is {centre}; '
            'it must be positive and finite.'
        )
        raise DataError(message)
    return float(middle(target_m[valid])) / centre


def _lower_median(values: NDArray[np.floating]) -> np.floating:
    place = (values.size - 1) // 2
    median: np.floating = np.partition(values, place)[place]
    return median


def scale_and_shift(
    prediction: Float32Array, target: Float32Array, valid: BoolArray
) -> tuple[float, float]:
    """Return the least-squares (scale, shift) with scale * prediction + shift ~ target.

    Raises:
        DataError: Fewer than two valid pixels, or a constant prediction: the fit is not unique.
    """
    x = prediction[valid].astype(np.float64)
    y = target[valid].astype(np.float64)
    spread = float(np.ptp(x)) if x.size else 0.0
    if spread == 0.0:
        message = (
            f'scale and shift of {x.size} valid pixels with a prediction spread of {spread} are '
            'not unique; at least two different predictions are needed.'
        )
        raise DataError(message)
    centred = x - x.mean()
    scale = float(centred @ (y - y.mean()) / (centred @ centred))
    return scale, float(y.mean() - scale * x.mean())
