# SPDX-License-Identifier: Apache-2.0
"""From a camera image to what a graph takes.

The image is resized to the size of the graph, by one factor or two, padded or cut as the manifest
states; `placement` says where it lies then, and brings the answer back. Both cover the same area,
from the outer edge of the first pixel to that of the last (OpenCV's convention), so that nothing
shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, InputSpec, Uint8Array
from depth_core.errors import DataError
from depth_core.manifest import Manifest
from depth_core.runtime.area_average import AreaAverage
from depth_core.runtime.graph import input_shape
from depth_core.runtime.ipp_average import average_with_ipp, has_ipp
from depth_core.runtime.placement import Placement, place
from depth_core.runtime.sizes import pad_reflect, reflect_padding

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

    def __init__(self, manifest: Manifest, *, padding: bool = False) -> None:
        """Prepare for the size that `manifest` states.

        Args:
            manifest: What the graph takes.
            padding: Whether the image is surrounded with its reflection first.
        """
        self._manifest = manifest
        self._spec = spec = manifest.input
        self._padding = padding
        self._placement: Placement | None = None
        self._resizer = Resizer(spec.interp, antialias=spec.antialias)
        self._pixels = np.empty((spec.height, spec.width, 3), np.uint8)
        self._resized = self._pixels
        self._batch = np.zeros(input_shape(manifest), spec.dtype)
        self._plain = spec.dtype == 'uint8' and spec.layout == 'NHWC'
        self._gain, self._offset = channel_affine(spec)
        self._normalised = np.empty_like(self._pixels, np.float32)
        padded = np.asarray(spec.pad_rgb, np.float32)
        self._colour = padded[::-1] if spec.channels == 'BGR' else padded

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input it makes."""
        return self._spec.height, self._spec.width

    def placement(self, height: int, width: int) -> Placement:
        """Where an image of `height` x `width` lies in the input; the last one is kept."""
        if self._placement is None or self._placement.image != (height, width):
            border = reflect_padding(height, width) if self._padding else (0, 0)
            self._placement = place(self._spec, height, width, border=border)
        return self._placement

    def bordered(self, image: Uint8Array) -> Uint8Array:
        """`image` with the border of its placement."""
        border = self.placement(*image.shape[:2]).border
        return pad_reflect(image, border) if any(border) else image

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
        placement = self.placement(*image.shape[:2])
        pixels = target if self._plain else self._pixels
        self._lay(self.bordered(image), placement, pixels)
        if self._spec.channels == 'BGR':
            cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR, dst=pixels)
        pads = self._spec.pad_stage, placement.fills
        if pads == ('pre_norm', False):
            _surround(pixels, placement, np.rint(self._colour))
        if not self._plain:
            if self._spec.layout == 'NCHW':
                target = target.transpose(1, 2, 0)  # the same memory, seen as [H, W, 3]
            self._normalise(pixels, target)
        if pads == ('post_norm', False):
            _surround(target, placement, self._colour)

    def _lay(self, image: Uint8Array, placement: Placement, pixels: Uint8Array) -> None:
        """Resize `image` and write what of it the network sees to its place in `pixels`."""
        if placement.fills:
            self._resizer(image, pixels)
            return
        if self._resized.shape[:2] != placement.resized:
            self._resized = np.empty((*placement.resized, 3), np.uint8)
        self._resizer(image, self._resized)
        content = placement.content
        cut = content._replace(top=max(-placement.top, 0), left=max(-placement.left, 0))
        pixels[content.window] = self._resized[cut.window]

    def _normalise(self, pixels: Uint8Array, target: NDArray[Any]) -> None:
        """Write [H, W, 3] codes as the numbers that the graph takes."""
        if self._spec.dtype == 'uint8':
            target[...] = pixels
            return
        # Half precision would lose what the offset takes away again.
        wide = target if self._spec.dtype == 'float32' else self._normalised
        np.multiply(pixels, self._gain, out=wide)
        wide += self._offset
        if wide is not target:
            target[...] = wide


class Resizer:
    """Resizes images by one rule, with what it prepares for the last size kept."""

    def __init__(self, interp: str = 'auto', *, antialias: bool = True) -> None:
        """Take a rule of `InputSpec.interp`; `antialias` as there."""
        self._method = _METHODS[interp]
        self._averages = interp in {'auto', 'area'} or (antialias and interp != 'nearest')
        self._sizes = ((0, 0), (0, 0))
        self._average: Callable[[Uint8Array, Uint8Array], None] | None = None

    def __call__(self, image: Uint8Array, target: Uint8Array) -> None:
        """Write `image` to `target` at its size; both are C-contiguous."""
        size, wanted = (image.shape[0], image.shape[1]), (target.shape[0], target.shape[1])
        if (size, wanted) != self._sizes:  # cameras do not change size
            self._sizes = size, wanted
            self._average = self._averaging(size, wanted)
        if self._average is not None:
            self._average(image, target)
            return
        cv2.resize(image, (wanted[1], wanted[0]), dst=target, interpolation=self._method)

    def _averaging(
        self, size: tuple[int, int], wanted: tuple[int, int]
    ) -> Callable[[Uint8Array, Uint8Array], None] | None:
        """How images of `size` shrink here the fastest; None where they do not.

        Averaging over the area of each pixel keeps fine texture from turning into noise.
        """
        if not self._averages or size[0] < wanted[0] or size[1] < wanted[1]:
            return None
        if has_ipp() and size != (2 * wanted[0], 2 * wanted[1]):  # halves are as fast in OpenCV
            return average_with_ipp
        if AreaAverage.suits(size, wanted):
            return AreaAverage(size, wanted)
        return _average_with_opencv


def _average_with_opencv(image: Uint8Array, target: Uint8Array) -> None:
    size = target.shape[1], target.shape[0]
    cv2.resize(image, size, dst=target, interpolation=cv2.INTER_AREA)


_METHODS: Final = {
    'auto': cv2.INTER_LINEAR,
    'area': cv2.INTER_LINEAR,
    'nearest': cv2.INTER_NEAREST_EXACT,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
}
"""How pixels are resampled where they are not averaged."""


def _surround(target: NDArray[Any], placement: Placement, colour: Float32Array) -> None:
    """Write `colour` to what of [H, W, 3] `target` shows no part of the image."""
    rows, columns = placement.content.window
    for window in (
        (slice(None, rows.start), slice(None)),
        (slice(rows.stop, None), slice(None)),
        (rows, slice(None, columns.start)),
        (rows, slice(columns.stop, None)),
    ):
        target[window] = colour


def channel_affine(spec: InputSpec) -> tuple[Float32Array, Float32Array]:
    """(code * scale - mean) / std as code * gain + offset, a number for each channel."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    return (spec.scale / std).astype(np.float32), (-mean / std).astype(np.float32)
