# SPDX-License-Identifier: Apache-2.0
"""Image messages to arrays and back, as pure functions.

Reading answers with HWC uint8 RGB, or raises `FrameError` naming what is wrong with the message.
Writing goes through `array.frombytes`, the one way to fill a message that stays fast when rclpy
checks fields (always on Humble, on request later).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import unknown_name
from depth_ros.drops import DropReason, FrameError

MILLIMETRES_MAX: Final = 65535
"""Largest depth a 16UC1 image can state, millimetres."""


@dataclass(frozen=True)
class _Layout:
    """How the bytes of one encoding become RGB."""

    channels: int
    """Values a pixel in the message."""
    to_rgb: Callable[[NDArray[Any]], NDArray[Any]]
    """From [H, W] or [H, W, channels] to [H, W, 3] RGB of the same type."""
    sixteen_bit: bool = False
    even_width: bool = False
    """Pairs of pixels share their colour, so the width is even."""


def _unchanged(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels


def _cv(code: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def convert(pixels: NDArray[Any]) -> NDArray[Any]:
        return cv2.cvtColor(pixels, code)

    return convert


_BAYER: Final = {  # OpenCV names a pattern by its second row, ROS by its first
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
_UYVY: Final = _Layout(2, _cv(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV: Final = _Layout(2, _cv(cv2.COLOR_YUV2RGB_YUY2), even_width=True)
_BGR: Final = _Layout(3, _cv(cv2.COLOR_BGR2RGB))

_LAYOUTS: Final[dict[str, _Layout]] = {
    'rgb8': _Layout(3, _unchanged),
    'bgr8': _BGR,
    '8UC3': _BGR,  # what OpenCV-based drivers publish without naming the order
    'rgba8': _Layout(4, _cv(cv2.COLOR_RGBA2RGB)),
    'bgra8': _Layout(4, _cv(cv2.COLOR_BGRA2RGB)),
    'mono8': _Layout(1, _cv(cv2.COLOR_GRAY2RGB)),
    '8UC1': _Layout(1, _cv(cv2.COLOR_GRAY2RGB)),
    'mono16': _Layout(1, _cv(cv2.COLOR_GRAY2RGB), sixteen_bit=True),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    **{f'bayer_{name}8': _Layout(1, _cv(code)) for name, code in _BAYER.items()},
    **{
        f'bayer_{name}16': _Layout(1, _cv(code), sixteen_bit=True) for name, code in _BAYER.items()
    },
}

ENCODINGS: Final = tuple(_LAYOUTS)
"""Every encoding of a raw image that `rgb_from_image` reads."""


def rgb_from_image(message: Image) -> Uint8Array:
    """Return the picture of a raw image message.

    The array may share memory with `message.data`: read it, do not write into it.

    Args:
        message: An image in one of `ENCODINGS`, with any row padding and byte order.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous. 16-bit values keep their upper eight bits.

    Raises:
        FrameError: The encoding is unknown, or size, step and bytes contradict each other.
    """
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        remedy = ' Set the driver to one of them, or convert the image (image_proc).'
        text = unknown_name('image encoding', message.encoding, ENCODINGS) + remedy
        raise FrameError(DropReason.ENCODING, text)
    pixels = _pixels(message, layout)
    rgb = layout.to_rgb(pixels)
    if layout.sixteen_bit:
        rgb = (rgb >> 8).astype(np.uint8)
    return np.ascontiguousarray(rgb)


def _pixels(message: Image, layout: _Layout) -> NDArray[Any]:
    """View the bytes as [H, W] or [H, W, channels], native byte order, padding cut off."""
    height, width, step = message.height, message.width, message.step
    itemsize = 2 if layout.sixteen_bit else 1
    row_bytes = width * layout.channels * itemsize
    size = len(message.data)
    what = f'{width}x{height} image in {message.encoding}'
    if height < 1 or width < 1:
        _refuse_size(f'{what}: height and width must be at least 1')
    if layout.even_width and width % 2:
        _refuse_size(f'{what}: pairs of pixels share their colour, so the width must be even')
    if step < row_bytes:
        _refuse_size(f'{what}: step is {step} bytes, a row needs at least {row_bytes}')
    # The last row may come without its padding.
    if not step * (height - 1) + row_bytes <= size <= step * height:
        _refuse_size(f'{what}: {size} bytes arrived, step {step} x {height} rows is promised')
    flat = np.frombuffer(message.data, np.uint8)
    if size < step * height:
        flat = np.concatenate((flat, np.zeros(step * height - size, np.uint8)))
    rows = flat.reshape(height, step)[:, :row_bytes]
    if layout.sixteen_bit:
        order = '>u2' if message.is_bigendian else '<u2'
        rows = np.ascontiguousarray(rows).view(order).astype(np.uint16, copy=False)
    if layout.channels == 1:
        return rows
    return rows.reshape(height, width, layout.channels)


def _refuse_size(found: str) -> None:
    message = f'{found}. The message is dropped; check the driver that fills it.'
    raise FrameError(DropReason.SIZE, message)


_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_PNG_START, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'


def rgb_from_compressed(message: CompressedImage) -> Uint8Array:
    """Return the picture of a compressed image message (JPEG or PNG, told by their bytes).

    Args:
        message: An image as `image_transport` compresses it.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous.

    Raises:
        FrameError: The bytes are neither JPEG nor PNG, cut short, or cannot be decoded.
    """
    data = memoryview(message.data)
    what = f'compressed image of {len(data)} bytes, format {message.format!r}'
    if 'compressedDepth' in message.format:
        text = f'{what}: this is a depth image; remap the image input to a colour or grey camera.'
        raise FrameError(DropReason.ENCODING, text)
    tail = bytes(data[-64:]).rstrip(b'\0')
    if bytes(data[:2]) == _JPEG_START:
        complete = tail.endswith(_JPEG_END)
    elif bytes(data[:8]) == _PNG_START:
        complete = tail.endswith(_PNG_END)
    else:
        found = bytes(data[:8]).hex(' ') or 'nothing'
        text = (
            f'{what} begins with {found}: neither JPEG nor PNG. Publish one of these, or use the '
            'raw transport (image_transport:=raw).'
        )
        raise FrameError(DropReason.CORRUPT, text)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = _decode(np.frombuffer(data, np.uint8), flags) if complete else None
    if bgr is None:
        fault = 'cannot be decoded' if complete else 'is cut short (no end marker)'
        text = f'{what} {fault}; it is dropped. Look at the link between camera and node.'
        raise FrameError(DropReason.CORRUPT, text)
    rgb: Uint8Array = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)
    return rgb


def _decode(data: Uint8Array, flags: int) -> Uint8Array | None:
    try:
        decoded = cv2.imdecode(data, flags)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


def image_message(array: NDArray[Any], encoding: str, header: Header) -> Image:
    """Return a fresh image message of `array`, little- or big-endian as this machine is.

    Args:
        array: [H, W] or [H, W, C], C-contiguous.
        encoding: The name of its type in sensor_msgs, for example `32FC1`.
        header: Taken over as it is: stamp and frame of the input.
    """
    message = Image()
    message.header = header
    message.height, message.width = array.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == 'big')
    message.step = array.strides[0]
    message.data.frombytes(array.data.cast('B'))
    return message


def millimetres(depth_m: Float32Array) -> NDArray[np.uint16]:
    """Return depth as REP-118 writes it in 16UC1: millimetres, 0 where there is none.

    NaN, the infinities, depths that round to 0 and depths beyond 65.535 m all become 0: the type
    has no other way to say 'unknown', and a clamped value would be a wrong one.
    """
    rounded = depth_m * np.float32(1000.0) + np.float32(0.5)
    usable = (rounded >= 1.0) & (rounded < np.float32(MILLIMETRES_MAX + 1))
    rounded[~usable] = 0.0
    return rounded.astype(np.uint16)
