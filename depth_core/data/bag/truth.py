# SPDX-License-Identifier: Apache-2.0
"""The true depth of a recorded image: a lidar scan projected through tf, or a depth image."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.camera import Rectification
from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.bag.frame_tree import FrameTree
from depth_core.data.bag.messages import depth_of, points_of
from depth_core.data.bag.reading import Record
from depth_core.data.images import resize_depth
from depth_core.errors import DataError
from depth_core.geometry import render_sparse_depth, transform

FARTHEST_M: Final = 300.0
"""No camera and no lidar of a robot has a median depth beyond; numbers in millimetres have."""
NEAREST_M: Final = 0.05
"""None has a median depth nearer; metres taken for millimetres have."""
SCANS: Final = 'scans'
"""What a topic of clouds holds, for messages."""
_CLOCKS_APART_NS: Final = 1_000_000_000
"""Stamps of messages that were recorded together differ by less."""
_SCATTERED: Final = 0.7
"""Share of pixels without depth above which a depth image holds projected scans."""
_DEPTH_IMAGE_LATER_S: Final = 0.5
"""By so much more than the images may depth images be recorded after their stamps: computing them
from two cameras takes less."""
_TURN_S: Final = 0.1
"""A turn of a lidar, where there are too few scans to tell."""
_DRIVER_S: Final = 0.05
"""By so much more than a turn may scans be recorded after their stamps: a scan is stamped at the
begin or the end of its turn, and sent at the end."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a topic of clouds or depth images says of the depth of images, by their stamps."""

    topic: str
    records: Sequence[Record]
    """Where its messages are, by their stamps."""
    max_offset_s: float
    """Largest time between an image and the message that counts for it, seconds."""
    what: str
    """`SCANS` or `depth images`."""
    bag: str
    """The bag, for messages."""
    depth_unit_m: float | None = None
    """Metres in one unit of a depth image; None = 1 for floats, 0.001 for integers."""

    def nearest(self, stamp_ns: int) -> Record | None:
        """Where the message nearest in time is; None where none is near enough."""
        place = bisect.bisect_left(self.records, Record(stamp_ns=stamp_ns, recorded_ns=0))
        near = self.records[max(place - 1, 0) : place + 1]
        best = min(near, key=lambda record: abs(record.stamp_ns - stamp_ns), default=None)
        if best is None or abs(best.stamp_ns - stamp_ns) > round(self.max_offset_s * 1e9):
            return None
        return best

    def depth_m(
        self,
        message: Any,  # noqa: ANN401  rosbags makes its message classes at run time
        camera: Rectification,
        *,
        view: Intrinsics,
        frames: FrameTree,
        frame: str,
    ) -> Float32Array:
        """Bring a message of the topic to the pixels of the sample.

        Args:
            message: PointCloud2, or Image or CompressedImage of depth.
            camera: How the image was rectified.
            view: The camera of the rectified image once it was resized.
            frames: The transforms of the bag.
            frame: Frame of the camera.

        Returns:
            [H, W] metres, NaN where nothing is known.

        Raises:
            DataError: Frames are not connected, sizes differ, or the numbers cannot be metres.
        """
        source = f'{self.topic} of bag {self.bag}'
        if hasattr(message, 'point_step'):
            points_m = points_of(message, source=source)
            check_metres(np.linalg.norm(points_m, axis=1), source=source)
            matrix = frames.between(frame, message.header.frame_id).copy()
            matrix[:3] = camera.rotation @ matrix[:3]
            return render_sparse_depth(transform(points_m, matrix), view)
        depth_m = depth_of(message, source=source, unit_m=self.depth_unit_m)
        check_metres(depth_m, source=source)
        depth_m = _of_view(depth_m, camera, source)
        size = view.height, view.width
        if depth_m.shape == size:
            return depth_m
        sparse = float(np.isnan(depth_m).mean()) > _SCATTERED
        return resize_depth(depth_m, size, sparse=sparse)

    def missing(self, first_ns: int, stamps_ns: Sequence[int]) -> str:
        """Say why an image has none, and what helps.

        Args:
            first_ns: Stamp of an image without any.
            stamps_ns: Stamps of the images.
        """
        if not self.records:
            return f'{self.topic} has no message in this part of bag {self.bag}.'
        away_s = min(abs(item.stamp_ns - first_ns) for item in self.records) * 1e-9
        said = (
            f'of {len(self.records)} {self.what} on {self.topic} the nearest to the image of '
            f'stamp {first_ns} is {away_s:.3f} s away, and max_offset_s is {self.max_offset_s:g}; '
        )
        begin, end = min(stamps_ns), max(stamps_ns)
        apart_ns = max(self.records[0].stamp_ns - end, begin - self.records[-1].stamp_ns)
        if apart_ns > _CLOCKS_APART_NS:
            return said + (
                f'recorded together, they are stamped {apart_ns * 1e-9:.3f} s apart: camera and '
                'this topic have different clocks. Synchronise these (PTP, NTP) and record again.'
            )
        return said + 'give a larger one, or record both by one clock.'


def clocks_apart(images: Sequence[Record], truth: Truth) -> str | None:
    """Say it where the stamps of two sensors do not go with the times of recording.

    Each message is recorded shortly after its stamp, whatever the sensor; where one sensor's are
    so much later, or earlier, than the other's, their clocks differ, though every image may find
    a scan of about its stamp: at 10 Hz, clocks 0.2 s apart pair each image with the scan two
    turns away. A bag whose times of recording are its stamps tells nothing here.
    """
    if not (images and truth.records):
        return None
    late_s = [
        float(np.median([(item.recorded_ns - item.stamp_ns) * 1e-9 for item in records]))
        for records in (images, truth.records)
    ]
    apart_s = late_s[1] - late_s[0]
    if abs(apart_s) <= _usual_difference_s(truth):
        return None
    return (
        f'images are recorded {late_s[0]:.2f} s after their stamps and {truth.what} on '
        f'{truth.topic} {late_s[1]:.2f} s: the clocks of camera and {truth.topic} seem to be '
        f'{abs(apart_s):.2f} s apart, so that images are compared with {truth.what} of another '
        'time; unless a driver needs that long to send, synchronise the clocks (PTP, NTP) and '
        'record again'
    )


def _usual_difference_s(truth: Truth) -> float:
    """By how much the delays of two sensors may differ while they go by one clock, seconds."""
    if truth.what != SCANS:
        return _DEPTH_IMAGE_LATER_S
    stamps_s = np.array([item.stamp_ns for item in truth.records]) * 1e-9
    turn_s = float(np.median(np.diff(stamps_s))) if len(stamps_s) > 1 else _TURN_S
    return min(turn_s, _TURN_S * 2) + _DRIVER_S


def check_metres(values: NDArray[np.floating], *, source: str) -> None:
    """Refuse distances whose middle is farther or nearer than a camera sees.

    Args:
        values: Distances in any shape; those that are not finite do not count.
        source: Where they come from, for the message.

    Raises:
        DataError: They are likely to be millimetres, or metres taken for such.
    """
    known = np.count_nonzero(np.isfinite(values))
    beyond = [np.count_nonzero(values > FARTHEST_M), np.count_nonzero(values < NEAREST_M)]
    if not known or 2 * max(beyond) < known - 1:  # the middle is found by counting
        return
    middle = float(np.median(values[np.isfinite(values)]))
    if middle > FARTHEST_M:
        message = (
            f'{source} has a median distance of {middle:.0f} m, beyond {FARTHEST_M:g} m: it seems '
            'to hold millimetres where metres are stated (REP-118: 32FC1 and clouds are metres, '
            '16UC1 is millimetres); correct the recording, or, for a depth topic, give '
            '--depth_unit_m 0.001. A far value that stands for "nothing seen" has to be NaN or '
            'infinite (REP-117).'
        )
        raise DataError(message)
    if middle < NEAREST_M:
        message = (
            f'{source} has a median distance of {middle:.4f} m, below {NEAREST_M:g} m: it seems '
            'to hold metres where millimetres are stated (REP-118: 16UC1 is millimetres, 32FC1 '
            'and clouds are metres); correct the recording, or, for a depth topic, give '
            '--depth_unit_m 1.'
        )
        raise DataError(message)


def _of_view(depth_m: Float32Array, camera: Rectification, source: str) -> Float32Array:
    """Move the depth of an image to the pixels it is seen at once rectified.

    Raises:
        DataError: It has another size, or the view is turned, so that depth changes with it.
    """
    view: Intrinsics = camera.intrinsics
    if depth_m.shape != (view.height, view.width):
        message = (
            f'depth of {depth_m.shape[0]}x{depth_m.shape[1]} on {source} does not belong to '
            f'images of {view.height}x{view.width}; record depth that is registered to the camera '
            'and of its size.'
        )
        raise DataError(message)
    if camera.maps is None:
        return depth_m
    if not np.allclose(camera.rotation, np.eye(3), atol=1e-6):
        message = (
            f'{source} is depth of raw images that are turned when rectified; record the '
            'rectified images and depth registered to these.'
        )
        raise DataError(message)
    moved = cv2.remap(
        depth_m, *camera.maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(float('nan'),) * 4,
    )  # fmt: skip
    return np.asarray(moved, np.float32)
