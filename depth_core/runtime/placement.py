# SPDX-License-Identifier: Apache-2.0
"""Where an image of a camera lies in the image a network sees, and the way back.

Pixel centres are at integers (`depth_core.geometry`), so that a pixel u of the camera is at
(u + 0.5) scale_x - 0.5 + offset_x in the network's image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from depth_core.contracts import Float32Array, InputSpec, Intrinsics
from depth_core.errors import DataError


class Rectangle(NamedTuple):
    """A part of an image, pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and its columns."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How one image of a camera is brought to a network.

    It is surrounded by `border`, resized to `resized`, and laid with its first pixel at `top` and
    `left` of the network's image: what that has more is padding, what it has less is cut off.
    """

    image: tuple[int, int]
    """(height, width) as the camera gives it."""
    network: tuple[int, int]
    """(height, width) the network sees."""
    resized: tuple[int, int]
    """(height, width) of the whole image, border and all, in pixels of the network."""
    top: int = 0
    """Row of the network's image where the resized one begins; negative where it is cut."""
    left: int = 0
    """Column of the network's image where the resized one begins; negative where it is cut."""
    border: tuple[int, int] = (0, 0)
    """Rows and columns of the camera that are reflected at each side first."""

    @property
    def scale_y(self) -> float:
        """Rows of the network in one row of the camera."""
        return self.resized[0] / (self.image[0] + 2 * self.border[0])

    @property
    def scale_x(self) -> float:
        """Columns of the network in one column of the camera."""
        return self.resized[1] / (self.image[1] + 2 * self.border[1])

    @property
    def offset_y(self) -> float:
        """Where the upper edge of the camera's image is in that of the network, rows."""
        return self.top + self.border[0] * self.scale_y

    @property
    def offset_x(self) -> float:
        """Where the left edge of the camera's image is in that of the network, columns."""
        return self.left + self.border[1] * self.scale_x

    @property
    def fills(self) -> bool:
        """Whether nothing is padded and nothing cut off."""
        return self.resized == self.network and self.top == 0 and self.left == 0

    @property
    def content(self) -> Rectangle:
        """The part of the network's image that shows the resized one."""
        top, left = max(self.top, 0), max(self.left, 0)
        bottom = min(self.top + self.resized[0], self.network[0])
        right = min(self.left + self.resized[1], self.network[1])
        return Rectangle(top, left, bottom - top, right - left)

    @property
    def seen(self) -> Rectangle:
        """The part of the camera's image whose pixel centres the network sees."""
        rows = _inside(self.image[0], self.scale_y, self.offset_y, self.network[0])
        columns = _inside(self.image[1], self.scale_x, self.offset_x, self.network[1])
        return Rectangle(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])

    def answered_at(self, size: tuple[int, int] | None) -> Placement:
        """The same view answered with another number of pixels.

        Args:
            size: (height, width) of the answer; None takes the pixels of the network. With a
                border, which is whole pixels of the camera, only the camera's own size serves.
        """
        if self.border != (0, 0):
            return self
        return replace(self, image=size or self.resized)

    def intrinsics(self, camera: Intrinsics) -> Intrinsics:
        """The camera matrix of the image that the network sees.

        Args:
            camera: Of the camera's image.

        Raises:
            DataError: It belongs to an image of another size.
        """
        if (camera.height, camera.width) != self.image:
            message = (
                f'the intrinsics belong to images of {camera.height}x{camera.width}, and this one '
                f'is {self.image[0]}x{self.image[1]}; resize them with the image, or give those '
                'of this image.'
            )
            raise DataError(message)
        return Intrinsics(
            fx_px=camera.fx_px * self.scale_x,
            fy_px=camera.fy_px * self.scale_y,
            cx_px=(camera.cx_px + 0.5) * self.scale_x - 0.5 + self.offset_x,
            cy_px=(camera.cy_px + 0.5) * self.scale_y - 0.5 + self.offset_y,
            height=self.network[0],
            width=self.network[1],
        )

    def restore(self, plane: Float32Array, target: Float32Array, *, nearest: bool = False) -> None:
        """Bring a plane of the network back to the camera's image.

        Bilinear: shrinking by area would blend near and far. What the network does not see of
        the camera's image is NaN.

        Args:
            plane: [rows, columns] that cover the network's image, of its size or another.
            target: [height, width] of the camera, written to.
            nearest: Take the nearest pixel instead, for values that are not to be mixed.
        """
        method = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
        if not self.fills:
            plane = self._whole(_resized(plane, self.network, method))
        rows, columns = self.border
        if rows or columns:
            height, width = self.image
            bordered = _resized(plane, (height + 2 * rows, width + 2 * columns), method)
            np.copyto(target, bordered[Rectangle(rows, columns, height, width).window])
        elif plane.shape == target.shape:
            np.copyto(target, plane)
        else:
            size = target.shape[1], target.shape[0]
            cv2.resize(plane, size, dst=target, interpolation=method)
        if not self.fills:
            self._blank(target)

    def _whole(self, plane: Float32Array) -> Float32Array:
        """The plane of the whole resized image.

        It has no padding, and where the image was cut the values at the edge go on: `_blank`
        replaces them.
        """
        content = self.content
        inner = np.ascontiguousarray(plane[content.window])
        above, left = max(-self.top, 0), max(-self.left, 0)
        below = self.resized[0] - content.height - above
        right = self.resized[1] - content.width - left
        if not any((above, below, left, right)):
            return inner
        whole = cv2.copyMakeBorder(inner, above, below, left, right, cv2.BORDER_REPLICATE)
        return np.asarray(whole, np.float32)

    def _blank(self, target: Float32Array) -> None:
        """Write NaN where the network saw nothing."""
        seen = self.seen
        rows, columns = seen.window
        target[: rows.start] = np.nan
        target[rows.stop :] = np.nan
        target[rows, : columns.start] = np.nan
        target[rows, columns.stop :] = np.nan


def place(
    spec: InputSpec, height: int, width: int, *, border: tuple[int, int] = (0, 0)
) -> Placement:
    """Say how an image of `height` x `width` is brought to the input that `spec` states.

    Args:
        spec: Its height and width are those of the network's image.
        height: Rows of the camera.
        width: Columns of the camera.
        border: Rows and columns that are reflected at each side of the camera's image first.
    """
    network = spec.height, spec.width
    if spec.resize not in {'letterbox', 'crop'}:
        return Placement(image=(height, width), network=network, resized=network, border=border)
    bordered = height + 2 * border[0], width + 2 * border[1]
    scales = [side / old for side, old in zip(network, bordered, strict=True)]
    fits = spec.resize == 'letterbox'
    scale = min(scales) if fits else max(scales)
    # The side that decides is met exactly, the other stays on its side of that of the network.
    limit = min if fits else max
    resized = [
        side if factor == scale else limit(max(round(old * scale), 1), side)
        for side, old, factor in zip(network, bordered, scales, strict=True)
    ]
    centred = spec.anchor == 'center'
    # Halves are rounded down for padding and for what is cut off.
    top, left = (
        _half(side - new) if centred else 0 for side, new in zip(network, resized, strict=True)
    )
    return Placement(
        image=(height, width),
        network=network,
        resized=(resized[0], resized[1]),
        top=top,
        left=left,
        border=border,
    )


def _half(free: int) -> int:
    """Half of a number of pixels, rounded towards zero."""
    return free // 2 if free >= 0 else -(-free // 2)


def _inside(size: int, scale: float, offset: float, network: int) -> tuple[int, int]:
    """The first pixel whose centre is inside [0, network), and the one after the last."""
    # (u + 0.5) scale + offset; what lies on an edge but for rounding is inside.
    first = int(np.ceil(-offset / scale - 0.5 - _ROUNDING))
    last = int(np.floor((network - offset) / scale - 0.5 + _ROUNDING))
    first = min(max(first, 0), size)
    return first, min(max(last + 1, first), size)


_ROUNDING = 1e-9
"""Pixels of the camera."""


def _resized(plane: Float32Array, size: tuple[int, int], method: int) -> Float32Array:
    if plane.shape == size:
        return plane
    return np.asarray(cv2.resize(plane, (size[1], size[0]), interpolation=method), np.float32)
