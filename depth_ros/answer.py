# SPDX-License-Identifier: Apache-2.0
"""From one camera message to everything that is published about it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage

from depth_core.contracts import DepthMap, Uint8Array
from depth_core.errors import DepthError
from depth_core.preview import ColourScale, scale_for
from depth_core.runtime import Predictor
from depth_ros.camera_info import CameraInfoStore, image_is_rectified, info_for_image
from depth_ros.conversions import rgb_from_compressed, rgb_from_image
from depth_ros.diagnostics import FrameStatistics, FrameTimes
from depth_ros.drops import DropReason, FrameError
from depth_ros.outputs import CAMERA_INFO, POINTS, Outputs, Wanted
from depth_ros.point_cloud import RayCache
from depth_ros.settings import Settings


@dataclass(frozen=True)
class Frame:
    """An image that arrived."""

    message: Any
    """sensor_msgs Image or CompressedImage."""
    arrived_s: float
    """Monotonic time of its arrival."""


class FrameAnswerer:
    """Answers frames, one at a time; whatever goes wrong with one is counted and said.

    `settings` may be replaced from another thread: a frame uses what it finds when it begins.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        predictor: Predictor,
        outputs: Outputs,
        infos: CameraInfoStore,
        statistics: FrameStatistics,
        image_topic: str,
        clock: Clock,
        warn: Callable[[str], object],
    ) -> None:
        self.settings = settings
        self._predictor = predictor
        self._outputs = outputs
        self._infos = infos
        self._statistics = statistics
        self._image_topic = image_topic
        self._clock = clock
        self._warn = warn
        self._rays = RayCache()

    def __call__(self, frame: Frame) -> None:
        """Answer `frame`; never raises."""
        try:
            self._answer(frame)
        except FrameError as error:
            self._drop(error.reason, str(error))
        except DepthError as error:
            self._drop(DropReason.PREDICTION, str(error))
        except Exception:  # noqa: BLE001 one frame must not take the node down
            self._drop(DropReason.INTERNAL, traceback.format_exc())

    def _answer(self, frame: Frame) -> None:
        begun_s = time.monotonic()
        wanted = self._outputs.wanted()
        if not wanted:
            self._drop(DropReason.NO_SUBSCRIBER)
            return
        settings, header = self.settings, frame.message.header
        compressed = isinstance(frame.message, CompressedImage)
        decode = rgb_from_compressed if compressed else rgb_from_image
        image = decode(frame.message, max_pixels=self._infos.max_pixels())
        stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec
        depth = None
        if wanted.needs_depth:
            depth = self._predictor.predict(image, stamp_ns=stamp_ns)
        # Only now: a camera_info that came a little later than its image is there by now.
        info = self._fitted_info(frame, image, wanted) if wanted.needs_camera_info else None
        if info is not None and CAMERA_INFO in wanted:
            self._outputs.publish_camera_info(info)
        if depth is not None:
            self._outputs.publish_images(
                depth,
                header,
                wanted,
                encoding=settings.depth_encoding,
                preview_scale=self._preview_scale(settings),
            )
        if depth is not None and info is not None and POINTS in wanted:
            self._publish_points(depth, info, image, settings)
        done_s = time.monotonic()
        self._statistics.published(
            FrameTimes(
                waiting_s=begun_s - frame.arrived_s,
                inference_s=depth.inference_s if depth is not None else 0.0,
                latency_s=done_s - frame.arrived_s,
                age_s=(self._clock.now().nanoseconds - stamp_ns) * 1e-9,
            )
        )

    def _fitted_info(self, frame: Frame, image: Uint8Array, wanted: Wanted) -> CameraInfo | None:
        header = frame.message.header
        try:
            exact = self.settings.camera_info_pairing == 'exact'
            info = self._infos.pair(header, exact=exact)
            return info_for_image(info, header=header, height=image.shape[0], width=image.shape[1])
        except FrameError as error:
            # Without camera_info there is still depth; whoever wants only depth misses nothing.
            if wanted.needs_camera_info:
                self._drop(error.reason, str(error))
            return None

    def _publish_points(
        self, depth: DepthMap, info: CameraInfo, image: Uint8Array, settings: Settings
    ) -> None:
        rectified = image_is_rectified(
            info, topic=self._image_topic, geometry=settings.image_geometry
        )
        try:
            pixel_rays = self._rays(info, rectified=rectified, stride=settings.cloud.stride)
        except FrameError as error:
            self._drop(error.reason, str(error))
            return
        self._outputs.publish_points(
            depth, info.header, pixel_rays=pixel_rays, rgb=image, options=settings.cloud
        )

    def _preview_scale(self, settings: Settings) -> ColourScale | None:
        return scale_for(
            self._predictor.manifest.output,
            near=settings.preview_near_m or None,
            far=settings.preview_far_m or None,
        )

    def _drop(self, reason: DropReason, problem: str = '') -> None:
        if self._statistics.dropped(reason, problem):
            lost = 'frame dropped' if reason.loses_frame else 'output withheld'
            self._warn(f'{lost} ({reason}): {problem}')
