# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from depth_core.bench.statistics import median_ms, paired_ratio, percentiles, spread, turns


def test_percentiles_are_interpolated_between_neighbours() -> None:
    # Of ten numbers the 50th percentile lies half way between the 5th and the 6th, the 90th one
    # tenth of the way from the 9th to the 10th, and the 99th ninety-one hundredths.
    times_s = [time_ms / 1e3 for time_ms in (7, 3, 10, 1, 9, 4, 2, 8, 6, 5)]
    assert percentiles(times_s) == pytest.approx((5.5, 9.1, 9.91))
    assert percentiles([0.25]) == pytest.approx((250.0, 250.0, 250.0))


def test_the_median_of_an_even_number_is_the_mean_of_the_middle() -> None:
    assert median_ms([0.004, 0.001, 0.002, 0.1]) == pytest.approx(3.0)


def test_a_row_is_compared_round_by_round() -> None:
    # The machine was twice as slow in the last two rounds, and the row is twice as slow always.
    ratio = paired_ratio('raw', [2.0, 4.0, 6.0], [1.0, 2.0, 2.0], [1.1, 1.6, 2.0])
    assert ratio.reference == 'raw'
    assert ratio.value == pytest.approx(2.0)
    assert (ratio.low, ratio.high) == pytest.approx((2.0, 3.0))
    # The reference against itself: 1.1, 0.8 and 1, and the other way round 1 / 1.1, 1.25 and 1.
    assert (ratio.null_low, ratio.null_high) == pytest.approx((0.8, 1.25))


def test_the_spread_is_relative_to_the_median() -> None:
    assert spread([9.0, 11.0, 10.0]) == pytest.approx(0.2)
    assert spread([3.0]) == 0.0


@pytest.mark.parametrize(
    ('frames', 'rounds', 'expected'),
    [(7, 3, [3, 2, 2]), (6, 3, [2, 2, 2]), (2, 5, [1, 1]), (1, 1, [1])],
)
def test_every_round_has_calls_and_all_are_made(
    frames: int, rounds: int, expected: list[int]
) -> None:
    assert turns(frames, rounds) == expected
