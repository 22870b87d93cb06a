# SPDX-License-Identifier: Apache-2.0
"""Which frames belong together in time, and how fast a camera moved between them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_core.data.sequences import SpeedTrack, check_offsets, neighbour_indices
from depth_core.errors import ConfigError


def test_frames_at_the_ends_have_no_window() -> None:
    stamps_s = np.linspace(0.0, 0.4, 5)
    assert neighbour_indices(stamps_s, (-1, 1)) == [None, (0, 2), (1, 3), (2, 4), None]
    assert neighbour_indices(stamps_s, (2,)) == [(2,), (3,), (4,), None, None]
    assert neighbour_indices(stamps_s, ()) == [()] * 5
    assert neighbour_indices(stamps_s[:1], (1,)) == [None]
    assert neighbour_indices(stamps_s[:0], (1,)) == []


def test_frames_beside_a_gap_are_not_paired() -> None:
    # The fourth frame, at 0.3 s, was dropped.
    stamps_s = np.array([0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7])
    windows = neighbour_indices(stamps_s, (-1, 1))
    assert windows == [None, (0, 2), None, None, (3, 5), (4, 6), None]
    assert neighbour_indices(stamps_s, (3,)) == [None, None, None, (6,), None, None, None]


def test_an_uneven_camera_is_no_gap() -> None:
    stamps_s = np.array([0.0, 0.11, 0.19, 0.31, 0.40])
    assert neighbour_indices(stamps_s, (-1, 1))[1:-1] == [(0, 2), (1, 3), (2, 4)]


def test_a_message_recorded_twice_is_no_neighbour() -> None:
    stamps_s = np.array([0.0, 0.1, 0.1, 0.2, 0.3, 0.4])
    assert neighbour_indices(stamps_s, (1,)) == [(1,), None, (3,), (4,), (5,), None]


@pytest.mark.parametrize('offsets', [[0], [1, 1], [0.5], [True], ['-1']])
def test_what_is_no_offset_is_refused(offsets: list[int]) -> None:
    with pytest.raises(ConfigError, match=r'are no offsets; .* \[-1, 1\] for the frames'):
        check_offsets(offsets)


def test_offsets_keep_their_order() -> None:
    assert check_offsets([1, -1, 3]) == (1, -1, 3)


def track(tolerance_s: float = 0.15) -> SpeedTrack:
    return SpeedTrack(
        stamps_s=np.array([1.0, 1.2, 1.4]),
        speed_mps=np.array([2.0, 4.0, 0.0]),
        tolerance_s=tolerance_s,
    )


def test_the_mean_speed_by_hand() -> None:
    speeds = track()
    assert speeds.mean(1.0, 1.2) == pytest.approx(3.0)
    assert speeds.mean(1.2, 1.0) == pytest.approx(3.0), 'backwards is as far'
    assert speeds.mean(1.1, 1.1) == pytest.approx(3.0)
    # From 3 up to 4 in 0.1 s and down to 2 in 0.1 s: (3.5 + 3) / 2.
    assert speeds.mean(1.1, 1.3) == pytest.approx(3.25)
    assert speeds.mean(1.0, 1.4) == pytest.approx(2.5)


def test_a_speed_too_far_in_time_is_unknown() -> None:
    assert track().mean(0.9, 1.0) == pytest.approx(2.0), 'held for the tolerance'
    assert math.isnan(track().mean(0.8, 1.0))
    assert math.isnan(track().mean(1.3, 1.6))
    assert math.isnan(track(tolerance_s=0.05).mean(1.1, 1.2))
    empty = SpeedTrack(stamps_s=np.empty(0), speed_mps=np.empty(0), tolerance_s=9.0)
    assert math.isnan(empty.mean(0.0, 1.0))


def test_between_two_measurements_near_enough_to_each_other_all_is_known() -> None:
    slow = SpeedTrack(
        stamps_s=np.array([1.0, 1.5, 3.0]),
        speed_mps=np.array([2.0, 4.0, 0.0]),
        tolerance_s=0.1,
        gap_s=1.0,
    )
    assert slow.mean(1.2, 1.3) == pytest.approx(3.0), '0.2 s from the nearest, in a gap of 0.5 s'
    assert slow.mean(1.25, 1.55) == pytest.approx((3.5 * 0.25 + (4.0 - 0.2 / 3.0) * 0.05) / 0.3)
    assert math.isnan(slow.mean(2.0, 2.1)), 'a gap of 1.5 s'
    assert math.isnan(slow.mean(0.5, 1.2)), 'before the first'
    assert math.isnan(slow.mean(2.95, 3.2)), 'after the last'
