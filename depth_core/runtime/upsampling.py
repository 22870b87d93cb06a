# SPDX-License-Identifier: Apache-2.0
"""From the pixels of a network to those of an output, without depths between near and far.

Bilinear interpolation of a depth edge makes depths that belong to no surface: flying pixels. Where
the pixels of the network around a place hold an edge, the guided way splits them in a near and a
far side, and takes the side whose colours are the more like the pixel's own: every answer is then
a mean of one side. Elsewhere it is bilinear, bit for bit. Joint bilateral upsampling (Kopf et al.,
2007) with a vote in place of its mean, which would mix both sides again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array, Uint8Array

EDGE_RATIO: Final = 1.1
"""Farthest over nearest of 3 x 3 pixels of the network that make an edge."""
_COLOUR_SPREAD: Final = 16.0
"""Difference of colours, codes, at which a neighbour counts exp(-1/2) as much."""
_REACH: Final = 2
"""How far to each side votes are taken, pixels of the network."""
_STEP: Final = 1
"""Every so many of them vote."""
_PLACE_SPREAD: Final = 1.5
"""The same in pixels of the network."""
_AROUND: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The pixels an answer is wanted at."""

    size: tuple[int, int] | Literal['camera', 'network'] = 'camera'
    """(height, width), the size of the image, or what the network sees of it."""
    guided: bool = False
    """Whether edges follow those of the image."""


def sharpen_edges(depth: Float32Array, coarse: Float32Array, image: Uint8Array) -> None:
    """Bring the depth edges of an enlarged plane to one of their sides, in place.

    Args:
        depth: [H, W] `coarse`, enlarged by bilinear interpolation; written to. NaN and -inf stay.
        coarse: [h, w] the same view in pixels of the network. NaN and -inf take no part; +inf is
            a side like any other.
        image: [.., .., 3] uint8 RGB of that view, of any size.
    """
    height, width = depth.shape
    rows, columns = np.nonzero(_edges(coarse, height, width) & (depth > -np.inf))
    if not rows.size:
        return
    small = _sized(image, coarse.shape)
    large = _sized(image, depth.shape)[rows, columns].T.astype(np.float32)
    v = ((rows + 0.5) * (coarse.shape[0] / height) - 0.5).astype(np.float32)
    u = ((columns + 0.5) * (coarse.shape[1] / width) - 0.5).astype(np.float32)
    voted = _voted(coarse, small, large, v, u)
    known = ~np.isnan(voted)
    depth[rows[known], columns[known]] = voted[known]


def _edges(coarse: Float32Array, height: int, width: int) -> BoolArray:
    """Where an enlarged plane of `height` x `width` interpolates over a step."""
    unknown = ~(coarse > -np.inf)
    nearest = cv2.erode(np.where(unknown, np.float32(np.inf), coarse), _AROUND)
    farthest = cv2.dilate(np.where(unknown, np.float32(-np.inf), coarse), _AROUND)
    with np.errstate(over='ignore'):  # OpenCV's border counts as very far
        edges = (farthest > nearest * np.float32(EDGE_RATIO)).astype(np.uint8)
    enlarged = cv2.resize(edges, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(enlarged, np.bool_)


def _sized(image: Uint8Array, size: tuple[int, ...]) -> Uint8Array:
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def _voted(
    coarse: Float32Array,
    small: Uint8Array,
    large: Float32Array,
    v: Float32Array,
    u: Float32Array,
) -> Float32Array:
    """The mean of the winning side at [N] places (v, u) of the coarse plane; NaN without one."""
    row, column = np.rint(v).astype(np.int32), np.rint(u).astype(np.int32)
    split, beyond = (plane[row, column] for plane in _sides(coarse))
    padded = cv2.copyMakeBorder(coarse, *(_REACH,) * 4, cv2.BORDER_REPLICATE).ravel()
    bordered = cv2.copyMakeBorder(small, *(_REACH,) * 4, cv2.BORDER_REPLICATE)
    colours = np.moveaxis(bordered, -1, 0).reshape(3, -1).astype(np.float32)
    stride = coarse.shape[1] + 2 * _REACH
    centre = (row + _REACH) * stride + column + _REACH
    steps = range(-_REACH, _REACH + 1, _STEP)
    down = [_closeness(row + step - v) for step in steps]
    along = [_closeness(column + step - u) for step in steps]
    near_weight, near_sum, far_weight, far_sum = np.zeros((4, v.size), np.float32)
    for below, beside in np.ndindex(len(steps), len(steps)):
        index = centre + steps[below] * stride + steps[beside]
        found = padded[index]
        weight = np.zeros(index.size, np.float32)
        for channel, own in zip(colours, large, strict=True):
            off = channel[index]
            off -= own
            off *= off
            weight += off
        weight *= np.float32(-0.5 / _COLOUR_SPREAD**2)
        np.exp(weight, out=weight)
        weight *= down[below] * along[beside]
        near = found <= split
        np.copyto(weight, np.float32(0.0), where=~(found > -np.inf))
        weighted = weight * np.where(np.isfinite(found), found, np.float32(0.0))
        near_weight += weight * near
        near_sum += weighted * near
        far_weight += weight
        far_sum += weighted
    far_weight -= near_weight
    far_sum -= near_sum
    with np.errstate(invalid='ignore', divide='ignore'):
        far = np.where(beyond, np.float32(np.inf), far_sum / far_weight)
        won: Float32Array = np.where(near_weight >= far_weight, near_sum / near_weight, far)
    return won


def _sides(coarse: Float32Array) -> tuple[Float32Array, BoolArray]:
    """The depth between the near and the far side around each pixel, and whether that is +inf.

    The sides meet in the middle of the ratio of nearest to farthest; a sky is a side of its own.
    """
    finite = np.isfinite(coarse)
    window = np.ones((2 * _REACH + 1,) * 2, np.uint8)
    nearest = cv2.erode(np.where(finite, coarse, np.float32(np.inf)), window)
    farthest = cv2.dilate(np.where(finite, coarse, np.float32(0.0)), window)
    beyond = cv2.dilate(np.isposinf(coarse).astype(np.uint8), window).astype(np.bool_)
    with np.errstate(invalid='ignore'):
        between = np.sqrt(nearest * farthest)
    return np.where(beyond, farthest, between), beyond


def _closeness(off_px: NDArray[np.floating]) -> Float32Array:
    """The weight of neighbours `off_px` rows or columns away."""
    weight: Float32Array = np.exp(np.float32(-0.5 / _PLACE_SPREAD**2) * np.square(off_px))
    return weight.astype(np.float32, copy=False)
