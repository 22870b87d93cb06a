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
from sensor_msgs.msg import CompressedImage

from depth_core.contracts import Uint8Array
from depth_core.errors import DepthError
from depth_core.runtime import Predictor
from depth_ros.frames.depth import FrameDepth
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.frames.outputs import Output, Outputs, parts_needed
from depth_ros.frames.rates import RateLimiter
from depth_ros.frames.result import FrameResult, Part
from depth_ros.frames.statistics import FrameStatistics, FrameTimes
from depth_ros.frames.together import Asking
from depth_ros.health.identity import Identity
from depth_ros.health.watchdog import first_line
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.messages.conversions import nanoseconds, rgb_from_compressed, rgb_from_image
from depth_ros.model.opened_size import OpenedSize
from depth_ros.scale.measured import Measured
from depth_ros.scale.metric import metric_scale
from depth_ros.scale.odometry import OdometryStore
from depth_ros.settings import Settings

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
    """Answers the frames of one camera; whatever goes wrong with one is counted and logged.

    `settings` may be replaced from another thread: a frame uses what it finds when it begins.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        predictor: Predictor,
        outputs: Outputs,
        infos: CameraInfoStore,
        measured: Measured | None = None,
        odometry: OdometryStore | None = None,
        statistics: FrameStatistics,
        image_topic: str,
        clock: Clock,
        log: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> None:
        self.settings = settings
        self._outputs = outputs
        self._infos = infos
        self._statistics = statistics
        self._clock = clock
        self._warn = warn
        self._rates = RateLimiter()
        self._size = OpenedSize(predictor)
        self._scale = metric_scale(
            settings,
            predictor.manifest.output.kind,
            measured=measured,
            odometry=odometry,
            log=log,
        )
        self._depth = FrameDepth(
            manifest=predictor.manifest,
            infos=infos,
            scale=self._scale,
            size=self._size,
            image_topic=image_topic,
            log=log,
        )
        self._retired = threading.Event()

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
            scale_state=self._depth.scale_state,
            scale=None if self._scale is None else self._scale.reading,
            rectification=self._depth.rectification,
            network_size=self._size.network,
            progress=self._size.progress,
        )

    def reset_scale(self) -> bool:
        """Forget the scale found so far; whether there is a source of one."""
        if self._scale is None:
            return False
        self._scale.reset()
        return True

    def __call__(self, frame: Frame) -> Asking[None]:
        """Answer `frame`, in steps that ask the network; they never raise."""
        try:
            yield from self._answer(frame)
        except FrameError as error:
            self._drop(error.reason, str(error), of='frame')
        except DepthError as error:
            self._drop(DropReason.PREDICTION, str(error), of='frame')
        except Exception as error:  # noqa: BLE001 one frame must not take the node down
            trace = traceback.format_exc()
            self._drop(DropReason.INTERNAL, first_line(error), of='frame', details=trace)

    def _answer(self, frame: Frame) -> Asking[None]:
        begun_s, settings = time.monotonic(), self.settings
        wanted = self._outputs.wanted()
        scale_wanted = self._outputs.scale_is_wanted
        if not wanted and not scale_wanted:
            self._statistics.dropped(DropReason.NO_SUBSCRIBER)
            return
        stamp_ns = nanoseconds(frame.message.header.stamp)
        wanted = self._rates.due(wanted, stamp_ns, settings.rate)
        if not wanted and not scale_wanted:
            self._statistics.dropped(DropReason.RATE_LIMITED)
            return
        needed = parts_needed(wanted) | (Part.DEPTH if scale_wanted else Part(0))
        result = yield from self._result(frame, needed, settings)
        if self._retired.is_set():
            return
        self._publish(wanted, result)
        done_s, answered = time.monotonic(), result.answered
        age_ns = self._clock.now().nanoseconds - nanoseconds(result.header.stamp)
        self._statistics.published(
            FrameTimes(
                waiting_s=begun_s - frame.arrived_s,
                inference_s=0.0 if answered is None else answered.inference_s,
                latency_s=done_s - frame.arrived_s,
                age_s=age_ns * 1e-9,
            ),
            valid_fraction=_valid_fraction(result),
        )

    def _result(self, frame: Frame, needed: Part, settings: Settings) -> Asking[FrameResult]:
        """Decode the image and compute the parts that are needed."""
        message = frame.message
        image = self._image(message, settings)
        try:
            return (
                yield from self._depth(
                    message.header,
                    image,
                    needed,
                    settings,
                    withhold=lambda error: self._drop(error.reason, str(error), of='output'),
                )
            )
        finally:
            if self._scale is not None and Part.DEPTH in needed and not self.is_retired:
                self._outputs.publish_scale(self._scale.reading.scale)

    def _image(self, message: Any, settings: Settings) -> Uint8Array:  # noqa: ANN401 Image or CompressedImage
        """Decode an image, unless it is too large or cannot be of this camera."""
        stated = round(settings.max_image_megapixels * 1e6)
        limit = stated or self._infos.max_pixels()
        if isinstance(message, CompressedImage):
            return rgb_from_compressed(
                message, max_pixels=limit, check_size=self._infos.check_size
            )
        bits = settings.mono16_bits
        return rgb_from_image(message, max_pixels=limit, mono16_bits=bits)

    def _publish(self, wanted: Sequence[Output], result: FrameResult) -> None:
        for output in wanted:
            if output.needs not in result.parts:
                continue  # counted where the part was missing
            try:
                self._outputs.publish(output, result)
            except FrameError as error:
                self._drop(error.reason, str(error), of='output')

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


def _valid_fraction(result: FrameResult) -> float | None:
    """Fraction of the pixels, on a grid, that are published with an estimate; None of no depth."""
    if result.answered is None:
        return None
    depth_m = result.answered.depth_m if result.depth is None else result.shown_m
    step = max(1, math.isqrt(depth_m.size // MEASURED_PIXELS))
    unknown = np.isnan(depth_m[::step, ::step])
    return 1.0 - np.count_nonzero(unknown) / unknown.size
