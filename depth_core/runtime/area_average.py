# SPDX-License-Identifier: Apache-2.0
"""Shrinking an image by averaging over the area of each pixel, in half the time or less.

OpenCV's `INTER_AREA` is quick for whole ratios and takes one pixel at a time for all others: more
than a millisecond for 640x480. But where 480 rows become 192, each five give two, with weights
(2, 2, 1) and (1, 2, 2). Here the same row of all such groups is added at once, in whole numbers,
first along the rows and then, transposed, along the columns. Nothing is rounded before the end
where 16 bits hold the sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Uint8Array

_LARGEST_WEIGHT: Final = 256
"""16 bits hold sums of codes with weights that add up to this, and half of it to round."""
_MOST_AVERAGES: Final = 40
"""Averages a group gives, of both axes together; with more of them OpenCV is as fast."""
_LARGE_PAGE: Final = 2**21
"""Bytes."""

ScalarT = TypeVar('ScalarT', np.uint8, np.uint16)


class AreaAverage:
    """Shrinks images of one size to another, in memory that is used over again."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Prepare for (height, width) `source` and `target`, which it must suit."""
        (height, width), (rows, columns) = source, target
        self._rows, self._columns = by_row, by_column = (
            _Groups(height, rows),
            _Groups(width, columns),
        )
        # Each channel of a pixel is a column of its own: numbers alone are transposed faster than
        # pixels, by far, and a pixel becomes three rows one after the other. A step writes to the
        # memory that the step before it has read: it is in the caches.
        size = 2 * rows * width * 3
        memory = _near_memory(3 * size)
        even, odd, product = memory[:size], memory[size : 2 * size], memory[2 * size :]
        self._fewer_rows = _laid(even, (rows, width * 3), np.uint16)
        self._turned = _laid(odd, (width * 3, rows), np.uint16)
        self._sums = _laid(even, (columns, rows * 3), np.uint16)
        self._averages = _laid(odd, (columns, rows * 3), np.uint8)
        self._ordered = _laid(even, (columns * 3, rows), np.uint8)
        self._result = _laid(odd, (rows, columns * 3), np.uint8)
        self._add_rows = _Sums(by_row, self._fewer_rows, product)
        self._add_columns = _Sums(by_column, self._sums, product)

    @staticmethod
    def suits(source: tuple[int, int], target: tuple[int, int]) -> bool:
        """Whether it shrinks (height, width) `source` to `target`, and faster than OpenCV."""
        axes = [_Groups(*sizes) for sizes in zip(source, target, strict=True)]
        if all(groups.gives == 1 for groups in axes):
            return False  # OpenCV has a fast way for whole ratios
        return (
            all(groups.gives <= groups.takes <= _LARGEST_WEIGHT for groups in axes)
            and sum(groups.gives for groups in axes) <= _MOST_AVERAGES
        )

    def __call__(self, image: Uint8Array, target: Uint8Array) -> None:
        """Write the average of [H, W, 3] `image` to [h, w, 3] `target`, both C-contiguous.

        Each code is that of `INTER_AREA` or next to it.
        """
        rows, columns = self._rows, self._columns
        weight = rows.takes * columns.takes
        self._add_rows(image)
        if weight > _LARGEST_WEIGHT:
            self._fewer_rows += np.uint16(rows.takes // 2)
            self._fewer_rows //= np.uint16(rows.takes)
            weight = columns.takes
        cv2.transpose(self._fewer_rows, dst=self._turned)
        self._add_columns(self._turned)
        cv2.convertScaleAbs(self._sums, dst=self._averages, alpha=1.0 / weight)
        columns.put_in_order(self._averages, self._ordered)
        cv2.transpose(self._ordered, dst=self._result)
        rows.put_in_order(self._result, target)


class _Groups:
    """How the rows of one axis are grouped: each `takes` of them give `gives` averages.

    A row is `gives` wide and an average `takes`, which is what its weights add up to. Rows in
    groups are [groups, rows, ...]; rows by place are [rows, groups, ...]: the first ones of all
    groups, then the second ones, and so on.
    """

    def __init__(self, source: int, target: int) -> None:
        self._count = math.gcd(source, target)
        self.takes, self.gives = source // self._count, target // self._count

    def in_groups(self, rows: NDArray[Any], size: int) -> NDArray[Any]:
        """View rows that are in order; `size` rows are a group."""
        return rows.reshape(self._count, size, -1)

    def by_place(self, rows: NDArray[Any], size: int) -> NDArray[Any]:
        """View rows that are by place; `size` rows are a group."""
        return rows.reshape(size, self._count, -1)

    def put_in_order(self, averages: NDArray[Any], rows: NDArray[Any]) -> None:
        """Copy averages by place to rows in order."""
        by_place = self.by_place(averages, self.gives)
        np.copyto(self.in_groups(rows, self.gives).swapaxes(0, 1), by_place)

    def pairs(self) -> list[_Pair]:
        """What the averages of a group are sums of."""
        return [self._pair(place) for place in range(-(-self.gives // 2))]

    def _pair(self, place: int) -> _Pair:
        """The average at `place`, and the one as far from the other end of the group."""
        begin, end = place * self.takes, (place + 1) * self.takes
        covered = range(begin // self.gives, -(-end // self.gives))
        weights = {
            row: min(end, (row + 1) * self.gives) - max(begin, row * self.gives) for row in covered
        }
        alone = 2 * place == self.gives - 1
        return _Pair(
            averages=slice(place, place + 1) if alone else _mirrored(place, self.gives),
            whole=tuple(
                slice(row, row + 1) if alone else _mirrored(row, self.takes)
                for row in covered
                if weights[row] == self.gives
            ),
            parts=tuple(
                (
                    slice(row, row + 1) if alone else _mirrored(row, self.takes),
                    np.uint16(weights[row]),
                )
                for row in covered
                if weights[row] < self.gives
            ),
        )


@dataclass(frozen=True)
class _Pair:
    """An average and its mirror image, which are added at once: one call for both."""

    averages: slice
    whole: tuple[slice, ...]
    """Which rows of a group they cover."""
    parts: tuple[tuple[slice, np.uint16], ...]
    """Those that they share with a neighbour, and the weight."""


def _mirrored(place: int, size: int) -> slice:
    """One of `size` places and the one as far from the other end; the one in the middle alone."""
    other = size - 1 - place
    if place == other:
        return slice(place, place + 1)
    stop = other + (1 if other > place else -1)
    return slice(place, None if stop < 0 else stop, other - place)


class _Sums:
    """Writes weighted sums of the rows of groups to the same memory each time."""

    def __init__(
        self, groups: _Groups, sums: NDArray[np.uint16], memory: NDArray[np.uint8]
    ) -> None:
        """Prepare to write [gives * count, columns] `sums`, by place; `memory` is scratch."""
        self._groups = groups
        self._whole_weight = np.uint16(groups.gives)
        by_place = groups.by_place(sums, groups.gives)
        product = _laid(memory, by_place[:2].shape, np.uint16)
        self._steps = [(pair, by_place[pair.averages]) for pair in groups.pairs()]
        self._products = {count: product[:count] for count in (1, 2)}

    def __call__(self, rows: NDArray[Any]) -> None:
        """Add [takes * count, ...] rows in order, of codes or of sums."""
        groups = self._groups
        by_place = groups.in_groups(rows, groups.takes).swapaxes(0, 1)
        for pair, total in self._steps:
            self._add(pair, by_place, total)

    def _add(self, pair: _Pair, rows: NDArray[Any], total: NDArray[np.uint16]) -> None:
        """Write two weighted sums to `total`."""
        whole, parts = pair.whole, pair.parts
        if not whole:
            (first, weight), parts = parts[0], parts[1:]
            np.multiply(_widened(rows[first], total), weight, out=total)
        elif len(whole) == 1:
            np.multiply(_widened(rows[whole[0]], total), self._whole_weight, out=total)
        else:
            np.add(rows[whole[0]], rows[whole[1]], out=total, dtype=np.uint16)
            for row in whole[2:]:
                np.add(total, self._weighted(rows[row], 1), out=total)
            if self._whole_weight > 1:
                np.multiply(total, self._whole_weight, out=total)
        for row, weight in parts:
            np.add(total, self._weighted(rows[row], weight), out=total)

    def _weighted(self, row: NDArray[Any], weight: int | np.uint16) -> NDArray[np.uint16]:
        product = self._products[len(row)]
        wide = _widened(row, product)
        return wide if weight == 1 else np.multiply(wide, weight, out=product)


def _widened(row: NDArray[Any], memory: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Codes as 16 bits, in `memory`; sums as they are. Mixed types are added at half the speed."""
    if row.dtype == np.uint16:
        return row
    np.copyto(memory, row)
    return memory


def _near_memory(size: int) -> NDArray[np.uint8]:
    """`size` bytes on as few pages as can be: the network leaves none of them in the caches."""
    memory = np.empty(size + 2 * _LARGE_PAGE, np.uint8)  # NumPy asks for large pages from 4 MB on
    begin = -memory.ctypes.data % _LARGE_PAGE
    return memory[begin : begin + size]


def _laid(
    memory: NDArray[np.uint8], shape: tuple[int, ...], dtype: type[ScalarT]
) -> NDArray[ScalarT]:
    """An array at the beginning of `memory`."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return memory[:size].view(dtype).reshape(shape)
