# SPDX-License-Identifier: Apache-2.0
"""Image messages to arrays and back, as pure functions.

Reading answers with HWC uint8 RGB, or raises `FrameError` naming what is wrong with the message.
Writing goes through `array.frombytes`, the one way to fill a message that stays fast when rclpy
checks fields (always on Humble, on request later).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_core import images
from depth_core.contracts import Float32Array, Uint8Array
from depth_core.images import MAX_PIXELS, ImageError, ImageProblem, rgb_from_raw
from depth_ros.frames.drops import DropReason, FrameError

MILLIMETRES_MAX: Final = 65535
"""Largest depth a 16UC1 image can state, millimetres."""

_DEPTH_TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    '32FC1': np.dtype(np.float32),
    '16UC1': np.dtype(np.uint16),
}


_REASONS: Final = {
    ImageProblem.ENCODING: DropReason.ENCODING,
    ImageProblem.SIZE: DropReason.SIZE,
    ImageProblem.DAMAGED: DropReason.CORRUPT,
}


def rgb_from_image(
    message: Image, *, max_pixels: int = MAX_PIXELS, mono16_bits: int = 16
) -> Uint8Array:
    """Return the picture of a raw image message.

    The array may share memory with `message.data`: read it, do not write into it.

    Args:
        message: An image in one of `depth_core.images.ENCODINGS`, with any row padding and byte
            order.
        max_pixels: Largest height times width.
        mono16_bits: Bits that an image in mono16 uses.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous. 16-bit values keep the upper eight bits of those used.

    Raises:
        FrameError: The encoding is unknown, or size, step and bytes contradict each other.
    """
    with _frame_errors():
        return rgb_from_raw(
            memoryview(message.data),
            encoding=message.encoding,
            height=message.height,
            width=message.width,
            step=message.step,
            big_endian=bool(message.is_bigendian),
            max_pixels=max_pixels,
            used_bits=mono16_bits if message.encoding == 'mono16' else 16,
        )


def rgb_from_compressed(
    message: CompressedImage,
    *,
    max_pixels: int = MAX_PIXELS,
    check_size: Callable[[int, int], None] | None = None,
) -> Uint8Array:
    """Return the picture of a compressed image message.

    Args:
        message: An image as `image_transport` compresses it.
        max_pixels: Largest height times width.
        check_size: Takes the height and the width in the header before anything is decoded, and
            raises where they cannot be right.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous, not turned by an EXIF orientation.

    Raises:
        FrameError: The bytes are no image, truncated, damaged or a depth image.
    """
    with _frame_errors():
        if check_size is not None:
            header = images.read_header(memoryview(message.data))
            check_size(header.height, header.width)
        return images.rgb_from_compressed(
            memoryview(message.data), format_name=message.format, max_pixels=max_pixels
        )


@contextlib.contextmanager
def _frame_errors() -> Iterator[None]:
    """Give errors of an image the reason they are counted under."""
    try:
        yield
    except ImageError as error:
        text = f'{error}. The message is dropped; look at the camera and at the link to it.'
        raise FrameError(_REASONS[error.problem], text) from error


def nanoseconds(stamp: Time) -> int:
    """Return a stamp as one number, nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def image_message(array: NDArray[Any], encoding: str, header: Header) -> Image:
    """Return an image message of `array`, little- or big-endian as this machine is.

    Args:
        array: [H, W] or [H, W, C], C-contiguous. The message shares its memory: what is written
            to it before the message is published shows.
        encoding: The name of its type in sensor_msgs, for example `32FC1`.
        header: Taken over as it is: stamp and frame of the input.
    """
    message = Image()
    message.header = header
    message.height, message.width = array.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == 'big')
    message.step = array.strides[0]
    # The setter copies, and rclpy reads any buffer of bytes.
    message._data = array.data.cast('B')  # noqa: SLF001
    return message


def depth_from_image(message: Image) -> Float32Array:
    """Return the depth that an image message states, as REP-118 has it.

    Args:
        message: 32FC1 in metres or 16UC1 in millimetres, with any row padding and byte order.

    Returns:
        [H, W] float32, metres; NaN where a 16UC1 image says 0.

    Raises:
        FrameError: The encoding is another, or size, step and bytes contradict each other.
    """
    dtype = _DEPTH_TYPES.get(message.encoding)
    if dtype is None:
        text = f'encoding {message.encoding!r} is no depth; give {" or ".join(_DEPTH_TYPES)}.'
        raise FrameError(DropReason.ENCODING, text)
    height, width, step = message.height, message.width, message.step
    if width < 1 or step < width * dtype.itemsize or len(message.data) != height * step:
        text = (
            f'a depth image of {width}x{height} pixels in {message.encoding} with step {step} '
            f'and {len(message.data)} bytes contradicts itself.'
        )
        raise FrameError(DropReason.SIZE, text)
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    values = np.ascontiguousarray(rows[:, : width * dtype.itemsize])
    values = values.view(dtype.newbyteorder('>' if message.is_bigendian else '<'))
    depth_m = values.astype(np.float32)
    if dtype.kind == 'u':
        depth_m *= np.float32(1e-3)
        depth_m[depth_m == 0.0] = np.nan
    return depth_m


def millimetres(depth_m: Float32Array) -> NDArray[np.uint16]:
    """Return depth as REP-118 writes it in 16UC1: millimetres, 0 where there is none.

    NaN, the infinities, depths that round to 0 and depths beyond 65.535 m all become 0: the type
    has no other way to say 'unknown', and a clamped value would be a wrong one.
    """
    rounded = depth_m * np.float32(1000.0) + np.float32(0.5)
    usable = (rounded >= 1.0) & (rounded < np.float32(MILLIMETRES_MAX + 1))
    rounded[~usable] = 0.0
    return rounded.astype(np.uint16)
