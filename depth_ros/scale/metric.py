# SPDX-License-Identifier: Apache-2.0
"""Metres by the parameter `scale_source`: which source, smoothed, and what the diagnostics say."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from depth_core.contracts import DepthKind, DepthMap
from depth_core.scale import ScaleTracker, TrackedScale, TrackState, sparse_inverse_fit
from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.conversions import nanoseconds
from depth_ros.scale.measured import Measured
from depth_ros.scale.odometry import OdometryStore
from depth_ros.scale.scene import Scene
from depth_ros.scale.sources import GroundSource, Source, SparseSource, SpeedSource
from depth_ros.settings import Settings

NEEDED: Final = {'ground_plane': 5, 'speed': 3, 'sparse_depth': 1, 'lidar': 1}
"""Estimates before the first metres, by source."""


class MetricScale(Protocol):
    """Brings depth to metres."""

    state: str
    """Where the metres come from, for people."""

    @property
    def reading(self) -> TrackedScale:
        """The scale of the last image, its age as of now."""

    def __call__(self, depth: DepthMap, scene: Scene, settings: Settings) -> DepthMap:
        """Return `depth` in metres.

        Raises:
            FrameError: There is no scale.
        """

    def reset(self) -> None:
        """Forget what came so far."""


def metric_scale(
    settings: Settings,
    kind: DepthKind,
    *,
    measured: Measured | None,
    odometry: OdometryStore | None,
    log: Callable[[str], object],
) -> MetricScale | None:
    """Return what the parameters ask for; None when the model is left as it is.

    Args:
        settings: The parameters.
        kind: What the model gives.
        measured: Depth of another sensor, where `scale_source` takes it.
        odometry: Odometry, where `scale_source` takes it.
        log: Takes a line when what the metres come from changes.
    """
    source: Source | None = None
    if settings.scale_source == 'fixed':
        return FixedScale()
    if measured is not None and kind is DepthKind.INVERSE:
        return InverseScale(measured, settings, log)
    if settings.scale_source == 'ground_plane':
        source = GroundSource(settings.scale.camera_height_m)
    elif measured is not None:
        source = SparseSource(measured)
    elif odometry is not None:
        source = SpeedSource(odometry)
    return None if source is None else TrackedMetricScale(source, settings, log)


class FixedScale:
    """A factor that the user gives; it may change while the node runs."""

    def __init__(self) -> None:
        self.state = 'metric, by scale.factor'
        self.reading = TrackedScale(state=TrackState.VALID)

    def __call__(self, depth: DepthMap, scene: Scene, settings: Settings) -> DepthMap:  # noqa: ARG002 needs no scene
        """Return `depth` times the factor."""
        factor = settings.scale.factor
        self.reading = TrackedScale(state=TrackState.VALID, scale=factor, age_s=0.0)
        return multiplied(depth, factor)

    def reset(self) -> None:
        """Nothing is remembered."""


class TrackedMetricScale:
    """The median of what a source estimates from each image."""

    def __init__(self, source: Source, settings: Settings, log: Callable[[str], object]) -> None:
        self._source = source
        self._name = settings.scale_source
        self._tracker = ScaleTracker(
            window=settings.scale.window,
            max_age_s=settings.scale.max_age_s,
            needed=NEEDED[self._name],
        )
        self._log = log
        self._updated_s = time.monotonic()
        self.state = f'no metres: no estimate by {self._name} yet'

    @property
    def reading(self) -> TrackedScale:
        """The scale of the last image, its age as of now."""
        found = self._tracker.latest
        return replace(found, age_s=found.age_s + time.monotonic() - self._updated_s)

    def __call__(self, depth: DepthMap, scene: Scene, settings: Settings) -> DepthMap:  # noqa: ARG002 given at configure
        """Return `depth` in metres.

        Raises:
            FrameError: There is no scale yet, or not any more.
        """
        missing = ''
        try:
            estimate = self._source(depth, scene)
        except FrameError as error:
            estimate, missing = None, str(error)
        found = self._tracker.update(estimate, nanoseconds(scene.header.stamp) * 1e-9)
        self._updated_s = time.monotonic()
        if found.usable:
            self._enter(f'metric, by {self._name}')
            return multiplied(depth, found.scale)
        self._enter(f'no metres: {found.state}')
        message = missing or (
            f'{self._name} gives no scale: {found.reason or found.state} ({found.estimates} of '
            f'{NEEDED[self._name]} estimates).'
        )
        raise FrameError(DropReason.NO_SCALE, message)

    def reset(self) -> None:
        """Forget every estimate."""
        self._tracker.reset()
        self._enter('no metres: waiting')

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._log(f'depth is now {state}')


class InverseScale:
    """Scale and shift of inverse depth, each answer by the measured depth of its own time."""

    def __init__(
        self, measured: Measured, settings: Settings, log: Callable[[str], object]
    ) -> None:
        self._measured = measured
        self._name = settings.scale_source
        self._log = log
        self._updated_s = time.monotonic()
        self._found = TrackedScale(state=TrackState.WAITING)
        self.state = f'no metres: no depth by {self._name} yet'

    @property
    def reading(self) -> TrackedScale:
        """Scale of the last fit, 1 / metres in one unit; its age as of now."""
        found = self._found
        return replace(found, age_s=found.age_s + time.monotonic() - self._updated_s)

    def __call__(self, depth: DepthMap, scene: Scene, settings: Settings) -> DepthMap:  # noqa: ARG002 has no parameters
        """Return `depth` in metres.

        Raises:
            FrameError: There is no measured depth that fits.
        """
        try:
            metric = self._fitted(depth, scene)
        except FrameError:
            state = TrackState.LOST if self._found.estimates else TrackState.WAITING
            self._found = replace(self._found, state=state, scale=math.nan)
            self._enter(f'no metres: {state}')
            raise
        self._enter(f'metric, by {self._name}')
        return metric

    def reset(self) -> None:
        """Forget the last fit."""
        self._found = TrackedScale(state=TrackState.WAITING)
        self._enter('no metres: waiting')

    def _fitted(self, depth: DepthMap, scene: Scene) -> DepthMap:
        found = sparse_inverse_fit(depth.depth_m, self._measured(depth, scene))
        if not found.valid:
            text = (
                f'depth on {self._measured.topic} gives no scale: {found.state} ({found.points} '
                f'points, residual {found.residual:.2g}); it must be measured at 20 pixels or '
                'more, in the view of the camera.'
            )
            raise FrameError(DropReason.NO_SCALE, text)
        self._found = TrackedScale(
            state=TrackState.VALID,
            scale=found.scale,
            residual=found.residual,
            points=found.points,
            estimates=1,
            age_s=0.0,
        )
        self._updated_s = time.monotonic()
        depth_m = found.depth_m(depth.depth_m)
        return replace(
            depth,
            depth_m=depth_m,
            sigma_m=lambda: depth.sigma_m * depth_m**2 * found.scale,  # by the slope of 1 / x
            kind=DepthKind.METRIC,
            depth_range=(0.0, math.inf),
        )

    def _enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._log(f'depth is now {state}')


def multiplied(depth: DepthMap, factor: float) -> DepthMap:
    """Return `depth` in metres, where one unit is `factor` of them."""
    nearest, farthest = depth.depth_range
    return replace(
        depth,
        depth_m=depth.depth_m * factor,
        sigma_m=lambda: depth.sigma_m * factor,
        kind=DepthKind.METRIC,
        depth_range=(nearest * factor, farthest * factor),
    )
