# SPDX-License-Identifier: Apache-2.0
"""Input sizes that follow the shape of an image, and reflected borders.

Networks with a Transformer inside take many sizes, so that an image need not be stretched to one.
`keep_aspect_size` chooses the size as MiDaS and ZoeDepth do, `reflect_padding` the border that
ZoeDepth adds so that its network does not see the edge of the image.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts.graph import least_multiples
from depth_core.errors import ConfigError
from depth_core.manifest import Manifest

_BORDER_FACTOR: Final = 3.0

ScalarT = TypeVar('ScalarT', np.uint8, np.float32)


def input_size(
    manifest: Manifest, image: tuple[int, int], *, keep_aspect: bool = False
) -> tuple[int, int]:
    """Choose (height, width) of a network's input for the images of a camera.

    Args:
        manifest: Of a network that takes every multiple of its divisor.
        image: (height, width) of the camera, with any border.
        keep_aspect: Whether the shape of the image is kept where the manifest has no rule.
    """
    spec = manifest.input
    multiple = math.lcm(spec.multiple, manifest.divisor)
    if spec.size is not None:
        return spec.size.choose(*image, multiple=multiple, min_side=spec.min_side)
    if keep_aspect and spec.resize == 'stretch':
        target = spec.height, spec.width
        return keep_aspect_size(*image, target=target, multiple=multiple, min_side=spec.min_side)
    return spec.height, spec.width


def at_size(manifest: Manifest, size: tuple[int, int]) -> Manifest:
    """The manifest of the same network when its input is fixed to (height, width) `size`."""
    spec = manifest.input
    # What keeps the aspect has done so by the size, and stretches the little that is left.
    resize = 'stretch' if spec.resize == 'keep_aspect' else spec.resize
    height, width = size
    fixed = replace(spec, height=height, width=width, size=None, resize=resize)
    return replace(manifest, input=fixed)


def keep_aspect_size(
    height: int, width: int, *, target: tuple[int, int], multiple: int = 32, min_side: int = 1
) -> tuple[int, int]:
    """Choose the input size for an image: its shape kept as far as `multiple` allows.

    Of the two scales that would bring a side to that of `target` the one nearer to 1 serves
    both sides, each then rounded to a multiple (halves to the even one). The sides may therefore
    be larger than those of `target`.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        target: (height, width) the network was trained for.
        multiple: What sides must be multiples of: 32 for ZoeDepth and MiDaS.
        min_side: What no side may be below, pixels.

    Returns:
        (height, width), each at least one multiple and `min_side`.

    Raises:
        ConfigError: A size is not positive.
    """
    if min(height, width, *target, multiple) < 1:
        message = (
            f'image {height}x{width}, target {target[0]}x{target[1]} and multiple {multiple} must '
            'all be at least 1.'
        )
        raise ConfigError(message)
    scale_y, scale_x = target[0] / height, target[1] / width
    scale = scale_x if abs(1.0 - scale_x) < abs(1.0 - scale_y) else scale_y
    fewest = least_multiples(min_side, multiple)
    rows, columns = (
        max(round(scale * side / multiple), fewest) * multiple for side in (height, width)
    )
    return rows, columns


def reflect_padding(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) that ZoeDepth reflects at each border: 3 sqrt(side / 2), rounded down."""
    rows, columns = (int(_BORDER_FACTOR * math.sqrt(side / 2.0)) for side in (height, width))
    return rows, columns


def pad_reflect(image: NDArray[ScalarT], padding: tuple[int, int]) -> NDArray[ScalarT]:
    """Surround [H, W, 3] or [H, W] with its own reflection; the border pixel is not repeated."""
    rows, columns = padding
    padded = cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_REFLECT_101)
    return np.asarray(padded, image.dtype)
