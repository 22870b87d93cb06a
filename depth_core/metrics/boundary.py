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
    return bool(np.count_nonzero(known) >= DENSE * known.size)


def steps(
    depth_m: NDArray[np.floating], ratio: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the neighbour is nearer or farther by more than a factor.

    Args:
        depth_m: [H, W] depth; no step leads to what is NaN or not positive.
        ratio: The factor, above 1.

    Returns:
        [H, W - 1] of pixels and those right of them, [H - 1, W] and those below.
    """
    across = differ(depth_m[:, :-1], depth_m[:, 1:], ratio)
    return across, differ(depth_m[:-1], depth_m[1:], ratio)


def boundary_sums(
    prediction_m: NDArray[np.floating],
    target_m: NDArray[np.floating],
    known: NDArray[np.bool_],
) -> BoundarySums:
    """Count boundaries where neighbours have truth.

    Args:
        prediction_m: [H, W] depth, NaN = no estimate.
        target_m: [H, W] true depth.
        known: [H, W] where there is one.
    """
    paired = _paired(known)
    seen = _boundary(prediction_m) & paired
    true = _boundary(target_m) & paired
    around = np.ones((3, 3), np.uint8)
    near_true = cv2.dilate(true.view(np.uint8), around).view(np.bool_)
    near_seen = cv2.dilate(seen.view(np.uint8), around).view(np.bool_)
    return BoundarySums(
        predicted=float(np.count_nonzero(seen)),
        predicted_right=float(np.count_nonzero(seen & near_true)),
        true=float(np.count_nonzero(true)),
        true_found=float(np.count_nonzero(true & near_seen)),
    )


def differ(
    first_m: NDArray[np.floating], second_m: NDArray[np.floating], ratio: float
) -> NDArray[np.bool_]:
    """Which pairs of depths differ by more than a factor; none of which one is not positive."""
    nearer = np.minimum(first_m, second_m)
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        farther = np.maximum(first_m, second_m) / nearer > ratio
        found: NDArray[np.bool_] = farther & (nearer > 0.0)
    return found


def _boundary(depth_m: NDArray[np.floating]) -> NDArray[np.bool_]:
    across, down = steps(depth_m, EDGE_RATIO)
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
