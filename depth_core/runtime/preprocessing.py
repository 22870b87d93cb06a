# SPDX-License-Identifier: Apache-2.0
"""From a camera image to what a graph takes.

The whole image is stretched to the size of the graph, and back by `postprocessing`; both take
pixel centres at half-integer positions of the area they cover (OpenCV's convention), so that
nothing shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, InputSpec, Uint8Array
from depth_core.errors import DataError
from depth_core.manifest import Manifest
from depth_core.runtime.area_average import AreaAverage
from depth_core.runtime.graph import input_shape

_CHANNELS: Final = 3


def check_image(image: object) -> Uint8Array:
    """Return `image` when it is [H, W, 3] uint8, C-contiguous.

    Raises:
        DataError: It is no array, has another type or shape, or no pixels; says how to convert.
    """
    if not isinstance(image, np.ndarray):
        message = (
            f'the image is a {type(image).__name__}; give a NumPy array, [H, W, 3] uint8 RGB.'
        )
        raise DataError(message)
    if image.dtype != np.uint8:
        message = (
            f'the image has type {image.dtype}; give uint8 codes 0..255: '
            'for values in [0, 1], (image * 255).round().astype(np.uint8).'
        )
        raise DataError(message)
    if image.ndim != _CHANNELS or image.shape[2] != _CHANNELS:
        remedy = 'stack a grey image three times, drop an alpha channel, put channels last'
        message = f'the image has shape {list(image.shape)}; give [H, W, 3] RGB: {remedy}.'
        raise DataError(message)
    if image.size == 0:
        message = f'the image has shape {list(image.shape)} and no pixels; give at least one.'
        raise DataError(message)
    # OpenCV does not take negative strides, as of image[..., ::-1]; a copy is made only then.
    return np.ascontiguousarray(image)


class Preprocessor:
    """Turns images into the input of one graph, in memory that is used over again."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._spec = spec = manifest.input
        self._seen_size = (0, 0)
        self._average: AreaAverage | None = None
        self._pixels = np.empty((spec.height, spec.width, 3), np.uint8)
        self._batch = np.zeros(input_shape(manifest), spec.dtype)
        self._plain = spec.dtype == 'uint8' and spec.layout == 'NHWC'
        self._gain, self._offset = channel_affine(spec)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input it makes."""
        return self._spec.height, self._spec.width

    def __call__(self, images: Sequence[Uint8Array]) -> NDArray[Any]:
        """Return the graph's input for `images`; the next call writes to the same memory.

        Args:
            images: [H, W, 3] uint8 RGB, each of any size; no more than a fixed batch takes. What
                a fixed batch has more than that is filled with pixels of no meaning.
        """
        if len(images) > len(self._batch):
            self._batch = np.zeros(input_shape(self._manifest, len(images)), self._spec.dtype)
        for image, target in zip(images, self._batch, strict=False):
            self._fill(target, image)
        return self._batch if self._spec.batch else self._batch[: len(images)]

    def _fill(self, target: NDArray[Any], image: Uint8Array) -> None:
        """Write the input for one image to its place in the batch."""
        pixels = target if self._plain else self._pixels
        self._resize(image, pixels)
        if self._spec.channels == 'BGR':
            cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR, dst=pixels)
        if self._plain:
            return
        if self._spec.layout == 'NCHW':
            target = target.transpose(1, 2, 0)  # the same memory, seen as [H, W, 3]
        if self._spec.dtype == 'uint8':
            target[...] = pixels
        else:
            np.multiply(pixels, self._gain, out=target)
            target += self._offset

    def _resize(self, image: Uint8Array, target: Uint8Array) -> None:
        """Write `image` to `target` at its size."""
        size, wanted = (image.shape[0], image.shape[1]), self.size
        if size != self._seen_size:  # cameras do not change size
            self._seen_size = size
            self._average = AreaAverage(size, wanted) if AreaAverage.suits(size, wanted) else None
        if self._average is not None:
            self._average(image, target)
            return
        shrinks = size[0] >= wanted[0] and size[1] >= wanted[1]
        # Averaging over the area of each pixel keeps fine texture from turning into noise.
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(image, (wanted[1], wanted[0]), dst=target, interpolation=method)


def channel_affine(spec: InputSpec) -> tuple[Float32Array, Float32Array]:
    """(code * scale - mean) / std as code * gain + offset, a number for each channel."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    return (spec.scale / std).astype(np.float32), (-mean / std).astype(np.float32)
