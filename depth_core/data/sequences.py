# SPDX-License-Identifier: Apache-2.0
"""Frames with their neighbours in time: which belong together, and how fast the camera moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from depth_core.contracts import Uint8Array
from depth_core.data.images import image_tensor
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError

_GAP_TOLERANCE = 0.5
"""Of the usual time between two frames, how much a pair may be off before frames are missing."""


def check_offsets(neighbours: Sequence[int]) -> tuple[int, ...]:
    """Return the offsets of neighbours in frames, as -1 and 1.

    Raises:
        ConfigError: One is 0, no whole number, or there twice.
    """
    offsets = tuple(neighbours)
    whole = all(isinstance(item, int) and not isinstance(item, bool) for item in offsets)
    if not whole or 0 in offsets or len(set(offsets)) < len(offsets):
        message = (
            f'neighbours {list(offsets)} are no offsets; give different whole numbers of frames, '
            'none of them 0: [-1, 1] for the frames before and after.'
        )
        raise ConfigError(message)
    return offsets


def neighbour_indices(
    stamps_s: NDArray[np.float64], offsets: Sequence[int]
) -> list[tuple[int, ...] | None]:
    """Say for each frame where its neighbours are.

    The usual time between frames is the median. A neighbour whose distance in time differs by
    more than half of that from what its offset says lies beyond a gap: frames were dropped.

    Args:
        stamps_s: [T] times of the frames in ascending order, seconds.
        offsets: Neighbours wanted, in frames.

    Returns:
        The indices of the neighbours of each frame in the order of `offsets`; None for a frame
        that lacks one, at the ends or at a gap.
    """
    count = len(stamps_s)
    step_s = float(np.median(np.diff(stamps_s))) if count > 1 else 0.0

    def has(index: int, offset: int) -> bool:
        if not 0 <= index + offset < count:
            return False
        error_s = stamps_s[index + offset] - stamps_s[index] - offset * step_s
        return bool(abs(error_s) <= _GAP_TOLERANCE * step_s)

    return [
        tuple(index + offset for offset in offsets)
        if all(has(index, offset) for offset in offsets)
        else None
        for index in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class SpeedTrack:
    """The speed of a camera over time, as something measured it now and then."""

    stamps_s: NDArray[np.float64]
    """[M] ascending."""
    speed_mps: NDArray[np.float64]
    """[M] metres a second."""
    tolerance_s: float
    """How far in time the nearest measurement may be."""
    gap_s: float = 0.0
    """Between two measurements not further apart than this every time is known."""

    def mean(self, first_s: float, second_s: float) -> float:
        """Mean speed between two times, measurements joined by straight lines; NaN = unknown.

        It is unknown when either time has no measurement within the tolerance and does not lie
        between two near enough to each other.
        """
        start, end = sorted((first_s, second_s))
        if not (self._known(start) and self._known(end)):
            return float('nan')
        first = np.searchsorted(self.stamps_s, start, side='right')
        inside = self.stamps_s[first : np.searchsorted(self.stamps_s, end, side='left')]
        times = np.array([start, *inside, end])
        speeds = np.interp(times, self.stamps_s, self.speed_mps)
        if end == start:
            return float(speeds[0])
        pieces = 0.5 * (speeds[1:] + speeds[:-1]) * np.diff(times)
        return float(pieces.sum() / (end - start))

    def _known(self, time_s: float) -> bool:
        after = int(np.searchsorted(self.stamps_s, time_s))
        near_s = self.stamps_s[max(after - 1, 0) : after + 1]
        if np.any(np.abs(near_s - time_s) <= self.tolerance_s):
            return True
        between = 0 < after < len(self.stamps_s)
        return between and bool(near_s[1] - near_s[0] <= self.gap_s)


def with_neighbours(
    sample: Sample,
    pictures: Sequence[Uint8Array],
    *,
    offsets: Sequence[int],
    dt_s: Sequence[float],
    speed_mps: Sequence[float],
    poses: NDArray[np.float64] | None = None,
) -> Sample:
    """Put the neighbours beside a frame.

    Args:
        sample: The frame.
        pictures: Its neighbours, [H, W, 3] uint8 RGB of the size of the frame.
        offsets: Signed number of frames from the frame to each.
        dt_s: Signed seconds from the frame to each; NaN = unknown.
        speed_mps: Mean speed of the camera on the way to each; NaN = unknown.
        poses: [1 + N, 4, 4] camera-to-world of the frame and of its neighbours, metres.
    """
    places = None if poses is None else torch.from_numpy(poses.astype(np.float32))
    return replace(
        sample,
        neighbour_images=torch.stack([image_tensor(picture) for picture in pictures]),
        neighbour_offsets=torch.tensor(offsets, dtype=torch.int64),
        neighbour_dt_s=torch.tensor(dt_s, dtype=torch.float32),
        speed_mps=torch.tensor(speed_mps, dtype=torch.float32),
        pose=sample.pose if places is None else places[0],
        neighbour_poses=None if places is None else places[1:],
    )
