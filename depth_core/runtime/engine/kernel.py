# SPDX-License-Identifier: Apache-2.0
"""Bringing a camera's image to the input of a graph, on the GPU.

It gives what `runtime.preprocessing` gives on the processor, within one code: the mean over the
area of a pixel where the image shrinks, and otherwise bilinear interpolation with weights of 11
bits. Sums are integers, so that every GPU gives the same.

The source is the common part of C and CUDA C++. It was compiled for GPUs and run as C on the
processor, where the tests compare it with OpenCV; it was not run on a GPU.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Uint8Array
from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.engine.device import ArgumentType, Device, Kernel, Stream
from depth_core.runtime.engine.nvrtc import compile_cubin
from depth_core.runtime.preprocessing import channel_affine

KERNEL_NAME: Final = 'resize_image'

ON_GPU: Final = """\
#define KERNEL extern "C" __global__
#define DEVICE static __device__
#define COLUMN ((int)(blockIdx.x * blockDim.x + threadIdx.x))
#define ROW ((int)(blockIdx.y * blockDim.y + threadIdx.y))
"""
"""What CUDA has for the words of `SOURCE`."""

SOURCE: Final = """\
/* Sums over the pixels that the area of one pixel of the output covers. A length of 1 in the
   image is `size` parts, one in the output `image_size` parts, so that all borders are whole. */
DEVICE int overlap(int pixel, int size, int start, int end)
{
    int low = pixel * size, high = low + size;
    if (low < start) low = start;
    if (high > end) high = end;
    return high - low;
}

/* Where to read between two pixels: the first of them, and the weight of the second in 1/2048. */
DEVICE int between(int place, int size, int image_size, int *weight)
{
    long long position = (2LL * place + 1) * image_size - size;
    long long whole = 2LL * size;
    int first = (int)(position / whole);
    long long rest = position - first * whole;
    if (position < 0) { first = 0; rest = 0; }
    if (first >= image_size - 1) { first = image_size - 1; rest = 0; }
    *weight = (int)((rest * 4096 + whole) / (2 * whole));
    return first;
}

KERNEL void resize_image(
    const unsigned char *image, void *output, int image_height, int image_width, int height,
    int width, int as_float, int planes, int bgr, float gain_0, float gain_1, float gain_2,
    float offset_0, float offset_1, float offset_2)
{
    int column = COLUMN, row = ROW, code[3], channel;
    if (column >= width || row >= height) return;
    if (image_height >= height && image_width >= width) {
        int top = row * image_height, bottom = top + image_height;
        int left = column * image_width, right = left + image_width;
        long long area = (long long)image_height * image_width, sum[3] = {0, 0, 0};
        int two_by_two = image_height == 2 * height && image_width == 2 * width;
        int y, x;
        for (y = top / height; y * height < bottom; ++y) {
            long long first = (long long)y * image_width + left / width;
            const unsigned char *pixel = image + 3 * first;
            long long line[3] = {0, 0, 0};
            int rows = overlap(y, height, top, bottom);
            for (x = left / width; x * width < right; ++x, pixel += 3) {
                int columns = overlap(x, width, left, right);
                for (channel = 0; channel < 3; ++channel)
                    line[channel] += columns * pixel[channel];
            }
            for (channel = 0; channel < 3; ++channel) sum[channel] += rows * line[channel];
        }
        for (channel = 0; channel < 3; ++channel) {
            long long doubled = 2 * sum[channel] + area;
            code[channel] = (int)(doubled / (2 * area));
            /* OpenCV rounds a half to the even code, but up where it takes two by two. */
            if (doubled % (2 * area) == 0 && !two_by_two) code[channel] &= ~1;
        }
    } else {
        int right_weight, lower_weight;
        int y = between(row, height, image_height, &lower_weight);
        int x = between(column, width, image_width, &right_weight);
        int below = y + 1 < image_height ? 3 * image_width : 0;
        int beside = x + 1 < image_width ? 3 : 0;
        const unsigned char *pixel = image + 3LL * ((long long)y * image_width + x);
        for (channel = 0; channel < 3; ++channel, ++pixel) {
            int left_weight = 2048 - right_weight;
            int upper = pixel[0] * left_weight + pixel[beside] * right_weight;
            int lower = pixel[below] * left_weight + pixel[below + beside] * right_weight;
            int blend = (((2048 - lower_weight) * (upper >> 4)) >> 16)
                      + ((lower_weight * (lower >> 4)) >> 16);
            code[channel] = (blend + 2) >> 2;
        }
    }
    for (channel = 0; channel < 3; ++channel) {
        float gain = channel == 0 ? gain_0 : channel == 1 ? gain_1 : gain_2;
        float offset = channel == 0 ? offset_0 : channel == 1 ? offset_1 : offset_2;
        int value = code[bgr ? 2 - channel : channel];
        long long pixel = (long long)row * width + column, size = (long long)height * width;
        long long place = planes ? channel * size + pixel : 3 * pixel + channel;
        if (as_float) ((float *)output)[place] = value * gain + offset;
        else ((unsigned char *)output)[place] = (unsigned char)value;
    }
}
"""

ARGUMENTS: Final[tuple[ArgumentType, ...]] = (*'PP', *'iiiiiii', *'ffffff')

_BLOCK: Final = (32, 8)
_CHANNELS: Final = 3
_LARGEST_SIDE: Final = 1 << 14
"""Of an image or a graph, pixels; products of two of them are counted in 32 bits."""

_ONE_CODE: Final = 1.01
"""With what floats round; a number that is none is more than this as well."""

KERNEL_SHA256: Final = hashlib.sha256(SOURCE.encode()).hexdigest()

_logger = logging.getLogger(__name__)


def trial_pictures(height: int, width: int) -> list[Uint8Array]:
    """Noise that a graph of this size has to shrink by fractions, to enlarge, and to do both."""
    sizes = (
        (height * 3 // 2 + 1, width * 4 // 3 + 1),
        (height * 2 // 3 + 1, width * 3 // 5 + 1),
        (height * 5 // 4 + 1, width * 3 // 4 + 1),
    )
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, _CHANNELS), np.uint8) for size in sizes]


class ImageResizer:
    """The kernel, loaded for the input of one graph."""

    def __init__(self, kernel: Kernel, device: Device, manifest: Manifest) -> None:
        self._kernel, self._device = kernel, device
        self._spec = spec = manifest.input
        gain, offset = channel_affine(spec)
        self._size = (spec.height, spec.width)
        self._format = (
            int(spec.dtype == 'float32'),
            int(spec.layout == 'NCHW'),
            int(spec.channels == 'BGR'),
            *(float(value) for value in (*gain, *offset)),
        )
        width, height = _BLOCK
        self._grid = (-(-spec.width // width), -(-spec.height // height))

    def takes(self, height: int, width: int) -> bool:
        """Whether an image of this size is small enough."""
        return max(height, width, *self._size) <= _LARGEST_SIDE

    def enqueue(self, stream: Stream, image: int, size: tuple[int, int], target: int) -> None:
        """Have the stream bring one image to the graph's input.

        Args:
            stream: Where it is done.
            image: Address of [H, W, 3] uint8 RGB.
            size: (H, W).
            target: Address of the image's place in the input.
        """
        arguments = (image, target, *size, *self._size, *self._format)
        self._device.launch(self._kernel, self._grid, _BLOCK, arguments, stream)

    def complaint(
        self, size: tuple[int, int], expected: NDArray[Any], found: NDArray[Any]
    ) -> str | None:
        """What is wrong with an image that it made; None where all is within one code.

        Args:
            size: (H, W) of what it was made of.
            expected: One image of the input, as the processor makes it.
            found: The same, as the kernel made it.
        """
        gain = np.ones(_CHANNELS, np.float32)
        if self._spec.dtype == 'float32':
            gain, _ = channel_affine(self._spec)
        shape = (_CHANNELS, 1, 1) if self._spec.layout == 'NCHW' else (_CHANNELS,)
        codes = np.abs(found.astype(np.float64) - expected) / np.abs(gain).reshape(shape)
        largest = float(codes.max())
        if largest <= _ONE_CODE:
            return None
        made = f'{self._spec.height} x {self._spec.width} pixels of {size[0]} x {size[1]}'
        return f'{made} are up to {largest:.3g} codes off, and one is allowed'

    def free(self) -> None:
        """Unload it."""
        self._kernel.free()


def load_resizer(device: Device, manifest: Manifest) -> ImageResizer | None:
    """Compile and load the kernel, with the context current.

    Returns:
        The kernel, or None where it cannot be had: the log says why, and the processor resizes, as
        it does for graphs that want more than stretching.
    """
    spec = manifest.input
    if spec.resize != 'stretch' or spec.interp != 'auto' or spec.dtype == 'float16':
        return None
    try:
        cubin = compile_cubin(ON_GPU + SOURCE, device.info.compute_capability)
        kernel = device.load_kernel(cubin, KERNEL_NAME, ARGUMENTS)
    except BackendError as error:
        _logger.warning('images are resized on the processor, not on the GPU: %s', error)
        return None
    return ImageResizer(kernel, device, manifest)
