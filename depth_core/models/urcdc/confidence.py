# SPDX-License-Identifier: Apache-2.0
"""What the confidence that URCDC-Depth predicts means in metres."""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor

from depth_core.precision import at_least_float32

STEEPNESS: Final = 5.0
"""Factor in the exponent of the confidence."""

LEAST_RATIO: Final = 0.001
"""Smallest |g - d| / (g + d) a confidence may state: 0.2 % of the depth."""
LARGEST_RATIO: Final = 0.5
"""Largest |g - d| / (g + d) a confidence may state: g = 3 d or g = d / 3."""


def sigma_from_confidence(confidence: Tensor, depth: Tensor) -> Tensor:
    """Standard deviation of a depth from the confidence a network states for it.

    The head is trained by mean |c - u| towards c = exp(-5 rho), rho = |g - d| / (g + d), with g
    the true depth. Such a loss makes u the median of c, and a median passes through a monotone
    function, so that

        r = -ln(u) / 5

    is the median of rho. Solved for g, rho = r is met by an error of 2 r d / (1 - r) where g lies
    beyond d and by one of 2 r d / (1 + r) where it lies before; the mean of the two is

        m = 2 r d / (1 - r^2),

    the absolute error which half of the pixels exceed. If errors are Laplace distributed, |g - d|
    is exponential with mean b and median b ln 2, hence

        expected absolute error  b = m / ln 2        standard deviation  sigma = sqrt(2) b.

    The exact b is smaller by the factor ln 2 / M with M = ln 2 + ln cosh(M r), since both errors
    do not have the same probability: by 0.3 % at r = 0.1 and 3 % at r = 0.3.

    At the ends the definition says nothing of use: u = 1 would be an error of exactly 0, and at
    u = exp(-5) r is 1 and the error infinite. So r is kept in [0.001, 0.5], which is a sigma of
    0.4 % to 272 % of the depth and a positive u whatever the head answers.

    Args:
        confidence: u, any shape, 1 = certain; values outside [0, 1] count as the nearest end.
        depth: d in metres, the same shape; detached, so that training sigma cannot move it.

    Returns:
        Sigma in the unit of `depth`, positive.
    """
    highest, lowest = math.exp(-STEEPNESS * LEAST_RATIO), math.exp(-STEEPNESS * LARGEST_RATIO)
    ratio = at_least_float32(confidence).clamp(lowest, highest).log() / -STEEPNESS
    median_error = 2.0 * ratio * at_least_float32(depth.detach()) / (1.0 - ratio.square())
    return median_error * (math.sqrt(2.0) / math.log(2.0))
