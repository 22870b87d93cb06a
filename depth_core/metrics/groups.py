# SPDX-License-Identifier: Apache-2.0
"""Depth errors on the ground, on obstacles, on thin things and at depth edges.

A robot drives on the first and into the others; the mean over all pixels is mostly ground and
walls and says little of them. Groups overlap: a pole is thin, and its outline is an edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.metrics.depth import DepthMetrics, ErrorSums

GROUP_CLASSES: Final[Mapping[str, tuple[int, ...]]] = {
    'ground': (0, 1, 9, 19),
    'obstacle': (11, 12, 13, 14, 15, 16, 17, 18, 21, 22),
    'thin': (4, 5, 6, 7, 17, 18),
}
"""Train ids of each group: road, sidewalk, terrain, floor; people, vehicles, furniture, small
things; fences, poles, lights, signs, cycles."""

EDGE: Final = 'edge'
EDGE_FACTOR: Final = 1.1
"""Neighbouring true depths that differ by more are an edge between them."""


@dataclass(frozen=True, kw_only=True)
class GroupMetrics:
    """The errors on one group of pixels."""

    name: str
    images: int
    """Images in which it was scored."""
    pixels: int
    """Scored pixels of it in all images."""
    metrics: DepthMetrics
    """Over these pixels together."""


def edge_mask(target_m: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[H, W] the pixels on both sides of each depth edge.

    An edge needs the depth of both sides, of which one may be sky (+inf); NaN has none.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        logs = np.log(np.where(target_m > 0.0, target_m, np.nan))
        down = np.abs(np.diff(logs, axis=0)) > np.log(EDGE_FACTOR)
        across = np.abs(np.diff(logs, axis=1)) > np.log(EDGE_FACTOR)
    mask = np.zeros(target_m.shape, np.bool_)
    mask[:-1] |= down
    mask[1:] |= down
    mask[:, :-1] |= across
    mask[:, 1:] |= across
    return mask


def group_sums(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    *,
    label: NDArray[np.integer] | None,
    edge: NDArray[np.bool_],
    given: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, ErrorSums]:
    """Sum the errors of each group over vectors of positive, finite depths.

    Args:
        prediction: [N] predicted depths.
        target: [N] true depths.
        label: [N] train ids; None takes the groups as given.
        edge: [N] whether the pixel lies at a depth edge.
        given: [N] the pixels of each group, found without labels.
    """
    masks = {EDGE: edge, **(given or {})}
    if label is not None:
        masks |= {name: np.isin(label, ids) for name, ids in GROUP_CLASSES.items()}
    return {
        name: ErrorSums.of(prediction[own], target[own])
        for name, own in masks.items()
        if own.any()
    }


def group_metrics(
    totals: Mapping[str, tuple[int, ErrorSums]],
) -> tuple[GroupMetrics, ...]:
    """Say what the sums of each group come to.

    Args:
        totals: How many images have the group, and its sums over them; none of those never scored.
    """
    return tuple(
        GroupMetrics(
            name=name,
            images=totals[name][0],
            pixels=int(totals[name][1].count),
            metrics=totals[name][1].metrics(),
        )
        for name in (*GROUP_CLASSES, EDGE)
        if name in totals
    )
