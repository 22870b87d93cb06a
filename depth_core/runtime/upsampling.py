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
from typing import Final, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array, Uint8Array

ScalarT = TypeVar('ScalarT', bound=np.generic)

EDGE_RATIO: Final = 1.1
"""Farthest over nearest of 3 x 3 pixels of the network that make an edge."""
_COLOUR: Final = np.float32(0.5 / 16.0**2)
"""A neighbour 16 codes away counts exp(-1/2) as much."""
_PLACE: Final = np.float32(0.5 / 1.5**2)
"""So does one 1.5 pixels of the network away."""
_MIDDLE: Final = np.float32(128.0)
"""Of the codes: the numbers stay small."""
_REACH: Final = 2
"""How far to each side votes are taken, pixels of the network."""
_STEP: Final = 2
"""Every so many of them vote."""
_WINDOW: Final = 2 * _REACH + 1
_VOTES: Final = (2 * _REACH // _STEP + 1) ** 2
_WEIGHTS_AT_ONCE: Final = 1 << 17
"""So many stay in the cache of a processor."""
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
    edges = _edges(coarse)
    down, off_v = _members(coarse.shape[0], depth.shape[0])
    along, off_u = _members(coarse.shape[1], depth.shape[1])
    rows, columns = np.nonzero(edges)
    large = _shades(_sized(image, depth.shape))
    neighbours = _Neighbours(coarse, _sized(image, coarse.shape))
    at_once = max(1, _WEIGHTS_AT_ONCE // (down.shape[1] * along.shape[1] * _VOTES))
    for begin in range(0, rows.size, at_once):
        row, column = rows[begin : begin + at_once], columns[begin : begin + at_once]
        pixels = down[row][:, :, None], along[column][:, None, :]
        shape = pixels[0].shape[0], down.shape[1], along.shape[1]
        voted = neighbours.voted(
            row,
            column,
            large[pixels].reshape(len(row), -1),
            np.broadcast_to(off_v[row][:, :, None], shape).reshape(len(row), -1),
            np.broadcast_to(off_u[column][:, None, :], shape).reshape(len(row), -1),
        ).reshape(shape)
        former = depth[pixels]
        depth[pixels] = np.where(np.isnan(voted) | ~(former > -np.inf), former, voted)


def _edges(coarse: Float32Array) -> BoolArray:
    """The pixels of a plane around which interpolation goes over a step."""
    unknown = ~(coarse > -np.inf)
    nearest = cv2.erode(np.where(unknown, np.float32(np.inf), coarse), _AROUND)
    farthest = cv2.dilate(np.where(unknown, np.float32(-np.inf), coarse), _AROUND)
    with np.errstate(over='ignore'):  # OpenCV's border counts as very far
        edges: BoolArray = farthest > nearest * np.float32(EDGE_RATIO)
    return edges


def _members(coarse: int, fine: int) -> tuple[NDArray[np.intp], Float32Array]:
    """Which of `fine` rows lie in each of `coarse` rows over the same length.

    Returns:
        [coarse, n] the rows, the last one again where there are fewer than n, and one beside it
        where there is none; and how far they lie from the middle of their coarse row, in coarse
        rows.
    """
    places = (np.arange(fine) + 0.5) * (coarse / fine)
    owners = np.floor(places)
    first = np.searchsorted(owners, np.arange(coarse))
    behind = np.searchsorted(owners, np.arange(coarse), side='right')
    most = max(1, int((behind - first).max()))
    members = np.minimum(first[:, None] + np.arange(most), np.maximum(behind, 1)[:, None] - 1)
    off = places[members] - (np.arange(coarse)[:, None] + 0.5)
    return members, off.astype(np.float32)


def _sized(image: Uint8Array, size: tuple[int, ...]) -> Uint8Array:
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


class _Neighbours:
    """The pixels of the network around each of them, which vote.

    The weight of a neighbour is exp(-a |colour - own colour|^2 - b |place - own place|^2). Written
    out, the exponent is a sum of products of what belongs to the pixel and what belongs to the
    neighbour, so that one product of matrices makes it for all pixels in a pixel of the network.
    """

    def __init__(self, coarse: Float32Array, small: Uint8Array) -> None:
        """Take a plane [h, w] and its colours [h, w, 3]."""
        self._split, self._beyond = _sides(coarse)
        self._depth = _windows(_bordered(coarse))
        self._colours = _windows(
            _factors(_bordered(_shades(small).view(np.float32)).view(np.uint32))
        )

    def voted(
        self,
        row: NDArray[np.intp],
        column: NDArray[np.intp],
        shades: NDArray[np.uint32],
        off_v: Float32Array,
        off_u: Float32Array,
    ) -> Float32Array:
        """The mean of the winning side at [M, N] places, N in each of M pixels; NaN without one.

        Args:
            row: [M] of the pixels of the network.
            column: [M] of them.
            shades: [M, N] colours of the places, from `_shades`.
            off_v: [M, N] rows of the network from the middle of the pixel.
            off_u: [M, N] columns.
        """
        found = self._depth[row, column].reshape(len(row), -1)
        known = found > -np.inf
        near = known & (found <= self._split[row, column][:, None])
        finite = np.where(np.isfinite(found), found, np.float32(0.0))
        sides = np.stack([near, near, known & ~near, known & ~near], axis=-1).astype(np.float32)
        sides[..., 1] *= finite
        sides[..., 3] *= finite
        others = self._others(row, column)
        weights = self._own(shades, off_v, off_u) @ others.transpose(0, 2, 1)
        cv2.exp(weights, dst=weights)
        near_weight, near_sum, far_weight, far_sum = np.moveaxis(weights @ sides, -1, 0)
        with np.errstate(invalid='ignore', divide='ignore'):
            beyond = self._beyond[row, column][:, None]
            far = np.where(beyond, np.float32(np.inf), far_sum / far_weight)
            won: Float32Array = np.where(near_weight >= far_weight, near_sum / near_weight, far)
        return won

    @staticmethod
    def _own(shades: NDArray[np.uint32], off_v: Float32Array, off_u: Float32Array) -> Float32Array:
        """The factors [M, N, 8] of the places."""
        own = np.empty((*shades.shape, 8), np.float32)
        own.view(np.complex128)[..., 0] = _factors(shades)
        own[..., 4], own[..., 5] = off_v, off_u
        own[..., 6] = -_PLACE * (np.square(off_v) + np.square(off_u))
        own[..., 7] = 1.0
        return own

    def _others(self, row: NDArray[np.intp], column: NDArray[np.intp]) -> Float32Array:
        """The factors [M, n, 8] of the neighbours."""
        steps = np.mgrid[-_REACH : _REACH + 1 : _STEP, -_REACH : _REACH + 1 : _STEP]
        steps = steps.reshape(2, _VOTES).T
        others = np.empty((len(row), _VOTES, 8), np.float32)
        others.view(np.complex128)[..., 0] = self._colours[row, column].reshape(-1, _VOTES)
        others[..., :3] *= 2 * _COLOUR
        others[..., 7] = others[..., 3]
        others[..., 7] -= _PLACE * np.square(steps).sum(axis=1)
        others[..., 4:6] = 2 * _PLACE * steps
        others[..., 3] = others[..., 6] = 1.0
        return others


def _shades(image: Uint8Array) -> NDArray[np.uint32]:
    """Colours [H, W, 3] as one number [H, W] each: those are picked at once."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0]


def _factors(shades: NDArray[np.uint32]) -> NDArray[np.complex128]:
    """What the exponent takes of colours: three codes and the weight of their square.

    Four float32 a colour, picked at once as one number of 16 bytes.
    """
    codes = np.ascontiguousarray(shades)[..., None].view(np.uint8).astype(np.float32)
    codes -= _MIDDLE
    codes[..., 3] = 0.0
    codes[..., 3] = np.einsum('...c,...c->...', codes, codes)
    codes[..., 3] *= -_COLOUR
    return codes.view(np.complex128)[..., 0]


def _bordered(plane: Float32Array) -> Float32Array:
    return np.asarray(cv2.copyMakeBorder(plane, *(_REACH,) * 4, cv2.BORDER_REPLICATE), np.float32)


def _windows(bordered: NDArray[ScalarT]) -> NDArray[ScalarT]:
    """[h, w, n, n] the voting pixels around each one."""
    windows = np.lib.stride_tricks.sliding_window_view(bordered, (_WINDOW, _WINDOW))
    return windows[..., ::_STEP, ::_STEP]


def _sides(coarse: Float32Array) -> tuple[Float32Array, BoolArray]:
    """The depth between the near and the far side around each pixel, and whether that is +inf.

    The sides meet in the middle of the ratio of nearest to farthest; a sky is a side of its own.
    """
    finite = np.isfinite(coarse)
    window = np.ones((_WINDOW, _WINDOW), np.uint8)
    nearest = cv2.erode(np.where(finite, coarse, np.float32(np.inf)), window)
    farthest = cv2.dilate(np.where(finite, coarse, np.float32(0.0)), window)
    beyond = cv2.dilate(np.isposinf(coarse).astype(np.uint8), window).astype(np.bool_)
    with np.errstate(invalid='ignore'):
        between = np.sqrt(nearest * farthest)
    return np.where(beyond, farthest, between), beyond
