# SPDX-License-Identifier: Apache-2.0
"""Sums over many pixels in float64, whatever they are computed in.

By NumPy: the sums of OpenCV, some times faster, depend in their last bit on where in memory the
values lie, and with it on what the process did before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def total(values: NDArray[np.floating]) -> float:
    """Sum of values of any shape."""
    return float(values.sum(dtype=np.float64))


def sums_of_first(terms: NDArray[np.floating], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum of the first so many of [N] terms, for each count, of any shape."""
    ends = np.unique(np.append(counts, 0))
    parts = np.add.reduceat(terms[: ends[-1]], ends[:-1], dtype=np.float64)
    sums: NDArray[np.float64] = np.append(0.0, np.cumsum(parts))[np.searchsorted(ends, counts)]
    return sums
