# SPDX-License-Identifier: Apache-2.0
"""Raw images of a lens with distortion, undistorted before the network sees them.

Networks are trained on images of pinhole cameras. The maps are those of OpenCV, made once for a
camera; a frame then costs one remapping.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depth_core import camera
from depth_core.camera import Calibration, Rectification
from depth_core.contracts import BoolArray, Float32Array, Uint8Array
from depth_core.errors import DataError
from depth_core.scale import sparse_plane
from depth_ros.frames.drops import FrameError
from depth_ros.messages.camera_info import (
    CameraInfoStore,
    calibration_of,
    frame_errors,
    image_is_rectified,
    info_for_image,
    rectified_info,
)
from depth_ros.settings import Settings

SAME_PX: Final = 0.05
"""A camera whose K and P move by no more than this keeps its maps."""


@dataclass(frozen=True, eq=False)
class View:
    """A rectified image and the camera it was taken with."""

    image: Uint8Array
    """[H, W, 3] RGB."""
    info: CameraInfo
    """Of the rectified view, with the header of the image."""
    maps: Maps

    def blank(self, depth_m: Float32Array) -> None:
        """Write NaN, in place, where the lens sees nothing; for depth of any size."""
        if (hidden := self.maps.hidden(*depth_m.shape)) is not None:
            np.copyto(depth_m, np.float32(np.nan), where=hidden)

    def seen_from(self, measured_m: Float32Array) -> Float32Array:
        """Return a sparse plane of the raw image as one of the rectified view, pixel by pixel."""
        return self.maps.moved(measured_m)


class Maps:
    """How images of one camera are rectified."""

    def __init__(
        self,
        calibration: Calibration,
        found: Rectification,
        maps: tuple[Float32Array, Float32Array],
    ) -> None:
        """Take what `depth_core.camera.rectification` found, and the maps in it."""
        self.calibration = calibration
        self.found = found
        columns, rows = maps
        inside = (columns >= 0.0) & (columns <= calibration.width - 1)
        inside &= (rows >= 0.0) & (rows <= calibration.height - 1)
        self._hidden = ~inside
        self._resized = self._hidden if self._hidden.any() else None
        self._fixed = cv2.convertMaps(columns, rows, cv2.CV_16SC2)

    def __call__(self, image: Uint8Array) -> Uint8Array:
        """Undistort an image; where the lens sees nothing its edge goes on."""
        return np.asarray(
            cv2.remap(image, *self._fixed, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )

    def fits(self, calibration: Calibration) -> bool:
        """Whether they serve a camera as well as their own."""
        own = self.calibration
        same = (own.height, own.width, own.distortion_model) == (
            calibration.height,
            calibration.width,
            calibration.distortion_model,
        )
        return (
            same
            and np.array_equal(own.d, calibration.d)
            and np.array_equal(own.r, calibration.r)
            and np.allclose(own.k, calibration.k, rtol=0.0, atol=SAME_PX)
            and np.allclose(own.p, calibration.p, rtol=0.0, atol=SAME_PX)
        )

    def hidden(self, height: int, width: int) -> BoolArray | None:
        """What the lens does not see of the view, at any size; None where it sees all."""
        if self._resized is not None and self._resized.shape != (height, width):
            codes = self._hidden.astype(np.uint8)
            resized = cv2.resize(codes, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
            self._resized = np.asarray(resized, np.bool_)
        return self._resized

    def moved(self, measured_m: Float32Array) -> Float32Array:
        """Bring each measured pixel of the raw image to its place in the view; NaN elsewhere.

        Raises:
            DataError: It is not of the size of the image.
        """
        height, width = self.calibration.height, self.calibration.width
        if measured_m.shape != (height, width):
            message = (
                f'measured depth of shape {measured_m.shape} does not belong to images of '
                f'{height}x{width}; give it for the pixels of the camera.'
            )
            raise DataError(message)
        rows, columns = np.nonzero(np.isfinite(measured_m) & (measured_m > 0.0))
        place_x, place_y, stretch = self._places[:, rows, columns]
        depths_m = measured_m[rows, columns] * stretch
        return sparse_plane(place_y, place_x, depths_m, height=height, width=width)

    @functools.cached_property
    def _places(self) -> Float32Array:
        """[3, H, W] column and row in the view, whole, and z there over z, of raw pixels."""
        rays = camera.rays(self.calibration, rectified=False).astype(np.float64)
        height, width = rays.shape[1:]
        points = np.concatenate((rays, np.ones((1, height, width)))).reshape(3, -1)
        turned = self.found.rotation @ points
        with np.errstate(divide='ignore', invalid='ignore'):
            x, y, _ = self.found.intrinsics.matrix @ (turned / turned[2])
        places = np.stack((np.rint(x), np.rint(y), turned[2]))
        return places.reshape(3, height, width).astype(np.float32)


class Rectifier:
    """Rectifies the images of one camera, as the parameter `rectify` says."""

    def __init__(
        self, infos: CameraInfoStore, *, image_topic: str, log: Callable[[str], object]
    ) -> None:
        """Look cameras up in `infos`.

        Args:
            infos: The camera_infos that came.
            image_topic: The resolved topic of the images.
            log: Takes a line when it begins or ends to rectify.
        """
        self._infos = infos
        self._image_topic = image_topic
        self._log = log
        self._maps: Maps | None = None
        self.state = 'no image yet'
        """What is done to images, for people."""

    def __call__(self, header: Header, image: Uint8Array, settings: Settings) -> View | None:
        """Return the rectified view of an image; None when the image stays as it is.

        Raises:
            FrameError: `rectify` is on and no camera_info says how.
        """
        if settings.rectify == 'off':
            self._enter('off')
            return None
        try:
            view = self._view(header, image, settings)
        except FrameError as error:
            self._enter(f'not rectified: {error.reason}')
            if settings.rectify == 'on':
                raise
            return None
        if view is None:
            self._enter('not needed: images without distortion')
        else:
            self._enter(f'rectified, {view.maps.calibration.distortion_model or "plumb_bob"}')
        return view

    def _view(self, header: Header, image: Uint8Array, settings: Settings) -> View | None:
        exact = settings.camera_info_pairing == 'exact'
        stated = self._infos.pair(header, exact=exact, waits=True)
        height, width = image.shape[:2]
        info = info_for_image(stated, header=header, height=height, width=width)
        if image_is_rectified(info, topic=self._image_topic, geometry=settings.image_geometry):
            return None
        with frame_errors():
            calibration = calibration_of(info)
            if self._maps is None or not self._maps.fits(calibration):
                found = camera.rectification(calibration, rectified=False)
                if found.maps is None:
                    return None
                self._maps = Maps(calibration, found, found.maps)
        return View(
            self._maps(image), rectified_info(info, self._maps.found.intrinsics), self._maps
        )

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._log(f'rectification: {state}')
