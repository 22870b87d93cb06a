# SPDX-License-Identifier: Apache-2.0
"""Poses at times, and the pose between two of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TimedPose:
    """Where a frame was in its parent."""

    time_ns: int
    place_m: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    """Quaternion x, y, z, w."""


def pose_at(poses: Sequence[TimedPose], time_ns: int, *, late_ns: int) -> TimedPose | None:
    """The pose at a time, the place along a line and the rotation along a great circle.

    Args:
        poses: At least one, in order of time.
        time_ns: When.
        late_ns: So long after the last pose it still holds.

    Returns:
        None before the first, and too long after the last.
    """
    after = bisect.bisect_left(poses, time_ns, key=lambda pose: pose.time_ns)
    if after == len(poses):
        return poses[-1] if time_ns - poses[-1].time_ns <= late_ns else None
    if poses[after].time_ns == time_ns:
        return poses[after]
    if after == 0:
        return None
    earlier, later = poses[after - 1], poses[after]
    share = (time_ns - earlier.time_ns) / (later.time_ns - earlier.time_ns)
    first, last = np.array(earlier.place_m), np.array(later.place_m)
    x, y, z = (float(value) for value in first + share * (last - first))
    return TimedPose(time_ns, (x, y, z), _slerp(earlier.rotation, later.rotation, share))


def _slerp(
    first: tuple[float, float, float, float],
    last: tuple[float, float, float, float],
    share: float,
) -> tuple[float, float, float, float]:
    """The rotation a share of the way from one to the other, along the shorter great circle.

    Shoemake, "Animating rotation with quaternion curves" (1985).
    """
    p, q = np.array(first), np.array(last)
    lengths = float(np.linalg.norm(p)), float(np.linalg.norm(q))
    if 0.0 in lengths:
        return last  # refused where the matrix is made
    p, q = p / lengths[0], q / lengths[1]
    cosine = float(p @ q)
    if cosine < 0.0:
        q, cosine = -q, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-6:  # noqa: PLR2004  the sine in the denominator is no number there
        mixed = p + share * (q - p)
    else:
        mixed = (math.sin((1.0 - share) * angle) * p + math.sin(share * angle) * q) / math.sin(
            angle
        )
    x, y, z, w = (float(value) for value in mixed)
    return x, y, z, w
