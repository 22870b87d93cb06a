# SPDX-License-Identifier: Apache-2.0
"""The camera that each image is predicted with, where the model uses one.

The focal length in it decides about metres, so that a model that needs it gives none before a
camera_info came, and none from a camera_info that cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depth_core.contracts import Intrinsics
from depth_core.manifest import Manifest
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.camera_info import (
    CameraInfoStore,
    image_is_rectified,
    info_for_image,
    intrinsics_of,
)
from depth_ros.settings import Settings

BY_INFO: Final = 'metric, by the focal length of camera_info'


class FrameCameras:
    """Finds the camera of each image, and says where the metres come from."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        infos: CameraInfoStore,
        image_topic: str,
        log: Callable[[str], object],
    ) -> None:
        """Look cameras up in `infos`.

        Args:
            manifest: Of the model.
            infos: The camera_infos that came.
            image_topic: The resolved topic of the images.
            log: Takes a line when what the metres come from changes.
        """
        self._manifest = manifest
        self._infos = infos
        self._image_topic = image_topic
        self._log = log
        self._found: tuple[tuple[object, ...], Intrinsics] | None = None
        self.state = initial_state(manifest)
        """Where the metres come from, for people."""

    def __call__(
        self,
        header: Header,
        settings: Settings,
        *,
        height: int,
        width: int,
        view: Intrinsics | None = None,
    ) -> Intrinsics | None:
        """Return the camera of an image of `height` x `width`.

        Args:
            header: Of the image.
            settings: The parameters.
            height: Rows of the image.
            width: Columns of the image.
            view: The camera, where the node has rectified the image; None where it has not.

        Returns:
            Pixels of the image; None when the model does without, or assumes them.

        Raises:
            FrameError: The model needs it, and there is none that can be used.
        """
        manifest = self._manifest
        if not manifest.uses_intrinsics:
            return None
        if view is not None:
            self._enter(BY_INFO)
            return view
        if manifest.needs_intrinsics and self._infos.is_empty:
            self._assume()
            return None
        try:
            found = self._from_info(header, settings, height=height, width=width)
        except FrameError as error:
            if manifest.needs_intrinsics:
                self._enter(f'no metres: {error.reason}')
                raise
            self._enter(initial_state(manifest))
            return None
        self._enter(BY_INFO)
        return found

    def _assume(self) -> None:
        """Leave the camera to the predictor, where its manifest states one.

        Raises:
            FrameError: It states none.
        """
        hfov_deg = self._manifest.domain.assumed_hfov_deg
        if hfov_deg is not None:
            self._enter(f'metric, by an assumed field of view of {hfov_deg:g} degrees')
            return
        message = (
            f'no camera_info yet: this model needs the focal length, and {self._infos.absence}, '
            'or set assumed_hfov_deg.'
        )
        raise FrameError(DropReason.NO_CAMERA_INFO, message)

    def _from_info(
        self, header: Header, settings: Settings, *, height: int, width: int
    ) -> Intrinsics:
        exact = settings.camera_info_pairing == 'exact'
        stated = self._infos.pair(header, exact=exact, waits=True)
        key = _contents(stated), settings.image_geometry, height, width
        if self._found is None or key != self._found[0]:  # cameras do not change
            info = info_for_image(stated, header=header, height=height, width=width)
            rectified = image_is_rectified(
                info, topic=self._image_topic, geometry=settings.image_geometry
            )
            self._found = key, intrinsics_of(info, rectified=rectified)
        return self._found[1]

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._log(f'depth is now {state}')


def _contents(info: CameraInfo) -> tuple[object, ...]:
    """What the intrinsics of an image are made from."""
    roi = info.roi
    return (
        *(info.height, info.width, roi.x_offset, roi.y_offset, roi.width, roi.height),
        *(bytes(memoryview(numbers)) for numbers in (info.k, info.p, info.d)),
    )


def initial_state(manifest: Manifest) -> str:
    """Where the metres of a model come from before the first image."""
    if not manifest.uses_intrinsics:
        return str(manifest.output.kind)
    if not manifest.needs_intrinsics:
        return 'metric, by the focal length that the model estimates'
    hfov_deg = manifest.domain.assumed_hfov_deg
    if hfov_deg is not None:
        return f'metric, by an assumed field of view of {hfov_deg:g} degrees'
    return 'no metres: no camera_info yet'
