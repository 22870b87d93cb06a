# SPDX-License-Identifier: Apache-2.0
"""Depth errors by where in the image they are, nine parts of equal size, and by true depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.metrics.depth import DISTANCE_EDGES_M, DistanceSums, distance_bins

ROWS: Final = ('top', 'middle', 'bottom')
COLUMNS: Final = ('left', 'centre', 'right')
REGIONS: Final = tuple(f'{row} {column}' for row in ROWS for column in COLUMNS)
"""Row by row."""


@dataclass(frozen=True, kw_only=True)
class RegionMetrics:
    """The errors in one part of the images."""

    name: str
    pixels: int
    abs_rel: float
    """mean |p - t| / t."""
    bias: float
    """mean (p - t) / t: above 0 when predictions are too far."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionSums:
    """Sums for each part; sums of images add up."""

    count: NDArray[np.float64]
    """[9] pixels."""
    abs_rel: NDArray[np.float64]
    """[9] sum of |p - t| / t."""
    bias: NDArray[np.float64]
    """[9] sum of (p - t) / t."""

    def __add__(self, other: RegionSums) -> RegionSums:
        return RegionSums(
            count=self.count + other.count,
            abs_rel=self.abs_rel + other.abs_rel,
            bias=self.bias + other.bias,
        )

    def regions(self) -> tuple[RegionMetrics, ...]:
        """The parts that hold pixels."""
        return tuple(
            RegionMetrics(
                name=name,
                pixels=int(count),
                abs_rel=float(abs_rel / count),
                bias=float(bias / count),
            )
            for name, count, abs_rel, bias in zip(
                REGIONS, self.count, self.abs_rel, self.bias, strict=True
            )
            if count
        )


def sums_by_place(
    relative: NDArray[np.floating],
    target_m: NDArray[np.floating],
    places: NDArray[np.intp],
    shape: tuple[int, int],
) -> tuple[DistanceSums, RegionSums]:
    """Sum errors by true depth, and by the part of the image.

    Args:
        relative: [N] (p - t) / t.
        target_m: [N] true depths.
        places: [N] which pixels of the image these are, counted row by row.
        shape: Height and width of the image.
    """
    parts, bins = len(REGIONS), len(DISTANCE_EDGES_M)
    place = _region_of(*shape).take(places) * np.uint8(bins) + distance_bins(target_m)
    index = (2 * place + (relative < 0.0)).astype(np.intp)  # 234 of them: they fit uint8
    counted, summed = (
        np.bincount(index, weights, 2 * parts * bins).astype(np.float64).reshape(parts, bins, 2)
        for weights in (None, np.abs(relative))
    )
    count, abs_rel = counted.sum(axis=2), summed.sum(axis=2)
    bias = summed[..., 0] - summed[..., 1]  # those that are too far less those that are too near
    return (
        DistanceSums(count=count.sum(axis=0), abs_rel=abs_rel.sum(axis=0), bias=bias.sum(axis=0)),
        RegionSums(count=count.sum(axis=1), abs_rel=abs_rel.sum(axis=1), bias=bias.sum(axis=1)),
    )


@lru_cache(maxsize=4)
def _region_of(height: int, width: int) -> NDArray[np.uint8]:
    """[H * W] the part of the image in which each pixel lies."""
    rows = np.arange(height)[:, None] * len(ROWS) // height * len(COLUMNS)
    columns = np.arange(width) * len(COLUMNS) // width
    return (rows + columns).astype(np.uint8).reshape(-1)
