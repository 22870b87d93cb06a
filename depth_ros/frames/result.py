# SPDX-License-Identifier: Apache-2.0
"""What is known of one frame when its messages are made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depth_core.contracts import DepthMap, Float32Array, Uint8Array
from depth_ros.messages.point_cloud import CloudMemory, PixelRays
from depth_ros.settings import Settings


class Part(Flag):
    """What is computed for a frame only where an output needs it."""

    DEPTH = auto()
    """The answer of the network, in metres."""
    RELATIVE = auto()
    """The answer of a relative network, in its own unit."""
    CAMERA_INFO = auto()
    """The calibration, fitted to the image."""


@dataclass(frozen=True, kw_only=True)
class FrameResult:
    """Everything that a message can be made from; the parts that are not needed are None."""

    header: Header
    """Stamp and frame of the input."""
    rgb: Uint8Array
    """[H, W, 3] the image, as the network sees it."""
    settings: Settings
    rays: Callable[[CameraInfo], PixelRays]
    """Rays of the pixels that become points, from a fitted camera_info; raises `FrameError`."""
    depth: DepthMap | None = None
    relative: DepthMap | None = None
    camera_info: CameraInfo | None = None
    cloud_memory: CloudMemory | None = None
    """Where clouds are written; None = each has its own bytes."""

    @functools.cached_property
    def parts(self) -> Part:
        """The parts that are here."""
        found = Part(0)
        if self.depth is not None:
            found |= Part.DEPTH
        if self.relative is not None:
            found |= Part.RELATIVE
        if self.camera_info is not None:
            found |= Part.CAMERA_INFO
        return found

    @property
    def answered(self) -> DepthMap | None:
        """What the network answered, in metres where known; None where it was not asked."""
        return self.relative if self.depth is None else self.depth

    @property
    def depth_map(self) -> DepthMap:
        """The depth, for an output that needs `Part.DEPTH`."""
        if self.depth is None:
            message = 'an output uses the depth and its row does not need it'
            raise LookupError(message)
        return self.depth

    @property
    def relative_map(self) -> DepthMap:
        """The relative depth, for an output that needs `Part.RELATIVE`."""
        if self.relative is None:
            message = 'an output uses the relative depth and its row does not need it'
            raise LookupError(message)
        return self.relative

    @functools.cached_property
    def shown_m(self) -> Float32Array:
        """[H, W] depth, less what the parameters take away."""
        depth, options = self.depth_map, self.settings.depth
        if not options.filters:
            return depth.depth_m
        shown_m = depth.depth_m.copy()
        with np.errstate(invalid='ignore'):
            if options.max_m > 0.0:
                shown_m[shown_m > options.max_m] = np.inf
            if options.min_m > 0.0:
                shown_m[shown_m < options.min_m] = -np.inf
        if options.min_confidence > 0.0:
            shown_m[np.isfinite(shown_m) & (depth.confidence < options.min_confidence)] = np.nan
        return shown_m

    @property
    def colours(self) -> Uint8Array:
        """[H, W, 3] the image at the size of the depth."""
        height, width = self.depth_map.depth_m.shape
        if self.rgb.shape[:2] == (height, width):
            return self.rgb
        resized = cv2.resize(self.rgb, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(resized, np.uint8)

    @property
    def fitted_info(self) -> CameraInfo:
        """The calibration, for an output that needs `Part.CAMERA_INFO`."""
        if self.camera_info is None:
            message = 'an output uses camera_info and its row does not need it'
            raise LookupError(message)
        return self.camera_info
