# SPDX-License-Identifier: Apache-2.0
"""The encodings of uncompressed images: the bytes of a camera to RGB.

The names are those of sensor_msgs, and nv12. 8UC3, 8UC4 and 16UC3 do not name the order of their
channels: they come from drivers based on OpenCV and are blue first. YUV is BT.601 of limited
range, as cameras send it. Of 16 bits the upper eight are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np

from depth_core.contracts import Uint8Array
from depth_core.errors import unknown_name
from depth_core.images.errors import ImageError, ImageProblem
from depth_core.images.limit import MAX_PIXELS, limit_pixels

_ToRgb: TypeAlias = Callable[[Uint8Array], Uint8Array]


@dataclass(frozen=True)
class _Layout:
    """How the bytes of one encoding become RGB."""

    channels: int
    """Values a pixel in one row of the data."""
    to_rgb: _ToRgb
    """From [rows, W, channels] to [H, W, 3]."""
    bytes_per_value: int = 1
    half_rows: int = 2
    """Rows of data for two rows of the image: more than 2 where planes follow each other."""
    even: tuple[bool, bool] = (False, False)
    """Whether height and width must be even, as neighbours share their colour."""
    padded: bool = True
    """False where it is not defined how rows with padding follow each other."""


def _unchanged(pixels: Uint8Array) -> Uint8Array:
    return pixels


def _cv(code: int) -> _ToRgb:
    def convert(pixels: Uint8Array) -> Uint8Array:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)

    return convert


_YUV_TO_RGB: Final = (
    255.0
    / 219.0
    * np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
    * np.array([1.0, 219.0 / 224.0, 219.0 / 224.0])
)
"""Of BT.601, limited range, for (Y - 16, U - 128, V - 128)."""


def _nv24(pixels: Uint8Array) -> Uint8Array:
    """A plane of Y, then one of U and V in turn, all at full resolution."""
    rows, width, _ = pixels.shape
    height = rows // 3
    luma = pixels[:height]
    chroma = pixels[height:].reshape(height, width, 2)
    shift = -_YUV_TO_RGB @ np.array([16.0, 128.0, 128.0])
    yuv = np.concatenate((luma, chroma), axis=-1)
    return np.asarray(cv2.transform(yuv, np.column_stack((_YUV_TO_RGB, shift))), np.uint8)


_BAYER: Final = {  # OpenCV names a pattern by its second row, ROS by its first
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
_BGR: Final = _cv(cv2.COLOR_BGR2RGB)
_BGRA: Final = _cv(cv2.COLOR_BGRA2RGB)
_RGBA: Final = _cv(cv2.COLOR_RGBA2RGB)
_GREY: Final = _cv(cv2.COLOR_GRAY2RGB)
_UYVY: Final = _Layout(2, _cv(cv2.COLOR_YUV2RGB_UYVY), even=(False, True))
_YUYV: Final = _Layout(2, _cv(cv2.COLOR_YUV2RGB_YUY2), even=(False, True))

_LAYOUTS: Final[dict[str, _Layout]] = {
    'rgb8': _Layout(3, _unchanged),
    'bgr8': _Layout(3, _BGR),
    '8UC3': _Layout(3, _BGR),
    'rgba8': _Layout(4, _RGBA),
    'bgra8': _Layout(4, _BGRA),
    '8UC4': _Layout(4, _BGRA),
    'mono8': _Layout(1, _GREY),
    '8UC1': _Layout(1, _GREY),
    'rgb16': _Layout(3, _unchanged, 2),
    'bgr16': _Layout(3, _BGR, 2),
    '16UC3': _Layout(3, _BGR, 2),
    'rgba16': _Layout(4, _RGBA, 2),
    'bgra16': _Layout(4, _BGRA, 2),
    '16UC4': _Layout(4, _BGRA, 2),
    'mono16': _Layout(1, _GREY, 2),
    '16UC1': _Layout(1, _GREY, 2),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': _Layout(1, _cv(cv2.COLOR_YUV2RGB_NV12), half_rows=3, even=(True, True)),
    'nv21': _Layout(1, _cv(cv2.COLOR_YUV2RGB_NV21), half_rows=3, even=(True, True)),
    'nv24': _Layout(1, _nv24, half_rows=6, padded=False),
    **{f'bayer_{name}8': _Layout(1, _cv(code)) for name, code in _BAYER.items()},
    **{f'bayer_{name}16': _Layout(1, _cv(code), 2) for name, code in _BAYER.items()},
}

_VALUE_BITS: Final = 16

ENCODINGS: Final = tuple(_LAYOUTS)
"""Every encoding of an uncompressed image that `rgb_from_raw` reads."""


def rgb_from_raw(
    data: bytes | memoryview,
    *,
    encoding: str,
    height: int,
    width: int,
    step: int,
    big_endian: bool = False,
    max_pixels: int = MAX_PIXELS,
    used_bits: int = 16,
) -> Uint8Array:
    """Return the picture of an uncompressed image.

    The array may share memory with `data`: read it, do not write into it. What is allocated
    depends on the pixels that `data` holds, never on a declared size alone.

    Args:
        data: The rows, each of `step` bytes; the last one may come without its padding.
        encoding: One of `ENCODINGS`.
        height: Rows of the image.
        width: Columns of the image.
        step: Bytes from one row to the next.
        big_endian: Whether the upper byte of 16-bit values comes first.
        max_pixels: Largest height times width.
        used_bits: How many bits, 8 to 16, 16-bit values use; larger values are white.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous. Of 16-bit values the upper eight of the bits in use.

    Raises:
        ImageError: The encoding is unknown, or size, step and bytes contradict each other.
    """
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        remedy = '; set the driver to one of them, or convert the image (image_proc)'
        message = unknown_name('image encoding', encoding, ENCODINGS) + remedy
        raise ImageError(ImageProblem.ENCODING, message)
    try:
        limit_pixels(height, width, max_pixels)
    except ImageError as error:
        raise ImageError(error.problem, f'image in {encoding} {error}') from error
    rows = height * layout.half_rows // 2
    pixel_bytes = layout.channels * layout.bytes_per_value
    _check_bytes(layout, encoding, (height, width), rows=rows, step=step, size=len(data))
    if layout.bytes_per_value > 1 and used_bits < _VALUE_BITS:
        kind = np.dtype('>u2' if big_endian else '<u2')
        strides = (step, pixel_bytes, layout.bytes_per_value)
        values = np.ndarray((rows, width, layout.channels), kind, buffer=data, strides=strides)
        eight = np.minimum(values >> (used_bits - 8), 255).astype(np.uint8)
        return np.ascontiguousarray(layout.to_rgb(eight))
    # The upper byte of each value, which is all of it where values have one.
    upper = 0 if big_endian else layout.bytes_per_value - 1
    pixels = np.ndarray(
        (rows, width, layout.channels),
        np.uint8,
        buffer=data,
        offset=upper,
        strides=(step, pixel_bytes, layout.bytes_per_value),
    )
    if layout.bytes_per_value > 1:
        pixels = np.ascontiguousarray(pixels)
    return np.ascontiguousarray(layout.to_rgb(pixels))


def _check_bytes(
    layout: _Layout, encoding: str, shape: tuple[int, int], *, rows: int, step: int, size: int
) -> None:
    """Refuse sizes that contradict each other."""
    height, width = shape
    row_bytes = width * layout.channels * layout.bytes_per_value
    odd = [
        name
        for name, side, even in zip(('height', 'width'), shape, layout.even, strict=True)
        if even and side % 2
    ]
    problem = ''
    if odd:
        problem = f'neighbouring pixels share their colour, so the {odd[0]} must be even'
    elif step < row_bytes:
        problem = f'step is {step} bytes, a row needs at least {row_bytes}'
    elif not layout.padded and step != row_bytes:
        problem = f'step is {step} bytes, it must be {row_bytes}: rows have no padding here'
    # The last row may come without its padding.
    elif not step * (rows - 1) + row_bytes <= size <= step * rows:
        problem = f'{size} bytes arrived, {rows} rows of step {step} are declared'
    if problem:
        message = f'{width}x{height} image in {encoding}: {problem}'
        raise ImageError(ImageProblem.SIZE, message)
