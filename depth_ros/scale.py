# SPDX-License-Identifier: Apache-2.0
"""Metres for models of relative depth, from depth that another sensor measured at some pixels."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depth_core.contracts import DepthKind, DepthMap, Float32Array
from depth_core.errors import DataError
from depth_core.scale import sparse_depth_scale, sparse_inverse_fit
from depth_ros.conversions import depth_from_image, nanoseconds
from depth_ros.drops import DropReason, FrameError

MAX_AGE_S: Final = 0.1
"""Measured depth of another stamp counts when it is this near."""
PATIENCE_S: Final = 0.1
"""How long measured depth may come after its image."""
INITIAL_STATE: Final = 'no metres: no sparse depth yet'

_KEPT: Final = 16


class SparseDepthStore:
    """The depth images that came lately; one thread adds while another looks up."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._changed = threading.Condition()
        self._messages: deque[Image] = deque(maxlen=_KEPT)
        self._waits = True
        """Whether depth came with the stamps of images, so that waiting for it is worth it."""

    def add(self, message: Image) -> None:
        """Remember `message` as the latest."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def pair(self, header: Header) -> Image:
        """Return the depth image of the stamp of `header`, else the nearest.

        Raises:
            FrameError: None is within `MAX_AGE_S`.
        """
        with self._changed:
            if self._waits:
                self._changed.wait_for(lambda: self._age_s(header) == 0.0, PATIENCE_S)
            age_s = self._age_s(header)
            self._waits = age_s == 0.0 or not self._messages
            if age_s <= MAX_AGE_S:
                return min(self._messages, key=lambda message: _apart_s(message, header))
        text = (
            f'this model knows no metres, and no depth of the time of the image is on '
            f'{self.topic}: publish it within {MAX_AGE_S:g} s of the stamp, or remap sparse_depth.'
        )
        raise FrameError(DropReason.NO_SCALE, text)

    def _age_s(self, header: Header) -> float:
        return min((_apart_s(message, header) for message in self._messages), default=math.inf)


class SparseScale:
    """Brings relative depth to metres, each answer by the measured depth of its own time."""

    def __init__(self, store: SparseDepthStore, log: Callable[[str], object]) -> None:
        self._store = store
        self._log = log
        self.state = INITIAL_STATE
        """Where the metres come from, for people."""

    def __call__(self, depth: DepthMap, header: Header) -> DepthMap:
        """Return `depth` in metres.

        Raises:
            FrameError: There is no measured depth that fits.
        """
        try:
            metric = self._scaled(depth, header)
        except FrameError:
            self._enter('no metres: no_scale')
            raise
        self._enter('metric, by sparse depth')
        return metric

    def _scaled(self, depth: DepthMap, header: Header) -> DepthMap:
        message = self._store.pair(header)
        try:
            measured_m = depth_from_image(message)
            if depth.kind is DepthKind.INVERSE:
                return _inverse(depth, measured_m)
            return _multiplied(depth, measured_m)
        except DataError as error:
            text = f'depth on {self._store.topic} gives no scale: {error}'
            raise FrameError(DropReason.NO_SCALE, text) from error

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._log(f'depth is now {state}')


def _inverse(depth: DepthMap, measured_m: Float32Array) -> DepthMap:
    found = sparse_inverse_fit(depth.depth_m, measured_m)
    if not found.valid:
        raise DataError(_why(found.state, found.points, found.residual))
    depth_m = found.depth_m(depth.depth_m)
    return replace(
        depth,
        depth_m=depth_m,
        sigma_m=lambda: depth.sigma_m * depth_m**2 * found.scale,  # by the slope of 1 / x
        kind=DepthKind.METRIC,
        depth_range=(0.0, math.inf),
    )


def _multiplied(depth: DepthMap, measured_m: Float32Array) -> DepthMap:
    found = sparse_depth_scale(depth.depth_m, measured_m)
    if not found.valid:
        raise DataError(_why(found.state, found.points, found.residual))
    return replace(
        depth,
        depth_m=depth.depth_m * found.scale,
        sigma_m=lambda: depth.sigma_m * found.scale,
        kind=DepthKind.METRIC,
        depth_range=(0.0, math.inf),
    )


def _why(state: str, points: int, residual: float) -> str:
    return (
        f'{state} ({points} points, residual {residual:.2g}); it must be measured at 20 pixels '
        'or more, in the view of the camera.'
    )


def _apart_s(message: Image, header: Header) -> float:
    return abs(nanoseconds(message.header.stamp) - nanoseconds(header.stamp)) * 1e-9
