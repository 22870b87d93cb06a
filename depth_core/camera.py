# SPDX-License-Identifier: Apache-2.0
"""Calibrated cameras: fit a calibration to an image, the rays of its pixels, and undistortion.

The values are those of a camera_info, without the message. A calibration is fitted first
(`fitted`), so that whatever works with rays sees matrices that belong to the image at hand,
without binning and region of interest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.distortion import DistortionTable, undistorted
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_matrix, pixel_rays

ASPECT_TOLERANCE: Final = 0.03
"""Relative difference of the aspect ratios that rounding to whole pixels may explain."""

LARGEST: Final = 1e9
"""No number of a calibration is larger: not a baseline in pixels, nor a coefficient of a lens."""

_ROTATION_TOLERANCE: Final = 1e-2
_LEAST_SHOWN: Final = 0.05
"""Fraction of a rectified image that must lie inside the raw one."""
_COEFFICIENTS: Final = {
    'plumb_bob': (4, 5, 8, 12, 14),
    'rational_polynomial': (4, 5, 8, 12, 14),
    '': (4, 5, 8, 12, 14),
    'equidistant': (4,),
    'fisheye': (4,),
}
"""How many coefficients each distortion model takes; '' is what old drivers leave it at."""
_FISHEYE_MODELS: Final = ('equidistant', 'fisheye')


class CameraProblem(str, Enum):
    """The kinds of problems, for whoever counts them."""

    UNCALIBRATED = 'uncalibrated'
    """All zero, or with numbers that are none."""
    SIZE = 'size'
    """It belongs to an image of another shape."""
    DISTORTION = 'distortion'
    """The distortion model is unknown, or has another number of coefficients."""


class CameraError(DataError):
    """A calibration cannot be used; the message does not say whose it is."""

    def __init__(self, problem: CameraProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What a camera_info states; all-zero K and P mean that the camera is not calibrated.

    Raises:
        CameraError: A number is not finite, or larger than any camera has.
    """

    height: int
    """Rows of the image that was calibrated."""
    width: int
    k: NDArray[np.float64]
    """[3, 3] camera matrix of the raw image."""
    d: NDArray[np.float64]
    """Coefficients of the distortion; empty or all zero means none."""
    r: NDArray[np.float64]
    """[3, 3] rotation from the raw to the rectified camera; all zero means none."""
    p: NDArray[np.float64]
    """[3, 4] projection of the rectified image."""
    distortion_model: str = 'plumb_bob'
    region: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, top, width and height of the part that the image shows; width 0 means all of it."""

    def __post_init__(self) -> None:
        for name in ('k', 'd', 'r', 'p'):
            values = getattr(self, name)
            usable = np.abs(values) <= LARGEST  # nor is NaN
            if not usable.all():
                message = (
                    f'{name.upper()} holds {values[~usable][0]:g}, and its numbers must be finite '
                    f'and at most {LARGEST:g}: calibrate the camera again'
                )
                raise CameraError(CameraProblem.UNCALIBRATED, message)

    @property
    def is_undistorted(self) -> bool:
        """Whether, by the calibration alone, its images are free of distortion."""
        return not self.d.any()

    def fitted(self, *, height: int, width: int) -> Calibration:
        """Return the calibration of an image of `height` x `width` that this one came with.

        The image may be the calibrated one, a region of it, binned, or resized without cropping.
        K and P of the answer belong to the image as it is: width and height are its own, and the
        region is none. Pixel centres are at integers, so a resize by s moves the principal point
        to (c + 0.5) s - 0.5. Distortion and rectification do not depend on the size and stay.

        Raises:
            CameraError: No region, binning or resize makes it one of such an image.
        """
        if self.width < 1 or self.height < 1:
            if self.k.any() or self.p.any():
                message = (
                    f'{self.width}x{self.height} pixels are stated beside a calibration: the '
                    'size it belongs to is unknown. Let the driver fill width and height'
                )
                raise CameraError(CameraProblem.SIZE, message)
            return replace(self, height=height, width=width)
        left, top, region_width, region_height = self._region_of(height=height, width=width)
        scale_x, scale_y = width / region_width, height / region_height
        if abs(scale_x / scale_y - 1.0) > ASPECT_TOLERANCE:
            message = (
                f'{region_width}x{region_height} pixels are described and the image has '
                f'{width}x{height}: no plain resize leads from one to the other. Publish the '
                'camera_info of this very image (with its region of interest when it is cropped)'
            )
            raise CameraError(CameraProblem.SIZE, message)
        return replace(
            self,
            height=height,
            width=width,
            region=(0, 0, 0, 0),
            k=_moved(self.k, corner=(left, top), scale=(scale_x, scale_y)),
            p=_moved(self.p, corner=(left, top), scale=(scale_x, scale_y)),
        )

    def resized(self, *, height: int, width: int) -> Calibration:
        """Return the calibration of a fitted one's image, stretched to `height` x `width`."""
        scale = width / self.width, height / self.height
        k, p = (_moved(matrix, corner=(0, 0), scale=scale) for matrix in (self.k, self.p))
        return replace(self, height=height, width=width, k=k, p=p)

    def _region_of(self, *, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of what an image of that size shows.

        Raises:
            CameraError: The region is not inside the calibrated image.
        """
        left, top, region_width, region_height = self.region
        whole = 0, 0, self.width, self.height
        if region_width == region_height == 0:
            return whole
        inside = left + region_width <= self.width and top + region_height <= self.height
        if not inside or min(left, top) < 0 or min(region_width, region_height) < 1:
            message = (
                f'the region of interest is {region_width}x{region_height} pixels at ({left}, '
                f'{top}), which is not inside of {self.width}x{self.height}; let the driver state '
                'the one it crops to, or none'
            )
            raise CameraError(CameraProblem.SIZE, message)
        if (height, width) == (self.height, self.width):
            return whole  # of that size, it is not cropped, whatever the driver says
        return self.region

    def matrix(self, *, rectified: bool) -> NDArray[np.float64]:
        """The [3, 3] matrix that a rectified or raw image obeys: that of P, or K.

        Where it is empty the other one stands in, if there is one (KITTI odometry bags carry only
        P).
        """
        return self.p[:, :3] if self.obeys_projection(rectified=rectified) else self.k

    def obeys_projection(self, *, rectified: bool) -> bool:
        """Whether its images obey P, free of distortion: rectified ones, and where K is empty."""
        return bool(self.p[0, 0] != 0.0 and (rectified or self.k[0, 0] == 0.0))

    def intrinsics(self, *, rectified: bool) -> Intrinsics:
        """The pinhole camera of a rectified or raw image.

        Raises:
            CameraError: The matrix in question has no positive focal lengths.
        """
        matrix = self.matrix(rectified=rectified)
        try:
            return intrinsics_from_matrix(matrix, height=self.height, width=self.width)
        except DataError as error:
            message = str(error).rstrip('.')
            raise CameraError(CameraProblem.UNCALIBRATED, message) from error


def image_is_rectified(calibration: Calibration, *, topic: str) -> bool:
    """Whether an image is rectified, by the name of its topic and by its calibration.

    Args:
        calibration: Of the image; one without distortion has nothing to rectify.
        topic: `image_rect` and the like name rectified images: `rect` or `rectified` as a whole
            word between slashes and underscores.
    """
    words = re.split('[/_]', topic)
    return 'rect' in words or 'rectified' in words or calibration.is_undistorted


def _moved(
    values: NDArray[np.float64], *, corner: tuple[int, int], scale: tuple[float, float]
) -> NDArray[np.float64]:
    """Crop and resize a camera matrix of three rows; a zero one stays zero."""
    matrix = values.copy()
    if matrix[0, 0] == 0.0:
        return matrix
    matrix[:2, 2] += 0.5 - np.array(corner)
    matrix[:2] *= np.array(scale)[:, None]
    matrix[:2, 2] -= 0.5
    return matrix


def rays(calibration: Calibration, *, rectified: bool, stride: int = 1) -> Float32Array:
    """Return x/z and y/z of the ray through each pixel centre.

    Rectified images obey P, raw ones K and the distortion D.

    Args:
        calibration: One that belongs to the image, see `Calibration.fitted`.
        rectified: Whether the image is rectified.
        stride: Every so many rows and columns get a ray.

    Returns:
        [2, H', W'] float32, NaN where the distortion cannot be inverted.

    Raises:
        CameraError: K and P are all zero, or the distortion model is unknown.
    """
    camera = calibration.intrinsics(rectified=rectified)
    free = rectified or calibration.obeys_projection(rectified=rectified)
    if free or calibration.is_undistorted:
        every = pixel_rays(camera)[::stride, ::stride]
        return np.ascontiguousarray(np.moveaxis(every, -1, 0))
    return _undistorted_rays(calibration, stride)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rectification:
    """How an image becomes a rectified one, and the camera it then has."""

    intrinsics: Intrinsics
    """Of the rectified image."""
    rotation: NDArray[np.float64]
    """[3, 3] from the frame of the image to the one that `intrinsics` project from."""
    maps: tuple[Float32Array, Float32Array] | None
    """Column and row in the image of each pixel of the rectified one; None where they are one."""

    def apply(self, image: Uint8Array) -> Uint8Array:
        """Remove the distortion of an image of that camera; black where it shows nothing."""
        if self.maps is None:
            return image
        return np.asarray(cv2.remap(image, *self.maps, cv2.INTER_LINEAR), np.uint8)


def rectification(calibration: Calibration, *, rectified: bool) -> Rectification:
    """Return how images of a camera are rectified.

    A rectified image is described by P and R and stays. A raw one without distortion stays too
    and is described by K. One with distortion is rectified to P, or to K where P is empty.

    Args:
        calibration: One that belongs to the image, see `Calibration.fitted`.
        rectified: Whether the image is rectified already.

    Raises:
        CameraError: K and P are all zero, R is no rotation, the distortion model is unknown, or
            the rectified image would be all but black.
    """
    camera = calibration.intrinsics(rectified=rectified)
    if calibration.obeys_projection(rectified=rectified):
        return Rectification(intrinsics=camera, rotation=_rotation(calibration), maps=None)
    if rectified or calibration.is_undistorted:
        return Rectification(intrinsics=camera, rotation=np.eye(3), maps=None)
    _check_distortion(calibration)
    target = calibration.intrinsics(rectified=True)
    rotation = _rotation(calibration)
    fisheye = calibration.distortion_model in _FISHEYE_MODELS
    build = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
    columns, rows = build(
        calibration.k,
        calibration.d,
        rotation,
        target.matrix,
        (calibration.width, calibration.height),
        cv2.CV_32FC1,
    )
    maps = np.asarray(columns, np.float32), np.asarray(rows, np.float32)
    _check_shown(maps, calibration)
    return Rectification(intrinsics=target, rotation=rotation, maps=maps)


def _check_shown(maps: tuple[Float32Array, Float32Array], calibration: Calibration) -> None:
    """Refuse a rectification whose pixels lie outside of the image."""
    columns, rows = maps
    inside_columns = (columns >= 0.0) & (columns <= calibration.width - 1)
    inside_rows = (rows >= 0.0) & (rows <= calibration.height - 1)
    shown = float(np.mean(inside_columns & inside_rows))
    if shown < _LEAST_SHOWN:
        message = (
            f'{shown:.1%} of the rectified image would show anything, and at least '
            f'{_LEAST_SHOWN:.0%} must: K, D, R and P contradict each other; calibrate it again'
        )
        raise CameraError(CameraProblem.DISTORTION, message)


def _rotation(calibration: Calibration) -> NDArray[np.float64]:
    rotation = calibration.r
    if not rotation.any():
        return np.eye(3)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE):
        message = f'R is {rotation.ravel().tolist()}, which is no rotation: calibrate it again'
        raise CameraError(CameraProblem.UNCALIBRATED, message)
    return rotation


def _check_distortion(calibration: Calibration) -> None:
    """Refuse a distortion model that is unknown, or has another number of coefficients."""
    model, count = calibration.distortion_model, calibration.d.size
    if count in _COEFFICIENTS.get(model, ()):
        return
    known = '; '.join(
        f'{name} with {", ".join(map(str, counts))}'
        for name, counts in _COEFFICIENTS.items()
        if name
    )
    message = (
        f'distortion model {model!r} with {count} coefficients in D cannot be inverted; known: '
        f'{known}. Calibrate it again, or use rectified images (image_proc)'
    )
    raise CameraError(CameraProblem.DISTORTION, message)


def _undistorted_rays(calibration: Calibration, stride: int) -> Float32Array:
    _check_distortion(calibration)
    columns, rows = normalised_grid(calibration, stride)
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 1, 2)
    found = undistorted(
        points,
        calibration.d,
        fisheye=calibration.distortion_model in _FISHEYE_MODELS,
        focal_px=calibration.k[(0, 1), (0, 1)],
    )
    grid = found.reshape(rows.size, columns.size, 2)
    return np.ascontiguousarray(np.moveaxis(grid, -1, 0), np.float32)


def distortion_table(calibration: Calibration) -> DistortionTable:
    """Tabulate the rays of a raw image, to interpolate those of a K that changes.

    Args:
        calibration: One that belongs to the image and has a distortion.

    Raises:
        CameraError: K and P are all zero, or the distortion model is unknown.
    """
    calibration.intrinsics(rectified=False)
    _check_distortion(calibration)
    return DistortionTable(
        *normalised_grid(calibration, 1),
        coefficients=calibration.d,
        fisheye=calibration.distortion_model in _FISHEYE_MODELS,
        focal_px=calibration.k[(0, 1), (0, 1)],
    )


def normalised_grid(
    calibration: Calibration, stride: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x/z of every `stride`-th column and y/z of every such row, without the distortion."""
    k = calibration.k
    columns = (np.arange(0, calibration.width, stride) - k[0, 2]) / k[0, 0]
    rows = (np.arange(0, calibration.height, stride) - k[1, 2]) / k[1, 1]
    return columns, rows
