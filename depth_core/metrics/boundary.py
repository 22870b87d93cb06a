# SPDX-License-Identifier: Apache-2.0
"""Are the depth edges where they are in truth? Precision and recall, for dense ground truth.

An edge of disparity is a pixel whose right or lower neighbour is nearer or farther by a factor
that is passed. One found counts as right when a true one lies within a pixel of it, and a true one
as found likewise. (Depth Pro, arXiv:2410.02073, scores boundaries by the same ratio of
neighbouring depths.)
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

EDGE_RATIO: Final = 1.25
"""Neighbouring depths that differ by more are a boundary."""
DENSE: Final = 0.5
"""Share of pixels with truth from which there are neighbours to compare."""


@dataclass(frozen=True, kw_only=True)
class BoundaryMetrics:
    """How well boundaries are found."""

    precision: float
    """Share of the predicted boundary that is one; NaN when none was predicted."""
    recall: float
    """Share of the true boundary that was predicted; NaN when there is none."""
    f1: float
    """Harmonic mean of both; NaN when either is."""


@dataclass(frozen=True, kw_only=True)
class BoundarySums:
    """Pixels of boundaries; sums of images add up."""

    predicted: float
    predicted_right: float
    true: float
    true_found: float

    def __add__(self, other: BoundarySums) -> BoundarySums:
        a, b, c, d = np.add(astuple(self), astuple(other)).tolist()
        return BoundarySums(predicted=a, predicted_right=b, true=c, true_found=d)

    def metrics(self) -> BoundaryMetrics:
        """Divide; what has nothing to divide by is NaN."""
        nan = float('nan')
        precision = self.predicted_right / self.predicted if self.predicted else nan
        recall = self.true_found / self.true if self.true else nan
        both = precision + recall
        return BoundaryMetrics(
            precision=precision,
            recall=recall,
            f1=2.0 * precision * recall / both if both > 0.0 else both,
        )


def is_dense(known: NDArray[np.bool_]) -> bool:
    """Whether enough pixels have truth for edges to be seen in it."""
    return float(known.mean()) >= DENSE


def boundary_sums(
    prediction_m: NDArray[np.floating], target_m: NDArray[np.floating]
) -> BoundarySums:
    """Count boundaries where neighbours have truth.

    Args:
        prediction_m: [H, W] depth, NaN = no estimate.
        target_m: [H, W] true depth, NaN = unknown.
    """
    known = _paired(np.isfinite(target_m))
    seen = _boundary(prediction_m) & known
    true = _boundary(target_m) & known
    around = np.ones((3, 3), np.uint8)
    near_true = cv2.dilate(true.astype(np.uint8), around) > 0
    near_seen = cv2.dilate(seen.astype(np.uint8), around) > 0
    return BoundarySums(
        predicted=float(seen.sum()),
        predicted_right=float((seen & near_true).sum()),
        true=float(true.sum()),
        true_found=float((true & near_seen).sum()),
    )


def _boundary(depth_m: NDArray[np.floating]) -> NDArray[np.bool_]:
    with np.errstate(divide='ignore', invalid='ignore'):
        logs = np.log(depth_m)
        down = np.abs(np.diff(logs, axis=0)) > np.log(EDGE_RATIO)
        across = np.abs(np.diff(logs, axis=1)) > np.log(EDGE_RATIO)
    found = np.zeros(depth_m.shape, np.bool_)
    found[:-1] |= down
    found[:, :-1] |= across
    return found


def _paired(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that are known together with their right and lower neighbours."""
    both = known.copy()
    both[:-1] &= known[1:]
    both[:, :-1] &= known[:, 1:]
    return both
