# SPDX-License-Identifier: Apache-2.0
"""Why a frame, or a part of its answer, was not published: each reason is counted."""

from __future__ import annotations

from enum import Enum

from depth_core.errors import DataError


class DropReason(str, Enum):
    """The reasons under which the diagnostics count what was not published."""

    SUPERSEDED = 'superseded'
    """A newer frame arrived while this one waited."""
    NO_SUBSCRIBER = 'no_subscriber'
    """No output has a subscriber, so nothing was computed."""
    RATE_LIMITED = 'rate_limited'
    """No output that has a subscriber is due, by the parameters rate.*."""
    DEACTIVATED = 'deactivated'
    """The node was deactivated while the frame waited."""
    ENCODING = 'encoding'
    """The encoding or compression is not one the node reads."""
    SIZE = 'size'
    """Height, width, step and the number of bytes contradict each other."""
    CORRUPT = 'corrupt'
    """A compressed image cannot be decoded, or only a part of it arrived."""
    PREDICTION = 'prediction'
    """The backend refused the frame."""
    NO_SCALE = 'no_scale'
    """The parameter scale_source asks for a scale, and there is none for this frame."""
    REOPENING = 'reopening'
    """The backend hung or failed, and is being opened again."""
    INTERNAL = 'internal'
    """A defect of this package; the log holds the traceback."""
    NO_CAMERA_INFO = 'no_camera_info'
    """No camera_info (of this stamp, where that is asked for): depth without info and cloud, or
    no depth where the model needs the focal length. So it is with the reasons below."""
    UNCALIBRATED = 'uncalibrated'
    """The camera_info is all zero or not usable: depth without cloud."""
    CAMERA_INFO_SIZE = 'camera_info_size'
    """The camera_info belongs to an image of another shape: depth without info and cloud."""
    DISTORTION_MODEL = 'distortion_model'
    """The distortion model is unknown: depth without cloud."""

    def __str__(self) -> str:
        return self.value


class FrameError(DataError):
    """A message cannot be used; it is counted under `reason`."""

    def __init__(self, reason: DropReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
