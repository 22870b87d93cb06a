# SPDX-License-Identifier: Apache-2.0
"""From an image to what outputs are made from: rectified, predicted, brought to metres."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depth_core.contracts import DepthMap, Intrinsics, Uint8Array
from depth_core.manifest import Manifest
from depth_core.runtime import Grid
from depth_ros.frames.camera import FrameCameras
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.frames.outputs import RELATIVE
from depth_ros.frames.rectify import Rectifier, View
from depth_ros.frames.result import FrameResult, Part
from depth_ros.frames.together import Asking, Question
from depth_ros.messages.camera_info import (
    CameraInfoStore,
    image_is_rectified,
    info_for_image,
    intrinsics_of,
    resized_info,
    rotation_of,
)
from depth_ros.messages.conversions import nanoseconds
from depth_ros.messages.point_cloud import CloudMemory, PixelRays, RayCache
from depth_ros.model.opened_size import OpenedSize
from depth_ros.scale.metric import MetricScale
from depth_ros.scale.scene import Scene
from depth_ros.settings import Settings

_ANSWERS: Final = Part.DEPTH | Part.RELATIVE
"""What the network is asked for."""


class FrameDepth:
    """Answers images of one camera, one at a time."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        infos: CameraInfoStore,
        scale: MetricScale | None,
        size: OpenedSize,
        image_topic: str,
        log: Callable[[str], object],
    ) -> None:
        """Look cameras up in `infos`.

        Args:
            manifest: Of the model.
            infos: The camera_infos that came.
            scale: What brings depth to metres; None where the model does, or nothing.
            size: Opens the model for the images.
            image_topic: The resolved topic of the images.
            log: Takes a line when what is done changes.
        """
        self._infos = infos
        self._kind = manifest.output.kind
        self._scale = scale
        self._size = size
        self._image_topic = image_topic
        self._rays = RayCache()
        self._cloud_memory = CloudMemory()
        self._rectifier = Rectifier(infos, image_topic=image_topic, log=log)
        self._cameras = FrameCameras(
            manifest=manifest, infos=infos, image_topic=image_topic, log=log
        )

    @property
    def scale_state(self) -> str:
        """Where the metres come from, for people."""
        return self._cameras.state if self._scale is None else self._scale.state

    @property
    def rectification(self) -> str:
        """What is done to images, for people."""
        return self._rectifier.state

    def __call__(
        self,
        header: Header,
        image: Uint8Array,
        needed: Part,
        settings: Settings,
        *,
        withhold: Callable[[FrameError], None],
    ) -> Asking[FrameResult]:
        """Compute the parts that are needed, in steps that ask the network for depth.

        Args:
            header: Of the image.
            image: [H, W, 3] RGB, as it came.
            needed: The parts.
            settings: The parameters.
            withhold: Takes the error of a part that is missing where the others are not.

        Raises:
            FrameError: There is nothing to publish.
        """
        view = self._rectifier(header, image, settings)
        if view is not None:
            image = view.image
        answer = depth = info = None
        if needed & _ANSWERS:
            if Part.RELATIVE not in needed:
                self._check_metres()
            answer, scene = yield from self._answer(header, image, view, settings)
        if Part.DEPTH in needed and answer is not None:
            try:
                depth = self._in_metres(answer, scene, settings)
            except FrameError as error:
                if Part.RELATIVE not in needed:
                    raise
                withhold(error)
        # Only now: a camera_info that came a little later than its image is there by now.
        if Part.CAMERA_INFO in needed:
            try:
                info = self._info(header, image, view, settings)
                size = (
                    self._output_size(image, settings) if answer is None else answer.depth_m.shape
                )
                info = resized_info(info, height=size[0], width=size[1])
            except FrameError as error:
                withhold(error)
        return FrameResult(
            header=header,
            rgb=image,
            settings=settings,
            rays=lambda fitted: self._pixel_rays(fitted, settings),
            depth=depth,
            relative=answer if Part.RELATIVE in needed else None,
            camera_info=info,
            cloud_memory=self._cloud_memory,
        )

    def _answer(
        self,
        header: Header,
        image: Uint8Array,
        view: View | None,
        settings: Settings,
    ) -> Asking[tuple[DepthMap, Scene]]:
        """What the network says of an image, and the image for a source of scale."""
        height, width = image.shape[:2]
        rectified = None if view is None else intrinsics_of(view.info, rectified=True)
        camera = self._cameras(header, settings, height=height, width=width, view=rectified)
        self._size.prepare(height, width)
        depth = yield Question(
            image=image,
            camera=camera,
            stamp_ns=nanoseconds(header.stamp),
            grid=grid_of(settings, height=height, width=width),
        )
        if view is not None:
            view.blank(depth.depth_m)
        scene = Scene(
            header=header,
            image=image,
            view=view,
            camera=lambda: rectified or self._pinhole(header, image, settings),
            rotation=lambda: (
                self._rotation(header, image, settings)
                if view is None
                else view.maps.found.rotation
            ),
        )
        return depth, scene

    def _in_metres(self, answer: DepthMap, scene: Scene, settings: Settings) -> DepthMap:
        """The depth in metres.

        Raises:
            FrameError: There is no scale.
        """
        self._check_metres()
        return answer if self._scale is None else self._scale(answer, scene, settings)

    def _check_metres(self) -> None:
        """See that metres can follow from an answer at all.

        Raises:
            FrameError: The model is relative, and there is no source of scale.
        """
        if self._scale is None and not self._kind.is_metric:
            message = (
                f'the model gives {self._kind} depth and scale_source is none, so nothing in '
                f'metres is published; {RELATIVE} has the depth as it is.'
            )
            raise FrameError(DropReason.NO_SCALE, message)

    def _info(
        self, header: Header, image: Uint8Array, view: View | None, settings: Settings
    ) -> CameraInfo:
        if view is not None:
            return view.info
        info = self._infos.pair(header, exact=settings.camera_info_pairing == 'exact')
        return info_for_image(info, header=header, height=image.shape[0], width=image.shape[1])

    def _output_size(self, image: Uint8Array, settings: Settings) -> tuple[int, ...]:
        """Rows and columns of the outputs of an image that the network is not asked about."""
        height, width = image.shape[:2]
        size = grid_of(settings, height=height, width=width).size
        if size == 'camera':
            return height, width
        return self._size.seen(height, width) if size == 'network' else size

    def _pinhole(self, header: Header, image: Uint8Array, settings: Settings) -> Intrinsics:
        """The pinhole camera of an image that is not rectified by the node."""
        info = self._info(header, image, None, settings)
        rectified = image_is_rectified(
            info, topic=self._image_topic, geometry=settings.image_geometry
        )
        if not rectified and any(info.d):
            message = (
                f'scale_source {settings.scale_source} takes straight lines and the images have '
                'distortion; set rectify to auto.'
            )
            raise FrameError(DropReason.NO_SCALE, message)
        return intrinsics_of(info, rectified=rectified)

    def _rotation(
        self, header: Header, image: Uint8Array, settings: Settings
    ) -> NDArray[np.float64]:
        """From the frame of an image that is not rectified by the node to that of its camera."""
        info = self._info(header, image, None, settings)
        rectified = image_is_rectified(
            info, topic=self._image_topic, geometry=settings.image_geometry
        )
        return rotation_of(info, rectified=rectified)

    def _pixel_rays(self, info: CameraInfo, settings: Settings) -> PixelRays:
        rectified = image_is_rectified(
            info, topic=self._image_topic, geometry=settings.image_geometry
        )
        return self._rays(info, rectified=rectified, stride=settings.cloud.stride)


def grid_of(settings: Settings, *, height: int, width: int) -> Grid:
    """Return the pixels that outputs of an image of `height` x `width` have."""
    guided = settings.depth.upsampling == 'guided'
    columns = settings.output_columns
    if columns is None:
        return Grid(
            size='network' if settings.output_size == 'network' else 'camera', guided=guided
        )
    columns = min(columns, width)
    return Grid(size=(max(1, round(height * columns / width)), columns), guided=guided)
