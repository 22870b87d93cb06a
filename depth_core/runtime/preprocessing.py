# SPDX-License-Identifier: Apache-2.0
"""From a camera image to what a graph takes, and from a graph's planes back to the image's size.

Both sides stretch the whole image to the other size, and both take pixel centres at half-integer
positions of the area they cover (OpenCV's convention), so that nothing shifts.
"""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec, Uint8Array
from depth_core.errors import DataError
from depth_core.manifest import Manifest
from depth_core.runtime.graph import input_shape

RANGE_TOLERANCE: Final = 1e-3
"""A depth within this fraction of an end of the range counts as that end: half precision rounds
by half as much, and interpolation between two saturated pixels by far less."""

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
        self._spec = manifest.input
        self._size = (manifest.input.width, manifest.input.height)  # as OpenCV orders them
        self._pixels = np.empty((manifest.input.height, manifest.input.width, 3), np.uint8)
        self._input = np.empty(input_shape(manifest), manifest.input.dtype)
        self._plain = self._input.dtype == np.uint8 and self._spec.layout == 'NHWC'
        if self._plain:
            self._pixels = self._input[0]
        self._gain, self._offset = _affine(self._spec)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input it makes."""
        return self._spec.height, self._spec.width

    def __call__(self, image: Uint8Array) -> NDArray[Any]:
        """Return the graph's input for `image`; the next call writes to the same memory."""
        height, width = image.shape[:2]
        shrinks = height >= self._spec.height and width >= self._spec.width
        # Averaging over the area of each pixel keeps fine texture from turning into noise.
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(image, self._size, dst=self._pixels, interpolation=method)
        if self._spec.channels == 'BGR':
            cv2.cvtColor(self._pixels, cv2.COLOR_RGB2BGR, dst=self._pixels)
        if self._plain:
            return self._input
        target = self._input[0]
        if self._spec.layout == 'NCHW':
            target = target.transpose(1, 2, 0)  # the same memory, seen as [H, W, 3]
        if self._input.dtype == np.uint8:
            target[...] = self._pixels
        else:
            np.multiply(self._pixels, self._gain, out=target)
            target += self._offset
        return self._input


def _affine(spec: InputSpec) -> tuple[Float32Array, Float32Array]:
    """(code * scale - mean) / std as code * gain + offset, a number for each channel."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    return (spec.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


class Postprocessor:
    """Turns the planes of one graph into depth and sigma at the size of an image.

    Bilinear, after values beyond the range have been brought to its ends, so that one of them
    does not spoil its neighbours. Then what lies at an end is stated as REP-117 wants it: +inf
    at `max_depth`, -inf at `min_depth`, both within `RANGE_TOLERANCE`. An inverse depth has no
    such ends. NaN stays NaN.
    """

    def __init__(self, spec: OutputSpec) -> None:
        self._spec = spec
        self._ranged = spec.kind is not DepthKind.INVERSE
        self._unit = np.float32(spec.unit_m if spec.kind is DepthKind.METRIC else 1.0)

    @property
    def depth_range(self) -> tuple[float, float]:
        """What -inf and +inf stand for, in the unit of what is returned."""
        if not self._ranged:
            return 0.0, math.inf
        return float(self._spec.min_depth), float(self._spec.max_depth)

    def __call__(
        self, depth: Float32Array, sigma: Float32Array | None, *, height: int, width: int
    ) -> tuple[Float32Array, Float32Array]:
        """Return depth and sigma, [height, width], in memory of their own."""
        if self._unit != 1.0:
            depth = depth * self._unit
            sigma = None if sigma is None else sigma * self._unit
        if self._ranged:
            depth = np.clip(depth, self._spec.min_depth, self._spec.max_depth)
        depth_m = _resized(depth, height, width)
        if self._ranged:
            mark_ends(depth_m, self.depth_range)
        if sigma is None:
            return depth_m, np.full((height, width), np.nan, np.float32)
        return depth_m, _resized(sigma, height, width)


def mark_ends(depth_m: Float32Array, depth_range: tuple[float, float]) -> None:
    """Write -inf and +inf, in place, where depth lies at an end of its range or beyond it.

    Args:
        depth_m: [H, W] depth; NaN stays.
        depth_range: Nearest and farthest depth, in the unit of the depth.
    """
    nearest, farthest = depth_range
    for ended, value in (
        (depth_m >= farthest * (1.0 - RANGE_TOLERANCE), np.inf),
        (depth_m <= nearest * (1.0 + RANGE_TOLERANCE), -np.inf),
    ):
        if ended.any():
            depth_m[ended] = value


def _resized(plane: Float32Array, height: int, width: int) -> Float32Array:
    if plane.shape == (height, width):
        return plane.copy()
    # Shrinking by area would blend near and far; bilinear samples the surface that is there.
    resized = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
