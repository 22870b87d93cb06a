# SPDX-License-Identifier: Apache-2.0
"""Calibration messages: fit a CameraInfo to an image, and the ray of each of its pixels.

Pure functions. A camera_info is fitted first (`info_for_image`), so that whatever works with
rays sees matrices that belong to the image at hand, without binning and region of interest.
"""

from __future__ import annotations

import copy
import re
import threading
from collections import deque
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_core.contracts import Float32Array
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_matrix, pixel_rays
from depth_ros.drops import DropReason, FrameError

ASPECT_TOLERANCE: Final = 0.03
"""Relative difference of the aspect ratios that rounding to whole pixels may explain."""

REPROJECTION_TOLERANCE_PX: Final = 1.0
"""A ray whose distortion leads further away from its pixel than this is no ray."""

_KEPT_INFOS: Final = 64

_NEWTON_STEPS: Final = 8
_LEAST_SLOPE: Final = 0.1
_BROWN_MODELS: Final = ('plumb_bob', 'rational_polynomial', '')
_FISHEYE_MODELS: Final = ('equidistant', 'fisheye')
_BROWN_LENGTHS: Final = (4, 5, 8)


class CameraInfoStore:
    """The camera_infos that came lately; one thread adds while another looks up."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._infos: deque[CameraInfo] = deque(maxlen=_KEPT_INFOS)

    def add(self, info: CameraInfo) -> None:
        """Remember `info` as the latest."""
        with self._lock:
            self._infos.append(info)

    def pair(self, header: Header, *, exact: bool) -> CameraInfo:
        """Return the camera_info of the stamp of `header`, else the latest unless `exact`.

        Raises:
            FrameError: There is none.
        """
        with self._lock:
            for info in reversed(self._infos):
                if info.header.stamp == header.stamp:
                    return info
            if self._infos and not exact:
                return self._infos[-1]
            kept = len(self._infos)
        stamp = f'{header.stamp.sec}.{header.stamp.nanosec:09d}'
        if kept:
            text = (
                f'none of the last {kept} messages on {self._topic} has the stamp {stamp} of the '
                'image; set camera_info_pairing to latest, or fix the driver.'
            )
        else:
            text = (
                f'no camera_info arrived on {self._topic}: depth is published without '
                'camera_info and cloud. Remap camera_info (camera_info:=/camera/camera_info).'
            )
        raise FrameError(DropReason.NO_CAMERA_INFO, text)


def info_for_image(info: CameraInfo, *, header: Header, height: int, width: int) -> CameraInfo:
    """Return the camera_info of an image of `height` x `width` that `info` was published with.

    The image may be the calibrated one, a region of it, binned, or resized without cropping.
    K and P of the answer belong to the image as it is: width and height are its own, region and
    binning are none. Pixel centres are at integers, so a resize by s moves the principal point to
    (c + 0.5) s - 0.5. Distortion and rectification do not depend on the size and stay.

    Args:
        info: The calibration as the driver publishes it; all-zero K and P stay zero.
        header: Header of the image.
        height: Rows of the image.
        width: Columns of the image.

    Raises:
        FrameError: No region, binning or resize makes `info` one of such an image.
    """
    fitted = copy.copy(info)
    fitted.header = header
    if info.width == 0 or info.height == 0:
        if np.any(info.k) or np.any(info.p):
            raise FrameError(
                DropReason.CAMERA_INFO_SIZE,
                f'camera_info says {info.width}x{info.height} pixels and carries a calibration: '
                'the size it belongs to is unknown. Let the driver fill width and height.',
            )
        fitted.height, fitted.width = height, width
        return fitted
    left, top, region_width, region_height = _region(info)
    scale_x, scale_y = width / region_width, height / region_height
    if abs(scale_x / scale_y - 1.0) > ASPECT_TOLERANCE:
        raise FrameError(
            DropReason.CAMERA_INFO_SIZE,
            f'camera_info describes {region_width}x{region_height} pixels and the image has '
            f'{width}x{height}: no plain resize leads from one to the other. Publish the '
            'camera_info of this very image (with its region of interest when it is cropped).',
        )
    fitted.height, fitted.width = height, width
    fitted.binning_x = fitted.binning_y = 0
    fitted.roi = RegionOfInterest()
    fitted.k = _moved(info.k, 3, corner=(left, top), scale=(scale_x, scale_y))
    fitted.p = _moved(info.p, 4, corner=(left, top), scale=(scale_x, scale_y))
    return fitted


def _region(info: CameraInfo) -> tuple[int, int, int, int]:
    """Return left, top, width, height of the region; all zero means the full image."""
    roi = info.roi
    if roi.width == 0 or roi.height == 0:
        return 0, 0, info.width, info.height
    return roi.x_offset, roi.y_offset, roi.width, roi.height


def _moved(
    values: NDArray[np.float64],
    columns: int,
    *,
    corner: tuple[int, int],
    scale: tuple[float, float],
) -> NDArray[np.float64]:
    """Crop and resize a row-major 3 x `columns` camera matrix; a zero one stays zero."""
    matrix = np.array(values, np.float64).reshape(3, columns)
    if matrix[0, 0] == 0.0:
        return matrix.ravel()
    matrix[:2, 2] += 0.5 - np.array(corner)
    matrix[:2] *= np.array(scale)[:, None]
    matrix[:2, 2] -= 0.5
    return matrix.ravel()


def is_undistorted(info: CameraInfo) -> bool:
    """Tell from the calibration alone whether its images are free of distortion."""
    return not np.any(np.asarray(info.d))


def image_is_rectified(info: CameraInfo, *, topic: str, geometry: str) -> bool:
    """Decide whether P holds for an image, as the parameter `image_geometry` says.

    Args:
        info: Its calibration.
        topic: The resolved topic of the image; `image_rect` and the like name rectified ones.
        geometry: `rectified`, `raw`, or `auto` to go by the topic and the distortion.
    """
    if geometry != 'auto':
        return geometry == 'rectified'
    words = re.split('[/_]', topic)
    return 'rect' in words or 'rectified' in words or is_undistorted(info)


def rays(info: CameraInfo, *, rectified: bool) -> Float32Array:
    """Return x/z and y/z of the ray through each pixel centre.

    Rectified images obey P, raw ones K and the distortion D. Where the matrix in question is
    empty the other one stands in, if there is one (KITTI odometry bags carry only P).

    Args:
        info: A camera_info fitted to the image by `info_for_image`.
        rectified: Whether the image is rectified.

    Returns:
        [2, H, W] float32, NaN where the distortion cannot be inverted.

    Raises:
        FrameError: K and P are all zero, or the distortion model is unknown.
    """
    matrix_k = np.array(info.k, np.float64).reshape(3, 3)
    matrix_p = np.array(info.p, np.float64).reshape(3, 4)[:, :3]
    first, second = (matrix_p, matrix_k) if rectified else (matrix_k, matrix_p)
    matrix = first if first[0, 0] != 0.0 else second
    try:
        camera = intrinsics_from_matrix(matrix, height=info.height, width=info.width)
    except DataError as error:
        raise FrameError(DropReason.UNCALIBRATED, f'camera_info: {error}') from error
    if rectified or matrix is matrix_p or is_undistorted(info):
        return np.ascontiguousarray(np.moveaxis(pixel_rays(camera), -1, 0))
    return _undistorted_rays(info, matrix_k)


def _undistorted_rays(info: CameraInfo, matrix: NDArray[np.float64]) -> Float32Array:
    coefficients = np.array(info.d, np.float64)
    columns, rows = np.meshgrid(np.arange(info.width), np.arange(info.height))
    pixels = np.stack((columns, rows), axis=-1).astype(np.float64).reshape(-1, 1, 2)
    if info.distortion_model in _BROWN_MODELS and coefficients.size in _BROWN_LENGTHS:
        points, error_px = _invert_brown(pixels, matrix, coefficients)
    elif info.distortion_model in _FISHEYE_MODELS and coefficients.size == 4:  # noqa: PLR2004 k1-k4
        found = cv2.fisheye.undistortPoints(pixels, matrix, coefficients)
        points = np.asarray(found, np.float64)
        error_px = cv2.fisheye.distortPoints(points, matrix, coefficients) - pixels
    else:
        known = ', '.join((*_BROWN_MODELS[:2], _FISHEYE_MODELS[0]))
        text = (
            f'distortion model {info.distortion_model!r} with {coefficients.size} coefficients '
            f'cannot be inverted; known: {known}. Feed rectified images instead (image_proc).'
        )
        raise FrameError(DropReason.DISTORTION_MODEL, text)
    with np.errstate(over='ignore'):
        error_px = np.linalg.norm(error_px, axis=-1)
    points[~(error_px <= REPROJECTION_TOLERANCE_PX)] = np.nan
    grid = points.reshape(info.height, info.width, 2)
    return np.ascontiguousarray(np.moveaxis(grid, -1, 0), np.float32)


def _invert_brown(
    pixels: NDArray[np.float64], matrix: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return undistorted points and what is left of the distance to their pixels.

    OpenCV's own iteration stops after five rounds, whatever is left; Newton steps along the
    radius, on the forward model, finish the work where there is an answer at all.
    """
    focal_px = np.array([matrix[0, 0], matrix[1, 1]])
    wanted = (pixels - matrix[:2, 2]) / focal_px
    points = np.asarray(cv2.undistortPoints(pixels, matrix, coefficients), np.float64)
    with np.errstate(over='ignore', invalid='ignore'):  # where there is no answer, it runs away
        for _ in range(_NEWTON_STEPS):
            distorted, slope = _brown(points, coefficients)
            points += (wanted - distorted) / np.maximum(slope, _LEAST_SLOPE)
        distorted, slope = _brown(points, coefficients)
        error_px = (distorted - wanted) * focal_px
    points[slope[..., 0] <= 0.0] = np.nan  # beyond the fold, where the image repeats itself
    return points, error_px


def _brown(
    points: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distorted points and the slope of distorted over undistorted radius, [N, 1, 1]."""
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(coefficients, (0, 8 - coefficients.size))
    x, y = points[..., :1], points[..., 1:]
    r2 = x * x + y * y
    above = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = above / below
    change = (
        k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3) - radial * (k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6))
    ) / below
    distorted = np.concatenate(
        (
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ),
        axis=-1,
    )
    return distorted, radial + 2.0 * r2 * change
