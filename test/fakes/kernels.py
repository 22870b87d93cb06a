# SPDX-License-Identifier: Apache-2.0
"""What the kernels of depth_core compute, written again in NumPy, for the fake GPU.

The tests of the kernel hold this, the kernel's own source compiled as C, and OpenCV together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from test.fakes.gpu import GPU

Codes = NDArray[np.uint8]
Weights = NDArray[np.int64]


def resize(image: Codes, height: int, width: int) -> Codes:
    """[H, W, 3] to [height, width, 3]: by area when both sides shrink, bilinear otherwise."""
    image_height, image_width = image.shape[:2]
    codes = image.astype(np.int64)
    if image_height >= height and image_width >= width:
        # Whole numbers below 2**53, so that products of matrices of floats are exact.
        rows, columns = overlaps(image_height, height), overlaps(image_width, width)
        lines = columns @ codes.astype(np.float64)  # [H, width, 3]
        total = np.tensordot(rows, lines, 1).astype(np.int64)
        area = image_height * image_width
        rounded, rest = np.divmod(2 * total + area, 2 * area)
        halves = (image_height, image_width) == (2 * height, 2 * width)
        return np.asarray(rounded - (0 if halves else (rest == 0) & (rounded % 2 == 1)), np.uint8)
    y, below, lower = between(image_height, height)
    x, beside, right = between(image_width, width)
    right = right[None, :, None]
    upper_line = codes[y][:, x] * (2048 - right) + codes[y][:, beside] * right
    lower_line = codes[below][:, x] * (2048 - right) + codes[below][:, beside] * right
    lower = lower[:, None, None]
    blend = (((2048 - lower) * (upper_line >> 4)) >> 16) + ((lower * (lower_line >> 4)) >> 16)
    return np.asarray((blend + 2) >> 2, np.uint8)


def overlaps(image_size: int, size: int) -> NDArray[np.float64]:
    """How much of each pixel of the image lies in each of the output: [size, image_size]."""
    start = np.arange(size)[:, None] * image_size
    low = np.arange(image_size)[None, :] * size
    inside = np.minimum(low + size, start + image_size) - np.maximum(low, start)
    return np.asarray(np.maximum(inside, 0), np.float64)


def between(image_size: int, size: int) -> tuple[Weights, Weights, Weights]:
    """The two pixels to read between, and the weight of the second in 1/2048."""
    position = (2 * np.arange(size) + 1) * image_size - size
    first, rest = np.divmod(position, 2 * size)
    outside = (position < 0) | (first >= image_size - 1)
    first = np.clip(first, 0, image_size - 1)
    rest = np.where(outside, 0, rest)
    weight = (rest * 4096 + 2 * size) // (4 * size)
    return first, np.minimum(first + 1, image_size - 1), weight


def resize_image(
    grid: tuple[int, int], block: tuple[int, ...], arguments: Sequence[Any], stream: int
) -> None:
    """Enqueue the kernel of `depth_core.runtime.engine.kernel`."""
    source, target, image_height, image_width, height, width, *rest = (
        int(value) for value in arguments[:9]
    )
    as_float, planes, bgr = bool(rest[0]), bool(rest[1]), bool(rest[2])
    gain, offset = (np.asarray(arguments[i : i + 3], np.float32) for i in (9, 12))
    assert grid[0] * block[0] >= width
    assert grid[1] * block[1] >= height

    def work() -> None:
        size = image_height * image_width * 3
        image = GPU.view(source, size).reshape(image_height, image_width, 3)
        codes = resize(image, height, width)[..., :: -1 if bgr else 1]
        values = codes.astype(np.float32) * gain + offset if as_float else codes
        laid_out = np.ascontiguousarray(values.transpose(2, 0, 1) if planes else values)
        GPU.view(target, laid_out.nbytes)[:] = laid_out.reshape(-1).view(np.uint8)
        GPU.launches.append('resize_image')

    GPU.enqueue(stream, work)


KERNELS: Mapping[str, Callable[[tuple[int, int], tuple[int, ...], Sequence[Any], int], None]] = {
    'resize_image': resize_image
}
"""By name: a function of the grid, the block, the arguments and the stream."""
