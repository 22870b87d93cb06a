# SPDX-License-Identifier: Apache-2.0
"""How ZoeDepth infers, and the image processor of its port by Hugging Face.

`zoedepth_infer` puts the input size, the reflected border and the average over the mirror image
together as the authors' `infer` does; `fit_image` and `depth_of_source` are the image processor.
They resize with corners aligned and bicubic back, which serving does not.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from depth_core.contracts import Float32Array
from depth_core.runtime.sizes import keep_aspect_size, pad_reflect, reflect_padding


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
