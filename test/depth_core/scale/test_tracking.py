# SPDX-License-Identifier: Apache-2.0
"""One scale from many: the median in ratios, while it is fresh, with a state and a reason."""

from __future__ import annotations

import math

import pytest

from depth_core.scale import ScaleEstimate, ScaleState, ScaleTracker, TrackState
from depth_core.scale.estimate import refused


def estimate(scale: float, *, residual: float = 0.05, points: int = 50) -> ScaleEstimate:
    return ScaleEstimate(state=ScaleState.VALID, scale=scale, residual=residual, points=points)


NONE = refused(ScaleState.NO_PLANE, points=7)


def test_the_median_is_one_of_ratios_and_passes_over_a_wrong_one() -> None:
    tracker = ScaleTracker(window=5, max_age_s=10.0)
    assert tracker.latest.state is TrackState.WAITING
    tracker.update(estimate(1.0), 0.0)
    both = tracker.update(estimate(4.0, residual=0.2, points=9), 1.0)
    assert both.scale == pytest.approx(2.0), 'half of the way from 1 to 4, in ratios'
    assert (both.state, both.residual, both.points) == (TrackState.VALID, 0.2, 9)
    assert (both.estimates, both.age_s, both.reason) == (2, 0.0, '')
    assert tracker.update(estimate(1000.0), 2.0).scale == pytest.approx(4.0)
    assert tracker.latest.estimates == 3


def test_only_the_latest_of_the_window_count() -> None:
    tracker = ScaleTracker(window=3, max_age_s=100.0)
    for second, scale in enumerate((1.0, 1.0, 1.0, 8.0, 8.0)):
        found = tracker.update(estimate(scale), float(second))
    assert found.scale == pytest.approx(8.0), 'after half of a window'


def test_the_first_scale_needs_several_and_the_next_ones_do_not() -> None:
    tracker = ScaleTracker(window=9, max_age_s=1.0, needed=3)
    for second in (0.0, 0.1):
        found = tracker.update(estimate(2.0), second)
        assert (found.state, found.usable) == (TrackState.WAITING, False)
        assert math.isnan(found.scale)
    assert tracker.update(estimate(2.0), 0.2).usable
    lost = tracker.update(None, 5.0)
    assert (lost.state, lost.estimates) == (TrackState.LOST, 0)
    again = tracker.update(estimate(3.0), 6.0)
    assert again.state is TrackState.VALID
    assert again.scale == pytest.approx(3.0)


def test_needed_is_never_more_than_the_window() -> None:
    assert ScaleTracker(window=1, max_age_s=1.0, needed=5).update(estimate(2.0), 0.0).usable


def test_a_scale_is_held_for_a_while_and_says_why() -> None:
    tracker = ScaleTracker(window=5, max_age_s=2.0)
    tracker.update(estimate(2.0), 10.0)
    held = tracker.update(NONE, 11.5)
    assert (held.state, held.scale, held.age_s) == (TrackState.HELD, 2.0, 1.5)
    assert (held.reason, held.usable) == ('no_plane', True)
    assert tracker.update(None, 12.0).reason == 'nothing to go by', 'still of an age that counts'
    assert tracker.update(NONE, 12.1).state is TrackState.LOST
    assert math.isnan(tracker.latest.age_s)


def test_what_came_later_does_not_count_when_a_recording_starts_again() -> None:
    tracker = ScaleTracker(window=5, max_age_s=100.0)
    tracker.update(estimate(2.0), 50.0)
    tracker.update(estimate(2.0), 60.0)
    again = tracker.update(estimate(5.0), 1.0)
    assert again.scale == pytest.approx(5.0)
    assert again.estimates == 1


def test_reset_forgets_everything() -> None:
    tracker = ScaleTracker(window=5, max_age_s=100.0, needed=2)
    tracker.update(estimate(2.0), 0.0)
    tracker.update(estimate(2.0), 1.0)
    tracker.reset()
    assert tracker.latest.state is TrackState.WAITING
    assert tracker.update(estimate(2.0), 2.0).state is TrackState.WAITING
