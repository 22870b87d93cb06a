# SPDX-License-Identifier: Apache-2.0
"""From one camera message to everything that is published about it."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import DepthError
from depth_core.runtime import Predictor
from depth_ros.camera_info import CameraInfoStore, image_is_rectified, info_for_image
from depth_ros.conversions import nanoseconds, rgb_from_compressed, rgb_from_image
from depth_ros.drops import DropReason, FrameError
from depth_ros.frame_camera import FrameCameras
from depth_ros.frame_statistics import FrameStatistics, FrameTimes
from depth_ros.identity import Identity
from depth_ros.opened_size import OpenedSize
from depth_ros.outputs import FrameResult, Output, Outputs, Part, parts_needed
from depth_ros.point_cloud import RayCache
from depth_ros.scale import SparseDepthStore, SparseScale
from depth_ros.settings import Settings
from depth_ros.watchdog import InferenceRecord, first_line

MEASURED_PIXELS: Final = 16384
"""About so many pixels of a depth map tell how many have an estimate."""


@dataclass(frozen=True)
class Frame:
    """An image that arrived."""

    message: Any
    """sensor_msgs Image or CompressedImage."""
    arrived_s: float
    """Monotonic time of its arrival."""


class FrameAnswerer:
    """Answers frames, one at a time; whatever goes wrong with one is counted and logged.

    `settings` may be replaced from another thread: a frame uses what it finds when it begins.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        predictor: Predictor,
        outputs: Outputs,
        infos: CameraInfoStore,
        sparse: SparseDepthStore | None,
        statistics: FrameStatistics,
        image_topic: str,
        clock: Clock,
        log: Callable[[str], object],
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
        self._cameras = FrameCameras(
            manifest=predictor.manifest, infos=infos, image_topic=image_topic, log=log
        )
        self._scale = None if sparse is None else SparseScale(sparse, log)
        self._size = OpenedSize(predictor)
        self._retired = threading.Event()
        self.record = InferenceRecord()
        """What the backend does."""

    @property
    def is_retired(self) -> bool:
        """Whether it publishes nothing any more."""
        return self._retired.is_set()

    def retire(self) -> None:
        """Publish nothing from here on, whatever is still in work."""
        self._retired.set()

    def described(self, identity: Identity) -> Identity:
        """What is known of the model and of what it answers by now."""
        return replace(
            identity,
            scale_state=self._cameras.state if self._scale is None else self._scale.state,
            network_size=self._size.network,
            progress=self._size.progress,
        )

    def __call__(self, frame: Frame) -> None:
        """Answer `frame`; never raises."""
        try:
            self._answer(frame)
        except FrameError as error:
            self._drop(error.reason, str(error), of='frame')
        except DepthError as error:
            self._drop(DropReason.PREDICTION, str(error), of='frame')
        except Exception as error:  # noqa: BLE001 one frame must not take the node down
            trace = traceback.format_exc()
            self._drop(DropReason.INTERNAL, first_line(error), of='frame', details=trace)

    def _answer(self, frame: Frame) -> None:
        begun_s = time.monotonic()
        wanted = self._outputs.wanted()
        if not wanted:
            self._statistics.dropped(DropReason.NO_SUBSCRIBER)
            return
        result = self._result(frame, parts_needed(wanted))
        if self._retired.is_set():
            return
        self._publish(wanted, result)
        done_s = time.monotonic()
        age_ns = self._clock.now().nanoseconds - nanoseconds(result.header.stamp)
        self._statistics.published(
            FrameTimes(
                waiting_s=begun_s - frame.arrived_s,
                inference_s=result.depth.inference_s if result.depth is not None else 0.0,
                latency_s=done_s - frame.arrived_s,
                age_s=age_ns * 1e-9,
            ),
            valid_fraction=None if result.depth is None else _valid_fraction(result.depth.depth_m),
        )

    def _result(self, frame: Frame, needed: Part) -> FrameResult:
        """Decode the image and compute the parts that are needed."""
        settings, message = self.settings, frame.message
        compressed = isinstance(message, CompressedImage)
        decode = rgb_from_compressed if compressed else rgb_from_image
        image = decode(message, max_pixels=self._infos.max_pixels())
        depth = info = None
        if Part.DEPTH in needed:
            height, width = image.shape[:2]
            camera = self._cameras(message.header, settings, height=height, width=width)
            self._size.prepare(height, width)
            with self.record.inference():
                depth = self._predictor.predict(
                    image, camera, stamp_ns=nanoseconds(message.header.stamp)
                )
            if self._scale is not None:
                depth = self._scale(depth, message.header)
        # Only now: a camera_info that came a little later than its image is there by now.
        if Part.CAMERA_INFO in needed:
            info = self._fitted_info(message.header, image, settings)
        return FrameResult(
            header=message.header,
            rgb=image,
            settings=settings,
            rays=lambda fitted: self._pixel_rays(fitted, settings),
            depth=depth,
            camera_info=info,
        )

    def _publish(self, wanted: Sequence[Output], result: FrameResult) -> None:
        for output in wanted:
            if output.needs not in result.parts:
                continue  # counted where the part was missing
            try:
                self._outputs.publish(output, result)
            except FrameError as error:
                self._drop(error.reason, str(error), of='output')

    def _fitted_info(
        self, header: Header, image: Uint8Array, settings: Settings
    ) -> CameraInfo | None:
        """Return the calibration of the image; without one there is still depth."""
        try:
            info = self._infos.pair(header, exact=settings.camera_info_pairing == 'exact')
            return info_for_image(info, header=header, height=image.shape[0], width=image.shape[1])
        except FrameError as error:
            self._drop(error.reason, str(error), of='output')
            return None

    def _pixel_rays(self, info: CameraInfo, settings: Settings) -> Float32Array:
        rectified = image_is_rectified(
            info, topic=self._image_topic, geometry=settings.image_geometry
        )
        return self._rays(info, rectified=rectified, stride=settings.cloud.stride)

    def _drop(
        self,
        reason: DropReason,
        problem: str,
        *,
        of: Literal['frame', 'output'],
        details: str = '',
    ) -> None:
        """Count what is lost; the log gets the details too, now and then."""
        if self._retired.is_set():
            return
        if self._statistics.dropped(reason, problem, whole=of == 'frame'):
            lost = 'frame dropped' if of == 'frame' else 'output withheld'
            self._warn(f'{lost} ({reason}): {details or problem}')


def _valid_fraction(depth_m: Float32Array) -> float:
    """Fraction of the pixels that have an estimate, from a grid of them."""
    step = max(1, math.isqrt(depth_m.size // MEASURED_PIXELS))
    return 1.0 - float(np.isnan(depth_m[::step, ::step]).mean())
