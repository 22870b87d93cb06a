# SPDX-License-Identifier: Apache-2.0
"""Numbers out of measured times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The time of a row over that of the reference, both measured in the same rounds."""

    reference: str
    """Label of the row that it is compared with."""
    value: float
    """Median over the rounds; below 1 is faster than the reference."""
    low: float
    """Of the round that was best."""
    high: float
    null_low: float
    """The least of the same ratio between two turns of the reference itself in one round: what
    chance alone does."""
    null_high: float


def percentiles(times_s: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 90th and 99th percentile in milliseconds, interpolated between neighbours."""
    p50, p90, p99 = np.percentile(times_s, (50, 90, 99))
    return float(p50) * 1e3, float(p90) * 1e3, float(p99) * 1e3


def median_ms(times_s: Sequence[float]) -> float:
    """The median in milliseconds."""
    return float(np.median(times_s)) * 1e3


def paired_ratio(
    reference: str,
    rounds: Sequence[float],
    reference_rounds: Sequence[float],
    again_rounds: Sequence[float],
) -> Ratio:
    """Compare a row with the reference round by round, so that slow changes hit both alike.

    Args:
        reference: Label of the reference.
        rounds: Median time of the row in each round, in any unit.
        reference_rounds: That of the reference in the same rounds.
        again_rounds: That of a second turn of the reference in the same rounds.
    """
    ratios = np.divide(rounds, reference_rounds)
    chance = np.divide(again_rounds, reference_rounds)
    # Which of the two turns is above the line is as good as the other.
    null = np.concatenate([chance, 1.0 / chance])
    return Ratio(
        reference=reference,
        value=float(np.median(ratios)),
        low=float(ratios.min()),
        high=float(ratios.max()),
        null_low=float(null.min()),
        null_high=float(null.max()),
    )


def spread(rounds: Sequence[float]) -> float:
    """How far the medians of the rounds lie apart, as a fraction of their own median."""
    return float((max(rounds) - min(rounds)) / np.median(rounds))


def turns(frames: int, rounds: int) -> list[int]:
    """Divide `frames` calls among at most `rounds` rounds, none of them empty."""
    rounds = min(frames, rounds)
    least, more = divmod(frames, rounds)
    return [least + (index < more) for index in range(rounds)]
