# SPDX-License-Identifier: Apache-2.0
"""Undoing the distortion of lenses: point by point, or from a table where K changes."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array

REPROJECTION_TOLERANCE_PX: Final = 1e-4
"""A ray whose distortion leads further away from its pixel than this is no ray."""

_NEWTON_STEPS: Final = 16
"""At most: few points, near the edge of what a lens shows, need more than five."""
_CLOSE: Final = 1e-7
"""What a Newton step from nearer than this leaves is rounding, on the plane at z = 1."""
_LEAST_SLOPE: Final = 0.1
_TABLE_STEP_PX: Final = 8
"""Pixels from one point of a table to the next: cubic interpolation is then off by less than
1e-4 pixels on usual lenses."""
_LEAST_POINTS: Final = 96
"""Of a side of a table: small images show lenses that are as curved as those of large ones."""
_TABLE_MARGIN: Final = 0.1
"""So much further than the image a table reaches, of its sides."""
_TAPS: Final = 4


_REAL: Final = 1e-9
"""A root with a smaller imaginary part is real."""
_NOTHING: Final = 1e-12
"""Smaller coefficients of an equidistant lens bend nothing."""


def undistorted(
    points: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    *,
    fisheye: bool,
    focal_px: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return x/z and y/z of the rays that are seen at distorted ones.

    Args:
        points: [N, 1, 2] (u - cx) / fx and (v - cy) / fy of pixels.
        coefficients: D, in the order of OpenCV.
        fisheye: Whether they are those of the equidistant model.
        focal_px: fx and fy, in which the error is measured.

    Returns:
        [N, 1, 2], NaN where there is no such ray.
    """
    if fisheye:
        undone = cv2.fisheye.undistortPoints(points, np.eye(3), coefficients)
        found = np.asarray(undone, np.float64)
        error = cv2.fisheye.distortPoints(found, np.eye(3), coefficients) - points
        angles = np.arctan(np.linalg.norm(found, axis=-1))
        found[angles >= _fold_angle(coefficients)] = np.nan
    else:
        found, error = _invert_brown(points, coefficients)
    with np.errstate(over='ignore', invalid='ignore'):
        error_px = np.linalg.norm(error * focal_px, axis=-1)
    found[~(error_px <= REPROJECTION_TOLERANCE_PX)] = np.nan
    return found


class DistortionTable:
    """The undistorted rays on a coarse grid, for images of any K within its reach."""

    def __init__(
        self,
        columns: NDArray[np.float64],
        rows: NDArray[np.float64],
        *,
        coefficients: NDArray[np.float64],
        fisheye: bool,
        focal_px: NDArray[np.float64],
    ) -> None:
        """Undistort the grid.

        Args:
            columns: [W] (u - cx) / fx of an image.
            rows: [H] (v - cy) / fy.
            coefficients: D.
            fisheye: Whether they are those of the equidistant model.
            focal_px: fx and fy.
        """
        self._columns, self._rows = _reach(columns), _reach(rows)
        grid = np.stack(np.meshgrid(self._columns, self._rows), axis=-1).reshape(-1, 1, 2)
        found = undistorted(grid, coefficients, fisheye=fisheye, focal_px=focal_px)
        planes = np.moveaxis(found.reshape(self._rows.size, self._columns.size, 2), -1, 0)
        self._lacking = np.isnan(planes[0]).astype(np.float32)
        self._planes: Float32Array = np.nan_to_num(planes).astype(np.float32)

    def covers(self, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> bool:
        """Whether the rays of an image can be interpolated."""
        return _covered(columns, self._columns) and _covered(rows, self._rows)

    def rays(self, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> Float32Array:
        """Interpolate the rays of an image whose columns and rows are covered.

        Returns:
            [2, H, W], NaN where there is no ray, and within two points of the table of there.
        """
        across = _weights(columns, self._columns)  # [W, table]
        down = _weights(rows, self._rows)  # [H, table]
        found: Float32Array = down @ (self._planes @ across.T)
        if self._lacking.any():
            near = (np.abs(down) > 0.0).astype(np.float32) @ self._lacking
            lacking = near @ (np.abs(across) > 0.0).astype(np.float32).T
            found[:, lacking > 0.0] = np.nan
        return found


def _reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points of a table along one side of an image."""
    margin = _TABLE_MARGIN * (values[-1] - values[0])
    count = max(_LEAST_POINTS, round(values.size * (1.0 + 2.0 * _TABLE_MARGIN) / _TABLE_STEP_PX))
    return np.linspace(values[0] - margin, values[-1] + margin, count)


def _covered(values: NDArray[np.float64], table: NDArray[np.float64]) -> bool:
    return bool(values[0] >= table[1] and values[-1] <= table[-2])


def _weights(values: NDArray[np.float64], table: NDArray[np.float64]) -> Float32Array:
    """[values, table] of cubic Lagrange interpolation: four in each row are not zero."""
    place = (values - table[0]) / (table[1] - table[0])
    first = np.clip(np.floor(place).astype(np.int64) - 1, 0, table.size - _TAPS)
    t = place - first
    taps = np.stack(
        (
            -(t - 1.0) * (t - 2.0) * (t - 3.0) / 6.0,
            t * (t - 2.0) * (t - 3.0) / 2.0,
            -t * (t - 1.0) * (t - 3.0) / 2.0,
            t * (t - 1.0) * (t - 2.0) / 6.0,
        ),
        axis=-1,
    )
    weights = np.zeros((values.size, table.size), np.float32)
    np.put_along_axis(weights, first[:, None] + np.arange(_TAPS), taps, axis=1)
    return weights


def _fold_angle(coefficients: NDArray[np.float64]) -> float:
    """The angle from which on an equidistant lens shows again what it has shown, radians.

    The radius theta (1 + k1 theta^2 + ... + k4 theta^8) grows up to there; inf when it never ends.
    """
    slope = np.array([1.0, *(np.ravel(coefficients)[:4] * (3.0, 5.0, 7.0, 9.0))])
    slope[np.abs(slope) < _NOTHING] = 0.0  # else roots beyond all numbers
    roots = np.roots(slope[::-1])  # in theta^2
    squares = roots.real[(np.abs(roots.imag) < _REAL) & (roots.real > 0.0)]
    return float(np.sqrt(squares.min(initial=np.inf)))


def _invert_brown(
    points: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return undistorted points and what is left of the distance to the distorted ones.

    OpenCV's own iteration stops after five rounds, whatever is left; Newton steps on the forward
    model finish the work where there is an answer at all. Steps by the slope of the radius alone
    do not: across the radius they swing ever further where that slope is small.
    """
    wanted = points
    tilt = _tilt(coefficients)
    if tilt is not None:
        wanted = np.asarray(cv2.perspectiveTransform(points, np.linalg.inv(tilt)), np.float64)
    found = np.asarray(cv2.undistortPoints(points, np.eye(3), coefficients), np.float64)
    with np.errstate(over='ignore', invalid='ignore'):  # where there is no answer, it runs away
        going = np.arange(len(found))
        for _ in range(_NEWTON_STEPS):
            distorted, _, derivative = _brown(found[going], coefficients)
            missing = wanted[going] - distorted
            found[going] += _newton_step(missing, derivative)
            going = going[np.abs(missing).max(axis=(1, 2)) > _CLOSE]
        distorted, slope, _ = _brown(found, coefficients)
        error = distorted - wanted
    found[slope[..., 0] <= 0.0] = np.nan  # beyond the fold, where the image repeats itself
    return found, error


def _newton_step(
    missing: NDArray[np.float64], derivative: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return [N, 1, 2] by which the points move; never more than a small slope asks for."""
    (xx, xy), (yx, yy) = derivative
    x, y = missing[..., 0], missing[..., 1]
    determinant = np.maximum(xx * yy - xy * yx, _LEAST_SLOPE**2)[..., None]
    step: NDArray[np.float64] = np.stack((yy * x - xy * y, xx * y - yx * x), axis=-1) / determinant
    return step


def _brown(
    points: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return distorted points, before the tilt, and how they change.

    Returns:
        [N, 1, 2] the points, [N, 1, 1] the slope of their radius, [2, 2, N, 1] their derivative:
        that of x, then of y, by x and y.
    """
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = np.pad(coefficients, (0, 12))[:12]
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    above = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = above / below
    change = (
        k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3) - radial * (k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6))
    ) / below
    distorted = np.stack(
        (
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y + r2 * (s3 + r2 * s4),
        ),
        axis=-1,
    )
    prism_x, prism_y = s1 + 2.0 * r2 * s2, s3 + 2.0 * r2 * s4
    across = 2.0 * (x * y * change + p1 * x + p2 * y)
    derivative = np.stack(
        (
            radial + 2.0 * x * (x * change + 3.0 * p2 + prism_x) + 2.0 * p1 * y,
            across + 2.0 * y * prism_x,
            across + 2.0 * x * prism_y,
            radial + 2.0 * y * (y * change + 3.0 * p1 + prism_y) + 2.0 * p2 * x,
        )
    ).reshape(2, 2, *x.shape)
    return distorted, (radial + 2.0 * r2 * change)[..., None], derivative


def _tilt(coefficients: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The homography of a tilted sensor, of the last two of 14 coefficients; None without one.

    OpenCV, calib3d, "tilted sensor model" (Louhichi et al., 2007).
    """
    angles = coefficients[12:14]
    if not angles.any():
        return None
    (sin_x, sin_y), (cos_x, cos_y) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cos_x, sin_x], [0.0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0.0, -sin_y], [0.0, 1.0, 0.0], [sin_y, 0.0, cos_y]])
    turn = about_y @ about_x
    onto_plane = np.array(
        [[turn[2, 2], 0.0, -turn[0, 2]], [0.0, turn[2, 2], -turn[1, 2]], [0.0, 0.0, 1.0]]
    )
    tilt: NDArray[np.float64] = onto_plane @ turn
    return tilt
