# SPDX-License-Identifier: Apache-2.0
"""The calibration of sigma under which what was seen on held-out images is most likely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import CONFIDENCE_FACTOR, SigmaCalibration, probability_within_factor
from depth_core.metrics.uncertainty import CalibrationMetrics, calibration_sums

_ROUNDS: Final = 6
_SIDE: Final = 9
_EDGE: Final = 1e-4
"""Probabilities are kept this far from 0 and 1, so that one pixel cannot decide."""


@dataclass(frozen=True)
class Seen:
    """Pixels of held-out images."""

    relative: NDArray[np.float32]
    """[N] sigma / depth as the network states it."""
    ratio: NDArray[np.float32]
    """[N] true depth / predicted depth."""

    def metrics(self, calibration: SigmaCalibration) -> CalibrationMetrics:
        """How well the confidence comes true under a calibration."""
        one = np.ones_like(self.relative)
        sigma = np.float32(calibration.factor) * self.relative ** np.float32(calibration.power)
        return calibration_sums(one, self.ratio, sigma).metrics()


def fit(seen: Seen) -> SigmaCalibration:
    """Find the calibration under which what was seen is most likely.

    The search narrows a grid of both numbers on a logarithmic scale, factor within 1/20 to 20 and
    power within 1/4 to 4.
    """
    within = np.maximum(seen.ratio, 1.0 / seen.ratio) < CONFIDENCE_FACTOR
    log_relative = np.log(seen.relative)
    centre, reach = np.zeros(2), np.array([math.log(20.0), math.log(4.0)])
    for _ in range(_ROUNDS):
        steps = [np.linspace(c - r, c + r, _SIDE) for c, r in zip(centre, reach, strict=True)]
        grid = [(a, b) for a in steps[0] for b in steps[1]]
        costs = [_cost(log_relative, within, a, math.exp(b)) for a, b in grid]
        centre = np.array(grid[int(np.argmin(costs))])
        reach = reach * 2.0 / (_SIDE - 1)
    return SigmaCalibration(factor=float(np.exp(centre[0])), power=float(np.exp(centre[1])))


def _cost(
    log_relative: NDArray[np.floating], within: NDArray[np.bool_], log_factor: float, power: float
) -> float:
    """Mean negative log-likelihood of what was seen."""
    sigma = np.exp(log_factor + power * log_relative).astype(np.float32)
    stated = probability_within_factor(np.ones_like(sigma), sigma).astype(np.float64)
    stated = np.clip(stated, _EDGE, 1.0 - _EDGE)
    return float(-np.where(within, np.log(stated), np.log1p(-stated)).mean())
