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

from depth_core.metrics.boundary import DENSE, differ, steps
from depth_core.metrics.depth import DepthMetrics, ErrorSums, PixelErrors

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


def at_edges(target_m: NDArray[np.floating], places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """[N] which pixels lie at a depth edge, on either side of it.

    An edge needs the depth of both sides, of which one may be sky (+inf); NaN has none.

    Args:
        target_m: [H, W] true depth.
        places: [N] which pixels are asked for, counted row by row; they have depth.
    """
    if places.size >= DENSE * target_m.size:
        return _edges(target_m).ravel().take(places)
    width = target_m.shape[1]
    depths_m = target_m.ravel()
    own_m = depths_m.take(places)
    column = places % width
    found = np.zeros(places.size, np.bool_)
    for step, inside in (
        (-1, column > 0),
        (1, column < width - 1),
        (-width, places >= width),
        (width, places < depths_m.size - width),
    ):
        found |= differ(own_m, depths_m.take(places + step, mode='clip'), EDGE_FACTOR) & inside
    return found


def _edges(depth_m: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[H, W] the pixels at both sides of each step."""
    across, down = steps(depth_m, EDGE_FACTOR)
    found = np.zeros(depth_m.shape, np.bool_)
    found[:, :-1] |= across
    found[:, 1:] |= across
    found[:-1] |= down
    found[1:] |= down
    return found


def group_sums(
    errors: PixelErrors,
    *,
    label: NDArray[np.integer] | None,
    edge: NDArray[np.bool_],
    given: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, ErrorSums]:
    """Sum the errors of each group.

    Args:
        errors: Of N pixels.
        label: [N] train ids; None takes the groups as given.
        edge: [N] whether the pixel lies at a depth edge.
        given: [N] the pixels of each group, found without labels.
    """
    masks = {EDGE: edge, **(given or {})}
    if label is not None:
        masks |= {name: np.isin(label, ids) for name, ids in GROUP_CLASSES.items()}
    places = {name: np.flatnonzero(own) for name, own in masks.items()}
    return {name: errors.sums(own) for name, own in places.items() if own.size}


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
