# SPDX-License-Identifier: Apache-2.0
"""Sums over many pixels in float64, whatever they are computed in.

OpenCV adds some times faster than NumPy, which casts what it adds to float64 first.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def total(values: NDArray[np.floating]) -> float:
    """Sum of values of any shape."""
    return float(cv2.sumElems(_row(values))[0]) if values.size else 0.0


def total_magnitude(values: NDArray[np.floating]) -> float:
    """Sum of their magnitudes."""
    return float(cv2.norm(_row(values), cv2.NORM_L1)) if values.size else 0.0


def total_square(values: NDArray[np.floating]) -> float:
    """Sum of their squares."""
    return float(cv2.norm(_row(values), cv2.NORM_L2SQR)) if values.size else 0.0


def sums_of_first(terms: NDArray[np.floating], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum of the first so many of [N] terms, for each count, of any shape."""
    ends = np.unique(np.append(counts, 0))
    parts = np.add.reduceat(terms[: ends[-1]], ends[:-1], dtype=np.float64)
    sums: NDArray[np.float64] = np.append(0.0, np.cumsum(parts))[np.searchsorted(ends, counts)]
    return sums


def _row(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """[1, N]: a column would be added row by row."""
    return values.reshape(1, -1)
