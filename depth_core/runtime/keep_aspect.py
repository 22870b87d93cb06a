# SPDX-License-Identifier: Apache-2.0
"""Input sizes that keep the shape of an image, reflected borders, and how ZoeDepth infers.

Networks with a Transformer inside take many sizes, so that an image need not be stretched to one.
`keep_aspect_size` chooses the size as MiDaS and ZoeDepth do, `reflect_padding` the border that
ZoeDepth adds so that its network does not see the edge of the image, and `zoedepth_infer` puts
both together with the average over the mirror image: the authors' `infer`. The image processor of
Hugging Face's port is `fit_image` and `depth_of_source`. NumPy and OpenCV only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import ConfigError

_BORDER_FACTOR: Final = 3.0

ScalarT = TypeVar('ScalarT', np.uint8, np.float32)


def keep_aspect_size(
    height: int, width: int, *, target: tuple[int, int], multiple: int = 32
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

    Returns:
        (height, width), each at least one multiple.

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
    rows, columns = (max(round(scale * side / multiple), 1) * multiple for side in (height, width))
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


def fit_image(
    image: Float32Array,
    *,
    size: tuple[int, int],
    multiple: int = 32,
    keep_aspect: bool = True,
    padding: bool = True,
) -> Float32Array:
    """Bring an image to the size of the network.

    Args:
        image: [H, W, 3] float32 of any range.
        size: (height, width) the network was trained for.
        multiple: What sides must be multiples of.
        keep_aspect: Choose the size by `keep_aspect_size`; False stretches to `size`.
        padding: Surround the image with its reflection first.

    Returns:
        [h, w, 3] float32, bilinear with corners aligned and without antialiasing.
    """
    if padding:
        image = pad_reflect(image, reflect_padding(*image.shape[:2]))
    if keep_aspect:
        size = keep_aspect_size(*image.shape[:2], target=size, multiple=multiple)
    return resize_aligned(image, size)


def depth_of_source(
    depth: Float32Array,
    source_size: tuple[int, int],
    *,
    padding: bool = True,
    target_size: tuple[int, int] | None = None,
) -> Float32Array:
    """Bring the plane a network gave for `fit_image` back to the image.

    Args:
        depth: [h, w] plane at the size of the network.
        source_size: (height, width) of the image before it was padded.
        padding: Whether it was padded; its border is cut away.
        target_size: Another size to resize to in the end.

    Returns:
        [H, W] float32, bicubic: near edges it may leave the range of `depth` a little.
    """
    height, width = source_size
    rows, columns = reflect_padding(height, width) if padding else (0, 0)
    whole = _resize_cubic(depth, (height + 2 * rows, width + 2 * columns))
    inner = whole[rows : rows + height, columns : columns + width]
    return inner if target_size is None else _resize_cubic(inner, target_size)


def zoedepth_infer(
    predict: Callable[[Float32Array], Float32Array],
    image: Float32Array,
    *,
    size: tuple[int, int],
    multiple: int = 32,
    keep_aspect: bool = True,
    padding: bool = True,
    flip: bool = True,
) -> Float32Array:
    """Predict the depth of an image as ZoeDepth's `infer` does.

    Args:
        predict: Gives a plane for [h, w, 3] float32 in the range of `image`; its sides may be any
            multiples of `multiple`, or `size` when the aspect is not kept. It normalises itself.
        image: [H, W, 3] float32.
        size: (height, width) the network was trained for: 384 x 512 (N, NK), 384 x 768 (K).
        multiple: What sides must be multiples of.
        keep_aspect: Whether the shape of the image is kept, the authors' setting for `infer`;
            their evaluation does not keep it.
        padding: Whether reflections are put around the image.
        flip: Whether the answer for the mirror image, mirrored back, is averaged in.

    Returns:
        [H, W] float32 in the unit of `predict`.
    """

    def once(pixels: Float32Array) -> Float32Array:
        fitted = fit_image(
            pixels, size=size, multiple=multiple, keep_aspect=keep_aspect, padding=padding
        )
        source_size = (pixels.shape[0], pixels.shape[1])
        return depth_of_source(predict(fitted), source_size, padding=padding)

    plain = once(image)
    if not flip:
        return plain
    mirrored = once(np.ascontiguousarray(image[:, ::-1]))
    averaged: Float32Array = np.float32(0.5) * (plain + mirrored[:, ::-1])
    return averaged


def resize_aligned(image: Float32Array, size: tuple[int, int]) -> Float32Array:
    """Resize bilinearly with the centres of the corner pixels kept (align_corners).

    OpenCV knows only the other convention, in which the edges of the image are kept.
    """
    return _lerp(_lerp(image, size[0], 0), size[1], 1)


def _lerp(values: Float32Array, count: int, axis: int) -> Float32Array:
    last = values.shape[axis] - 1
    place = np.linspace(0.0, last, count) if count > 1 else np.zeros(1)
    low = np.minimum(place.astype(np.int64), max(last - 1, 0))
    share = (place - low).astype(np.float32)
    share = share.reshape([-1 if item == axis else 1 for item in range(values.ndim)])
    first = values.take(low, axis)
    second = values.take(np.minimum(low + 1, last), axis)
    result: Float32Array = first + share * (second - first)
    return result


def _resize_cubic(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    resized = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(resized, np.float32)
