# SPDX-License-Identifier: Apache-2.0
"""Rate limits: by stamps, for all outputs of a limit together, and never stuck."""

from __future__ import annotations

from depth_ros.frames.outputs import CAMERA_INFO, DEPTH, OUTPUTS, POINTS, Output
from depth_ros.frames.rates import RateLimiter
from depth_ros.options.output import RateOptions

MS = 1_000_000
ROWS = {output.topic: output for output in OUTPUTS}


def wanted(*topics: str) -> tuple[Output, ...]:
    return tuple(ROWS[topic] for topic in topics)


def published(limiter: RateLimiter, stamps_ms: list[int], options: RateOptions) -> list[int]:
    """The stamps of which depth is due."""
    depth = wanted(DEPTH)
    return [stamp for stamp in stamps_ms if limiter.due(depth, stamp * MS, options)]


def test_without_a_limit_every_image_is_due() -> None:
    assert published(RateLimiter(), [0, 1, 2, 2], RateOptions()) == [0, 1, 2, 2]


def test_the_mean_rate_is_that_of_the_limit() -> None:
    stamps_ms = list(range(0, 3000, 30))
    found = published(RateLimiter(), stamps_ms, RateOptions(depth_hz=10.0))
    assert found[:4] == [0, 90, 210, 300], '90 is early by a tenth of the period and no more'
    assert len(found) == 30, '10 a second'


def test_slower_images_are_all_due() -> None:
    stamps_ms = [0, 500, 1000, 1100, 1700]
    assert published(RateLimiter(), stamps_ms, RateOptions(depth_hz=10.0)) == stamps_ms


def test_stamps_that_jump_start_anew() -> None:
    options = RateOptions(depth_hz=10.0)
    limiter = RateLimiter()
    assert published(limiter, [10_000, 10_050], options) == [10_000]
    assert published(limiter, [0, 50, 100], options) == [0, 100], 'a recording starts again'
    assert published(limiter, [90_000, 90_050, 90_100], options) == [90_000, 90_100]


def test_outputs_of_a_limit_are_due_together_and_others_on_their_own() -> None:
    options = RateOptions(depth_hz=10.0, points_hz=5.0)
    limiter = RateLimiter()
    names = wanted(CAMERA_INFO, DEPTH, POINTS)
    due = [
        [output.topic for output in limiter.due(names, stamp_ms * MS, options)]
        for stamp_ms in (0, 50, 100, 200)
    ]
    pair = [CAMERA_INFO, DEPTH]
    assert due == [[*pair, POINTS], [], pair, [*pair, POINTS]]


def test_a_limit_may_change_between_two_images() -> None:
    limiter = RateLimiter()
    assert published(limiter, [0], RateOptions(depth_hz=1.0)) == [0]
    assert published(limiter, [100, 200], RateOptions()) == [100, 200]
