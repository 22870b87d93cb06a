# SPDX-License-Identifier: Apache-2.0
"""How fast the robot of a bag moved: from odometry, or from a topic of velocities."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.sequences import SpeedTrack
from depth_core.errors import DataError

ODOMETRY_TYPES: Final = ('nav_msgs/msg/Odometry',)
VELOCITY_TYPES: Final = (
    'geometry_msgs/msg/TwistStamped',
    'geometry_msgs/msg/TwistWithCovarianceStamped',
    'geometry_msgs/msg/Twist',
)

_LOG = logging.getLogger(__name__)


def read_speeds(
    messages: Iterable[tuple[int, Any]], *, tolerance_s: float, gap_s: float, source: str
) -> SpeedTrack:
    """Read the speeds a topic states, the length of the linear velocity.

    A Twist without a header counts at the time it was recorded. Odometry whose velocity is zero
    throughout although its position moves, as some visual odometry publishes it, is
    differentiated instead.

    Args:
        messages: (recording time in ns, Odometry or Twist of any kind).
        tolerance_s: How far in time a speed may be from where it is asked for.
        gap_s: How far apart two may be between which others are interpolated.
        source: The topic, for messages.

    Raises:
        DataError: There is no message, or a velocity is not finite.
    """
    stamps_ns, speeds, places = [], [], []
    for recorded_ns, message in messages:
        stamped = hasattr(message, 'header') and header_stamp_ns(message)
        stamps_ns.append(stamped or recorded_ns)
        velocity = _twist(message).linear
        speeds.append(float(np.linalg.norm((velocity.x, velocity.y, velocity.z))))
        if hasattr(message, 'pose'):
            place = message.pose.pose.position
            places.append((place.x, place.y, place.z))
    if not stamps_ns:
        message_text = f'{source} has no message; record it again, or choose another topic.'
        raise DataError(message_text)
    order = np.argsort(stamps_ns, kind='stable')
    # Seconds since 1970 have steps of 0.2 microseconds in float64, far below any camera's.
    stamps_s = np.array(stamps_ns, np.float64)[order] * 1e-9
    speed_mps = np.array(speeds)[order]
    if not np.isfinite(speed_mps).all():
        message_text = (
            f'{source} states {int((~np.isfinite(speed_mps)).sum())} velocities that are not '
            'finite; repair the recording, or choose another topic.'
        )
        raise DataError(message_text)
    if places and not speed_mps.any():
        steps_m = np.linalg.norm(np.diff(np.array(places)[order], axis=0), axis=1)
        steps_s = np.diff(stamps_s)
        passing = steps_s > 0.0
        if steps_m[passing].any():
            _LOG.warning('%s: velocities are all zero; positions are differentiated', source)
            stamps_s = 0.5 * (stamps_s[1:] + stamps_s[:-1])[passing]
            speed_mps = steps_m[passing] / steps_s[passing]
    return SpeedTrack(stamps_s=stamps_s, speed_mps=speed_mps, tolerance_s=tolerance_s, gap_s=gap_s)


def log_known(
    track: SpeedTrack,
    windows_s: Sequence[Sequence[float]],
    *,
    source: str,
) -> None:
    """Say in the log for how many sequences the speed is known, and why not for the others.

    Args:
        track: The speeds.
        windows_s: Times of each frame and of its neighbours, seconds.
        source: The topic of the speeds, for messages.
    """
    unknown = sum(
        any(np.isnan(track.mean(frame, other)) for other in others) for frame, *others in windows_s
    )
    known = len(windows_s) - unknown
    if not unknown:
        _LOG.info('%s: the speed of all %d sequences is known', source, known)
        return
    first, last = min(map(min, windows_s)), max(map(max, windows_s))
    apart = max(float(track.stamps_s[0]) - last, first - float(track.stamps_s[-1]))
    step_s = float(np.diff(track.stamps_s).max()) if len(track.stamps_s) > 1 else 0.0
    if apart > track.tolerance_s:
        reason = (
            f'its stamps lie {apart:.3g} s off all those of the images: another clock gives them; '
            'give a topic stamped by the clock of the camera'
        )
    elif step_s > max(track.gap_s, 2.0 * track.tolerance_s):
        reason = (
            f'its messages are up to {step_s:.3g} s apart; raise max_speed_gap_s (now '
            f'{track.gap_s:g} s) if the speed changes little on the way'
        )
    else:
        reason = (
            f'there the images begin before its messages, or end after them, by more than '
            f'max_speed_offset_s '
            f'(now {track.tolerance_s:g} s)'
        )
    level = logging.WARNING if unknown > known else logging.INFO
    _LOG.log(
        level,
        '%s: the speed of %d of %d sequences is known; for the others %s',
        source,
        known,
        len(windows_s),
        reason,
    )


def _twist(message: Any) -> Any:  # noqa: ANN401  rosbags makes its message classes at run time
    """The innermost Twist: Odometry has twist.twist, TwistStamped twist, Twist is it."""
    while hasattr(message, 'twist'):
        message = message.twist
    return message
