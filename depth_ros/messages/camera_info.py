# SPDX-License-Identifier: Apache-2.0
"""Calibration messages: their values, those of an image, and the latest ones.

What is computed from them is in `depth_core.camera`. A camera_info is fitted first
(`info_for_image`), so that whatever works with rays sees matrices that belong to the image at
hand, without binning and region of interest.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_core import camera
from depth_core.camera import Calibration, CameraError, CameraProblem
from depth_core.contracts import Float32Array, Intrinsics
from depth_core.distortion import DistortionTable
from depth_core.images import MAX_PIXELS
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.middleware.publishers import Publishers

_KEPT_INFOS: Final = 64
_KEPT_CALIBRATIONS: Final = 16

PATIENCE_S: Final = 0.1
"""How long the camera_info of an image may come after it, where only that one will do."""

USUAL_PIXELS: Final = 16_000_000
"""Images of so many pixels are read whatever the camera_info says."""

_LARGER_IMAGE: Final = 4
"""How many times the pixels of its camera_info an image may have."""

_REASONS: Final = {
    CameraProblem.UNCALIBRATED: DropReason.UNCALIBRATED,
    CameraProblem.SIZE: DropReason.CAMERA_INFO_SIZE,
    CameraProblem.DISTORTION: DropReason.DISTORTION_MODEL,
}


class CameraInfoStore:
    """The camera_infos that came lately; one thread adds while another looks up."""

    def __init__(self, publishers: Publishers, *, name: str = 'camera_info') -> None:
        """Begin without any.

        Args:
            publishers: Of the topic they come from.
            name: What that is called before remapping: `camera_info`, `front/camera_info`.
        """
        self.topic = publishers.topic
        self._publishers = publishers
        self._name = name
        self._changed = threading.Condition()
        self._infos: deque[CameraInfo] = deque(maxlen=_KEPT_INFOS)

    def add(self, info: CameraInfo) -> None:
        """Remember `info` as the latest."""
        with self._changed:
            self._infos.append(info)
            self._changed.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether none has come yet."""
        with self._changed:
            return not self._infos

    @property
    def absence(self) -> str:
        """That none has come, what publishes on the topic, and what to do."""
        return (
            f'no camera_info arrived on {self.topic}: {self._publishers}; '
            f'remap {self._name} ({self._name}:=/camera/camera_info)'
        )

    def max_pixels(self) -> int:
        """Height times width of the largest image that is to be read from this camera."""
        with self._changed:
            stated = self._infos[-1].height * self._infos[-1].width if self._infos else 0
        return min(max(USUAL_PIXELS, _LARGER_IMAGE * stated), MAX_PIXELS)

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image that cannot be of this camera, by its header: that is damaged.

        Raises:
            FrameError: No region, binning or resize leads from the latest camera_info to it.
        """
        with self._changed:
            latest = self._infos[-1] if self._infos else None
        if latest is None or not (latest.height and latest.width):
            return
        try:
            info_for_image(latest, header=latest.header, height=height, width=width)
        except FrameError as error:
            if error.reason is DropReason.CAMERA_INFO_SIZE:  # else its size says nothing
                raise

    def pair(self, header: Header, *, exact: bool, waits: bool = False) -> CameraInfo:
        """Return the camera_info of the stamp of `header`, else the latest unless `exact`.

        Args:
            header: Of the image.
            exact: Whether only the one with its stamp will do.
            waits: Whether to wait a little for that one, where only it will do: some drivers
                send the image first.

        Raises:
            FrameError: There is none.
        """
        with self._changed:
            if exact and waits:
                self._changed.wait_for(lambda: self._stamped(header) is not None, PATIENCE_S)
            info = self._stamped(header)
            if info is not None:
                return info
            if self._infos and not exact:
                return self._infos[-1]
            kept = len(self._infos)
        stamp = f'{header.stamp.sec}.{header.stamp.nanosec:09d}'
        if kept:
            text = (
                f'none of the last {kept} messages on {self.topic} has the stamp {stamp} of the '
                'image; set camera_info_pairing to latest, or fix the driver.'
            )
        else:
            text = f'{self.absence}. What needs one is not published.'
        raise FrameError(DropReason.NO_CAMERA_INFO, text)

    def _stamped(self, header: Header) -> CameraInfo | None:
        return next(
            (info for info in reversed(self._infos) if info.header.stamp == header.stamp), None
        )


def calibration_of(info: CameraInfo) -> Calibration:
    """Return what a camera_info states.

    Raises:
        FrameError: A number is not finite.
    """
    roi = info.roi
    matrices = (bytes(memoryview(numbers)) for numbers in (info.k, info.d, info.r, info.p))
    region = roi.x_offset, roi.y_offset, roi.width, roi.height
    with frame_errors():
        return _calibration(info.height, info.width, *matrices, info.distortion_model, region)


@functools.lru_cache(_KEPT_CALIBRATIONS)
def _calibration(  # noqa: PLR0917 a key
    height: int,
    width: int,
    k: bytes,
    d: bytes,
    r: bytes,
    p: bytes,
    distortion_model: str,
    region: tuple[int, int, int, int],
) -> Calibration:
    """A calibration of those numbers; cameras seldom change theirs."""
    return Calibration(
        height=height,
        width=width,
        k=np.frombuffer(k).reshape(3, 3),
        d=np.frombuffer(d),
        r=np.frombuffer(r).reshape(3, 3),
        p=np.frombuffer(p).reshape(3, 4),
        distortion_model=distortion_model,
        region=region,
    )


@functools.lru_cache(_KEPT_CALIBRATIONS)
def _fitted(stated: Calibration, height: int, width: int) -> Calibration:
    return stated.fitted(height=height, width=width)


def info_for_image(info: CameraInfo, *, header: Header, height: int, width: int) -> CameraInfo:
    """Return the camera_info of an image of `height` x `width` that `info` was published with.

    See `Calibration.fitted`: region and binning of the answer are none.

    Args:
        info: The calibration as the driver publishes it; all-zero K and P stay zero.
        header: Header of the image.
        height: Rows of the image.
        width: Columns of the image.

    Raises:
        FrameError: No region, binning or resize makes `info` one of such an image, or a number is
            not finite.
    """
    with frame_errors():
        calibration = _fitted(calibration_of(info), height, width)
    fitted = copy.copy(info)
    fitted.header = header
    fitted.height, fitted.width = height, width
    fitted.binning_x = fitted.binning_y = 0
    fitted.roi = RegionOfInterest()
    fitted.k = calibration.k.ravel()
    fitted.p = calibration.p.ravel()
    return fitted


def resized_info(info: CameraInfo, *, height: int, width: int) -> CameraInfo:
    """Return the camera_info of a fitted one's image, stretched to `height` x `width`."""
    if (info.height, info.width) == (height, width):
        return info
    resized = copy.copy(info)
    resized.height, resized.width = height, width
    if info.width:
        calibration = calibration_of(info).resized(height=height, width=width)
        resized.k, resized.p = calibration.k.ravel(), calibration.p.ravel()
    return resized


def rectified_info(info: CameraInfo, camera: Intrinsics) -> CameraInfo:
    """Return the camera_info of the rectified view of `info`: that of `camera`, nothing else."""
    rectified = copy.copy(info)
    rectified.distortion_model = 'plumb_bob'
    rectified.d = [0.0] * 5
    rectified.r = np.eye(3).ravel()
    rectified.k = camera.matrix.ravel()
    projection = np.array(info.p, np.float64).reshape(3, 4)
    projection[:, :3] = camera.matrix  # the fourth column, of a stereo camera, stays
    rectified.p = projection.ravel()
    return rectified


def image_is_rectified(info: CameraInfo, *, topic: str, geometry: str) -> bool:
    """Decide whether P holds for an image, as the parameter `image_geometry` says.

    Args:
        info: Its calibration.
        topic: The resolved topic of the image; `image_rect` and the like name rectified ones.
        geometry: `rectified`, `raw`, or `auto` to go by the topic and the distortion.

    Raises:
        FrameError: A number of the calibration is not finite.
    """
    if geometry != 'auto':
        return geometry == 'rectified'
    return camera.image_is_rectified(calibration_of(info), topic=topic)


def intrinsics_of(info: CameraInfo, *, rectified: bool) -> Intrinsics:
    """Return the pinhole camera of an image: that of P when it is rectified, else of K.

    Args:
        info: A camera_info fitted to the image by `info_for_image`.
        rectified: Whether the image is rectified.

    Raises:
        FrameError: It is not calibrated.
    """
    with frame_errors():
        return calibration_of(info).intrinsics(rectified=rectified)


def rotation_of(info: CameraInfo, *, rectified: bool) -> NDArray[np.float64]:
    """Return the [3, 3] rotation from the frame of an image to the one its camera projects from.

    Args:
        info: A camera_info fitted to the image by `info_for_image`, of a lens without distortion
            where the image is not rectified.
        rectified: Whether the image is rectified.

    Raises:
        FrameError: It is not calibrated.
    """
    with frame_errors():
        return camera.rectification(calibration_of(info), rectified=rectified).rotation


def rays(info: CameraInfo, *, rectified: bool, stride: int = 1) -> Float32Array:
    """Return x/z and y/z of the ray through each pixel centre, see `depth_core.camera.rays`.

    Args:
        info: A camera_info fitted to the image by `info_for_image`.
        rectified: Whether the image is rectified.
        stride: Every so many rows and columns get a ray.

    Returns:
        [2, H', W'] float32, NaN where the distortion cannot be inverted.

    Raises:
        FrameError: It is not calibrated, or the distortion model is unknown.
    """
    with frame_errors():
        return camera.rays(calibration_of(info), rectified=rectified, stride=stride)


class TabulatedRays:
    """Rays of raw images whose K changes from frame to frame while D stays, as a zoom's does."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._table: DistortionTable | None = None

    def __call__(self, info: CameraInfo, *, rectified: bool, stride: int) -> Float32Array | None:
        """Return the rays, interpolated; None where the lens is another than that of last time.

        Raises:
            FrameError: It is not calibrated, or the distortion model is unknown.
        """
        with frame_errors():
            stated = calibration_of(info)
            free = rectified or stated.obeys_projection(rectified=rectified)
            if free or stated.is_undistorted:
                return None
            key = stated.distortion_model, stated.d.tobytes(), stated.height, stated.width
            former, self._key = self._key, key
            if former != key:
                self._table = None
                return None
            stated.intrinsics(rectified=False)
            grid = camera.normalised_grid(stated, stride)
            if self._table is None or not self._table.covers(*grid):
                self._table = camera.distortion_table(stated)
            return self._table.rays(*grid)


@contextlib.contextmanager
def frame_errors() -> Iterator[None]:
    """Give errors of a calibration the reason they are counted under."""
    try:
        yield
    except CameraError as error:
        raise FrameError(
            _REASONS[error.problem], f'camera_info: {str(error).removesuffix(".")}.'
        ) from error
