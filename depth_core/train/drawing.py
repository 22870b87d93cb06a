# SPDX-License-Identifier: Apache-2.0
"""Pictures of samples with their legend: a title over each part, and the scale of its colours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.preview import ColourScale, colour_bar, colour_depth

_TITLE_ROWS: Final = 16
_WHITE: Final = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One part of a picture."""

    title: str
    pixels: Uint8Array
    """[H, W, 3] RGB."""
    scale: ColourScale | None = None
    """What its colours mean; None for a photograph."""
    unit: str = ''
    """Of the scale."""


def depth_tile(title: str, depth: Float32Array, scale: ColourScale, unit: str = '') -> Tile:
    """Colour a plane of depth, [H, W]."""
    return Tile(title=title, pixels=colour_depth(depth, scale), scale=scale, unit=unit)


def draw_tiles(tiles: Sequence[Tile]) -> Uint8Array:
    """Set tiles of equal height side by side, each under its title.

    The scale of colours stands behind the last of neighbours that share one.

    Returns:
        [H + 16, W, 3] RGB.
    """
    parts: list[Uint8Array] = []
    for tile, after in itertools.zip_longest(tiles, tiles[1:]):
        parts.append(_titled(tile.pixels, tile.title))
        if tile.scale is not None and (after is None or after.scale != tile.scale):
            parts.append(_titled(colour_bar(tile.scale, len(tile.pixels), tile.unit), ''))
    return np.hstack(parts)


def stack(rows: Sequence[Uint8Array]) -> Uint8Array | None:
    """Set pictures below each other, filled up with black; None where there are none."""
    widest = max((row.shape[1] for row in rows), default=0)
    filled = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    return np.vstack(filled) if filled else None


def _titled(pixels: Uint8Array, title: str) -> Uint8Array:
    strip = np.zeros((_TITLE_ROWS, pixels.shape[1], 3), np.uint8)
    where = (2, _TITLE_ROWS - 5)
    cv2.putText(strip, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.35, _WHITE, 1, cv2.LINE_AA)
    return np.vstack((strip, pixels))
