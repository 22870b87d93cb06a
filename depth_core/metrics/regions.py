# SPDX-License-Identifier: Apache-2.0
"""Depth errors by where in the image they are: nine parts of equal size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

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

    @classmethod
    def of(
        cls,
        prediction: NDArray[np.floating],
        target: NDArray[np.floating],
        where: NDArray[np.bool_],
    ) -> RegionSums:
        """Sum over vectors of positive, finite depths.

        Args:
            prediction: [N] depths.
            target: [N] true depths.
            where: [H, W] which N pixels they are of.
        """
        height, width = where.shape
        rows, columns = np.nonzero(where)
        index = rows * len(ROWS) // height * len(COLUMNS) + columns * len(COLUMNS) // width
        relative = (np.asarray(prediction, np.float64) - target) / target
        return cls(
            count=np.bincount(index, minlength=len(REGIONS)).astype(np.float64),
            abs_rel=np.bincount(index, np.abs(relative), len(REGIONS)).astype(np.float64),
            bias=np.bincount(index, relative, len(REGIONS)).astype(np.float64),
        )

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
