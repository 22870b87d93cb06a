# SPDX-License-Identifier: Apache-2.0
"""Images as `image_transport` compresses them: a pure function for each of its two plugins.

`compressed_depth_image_transport` keeps a float image as 16-bit codes of its inverse, in a PNG
behind a header of twelve bytes: the format (0), then the two numbers A and B that turn a code q
back into A / (q - B). Code 0 is no value. The plugin has two parameters for that: depth_max, and
depth_quantization z, from which A = z (z + 1) and B = 1 - A / depth_max. Here the two ends of the
range are given, and A follows from them: code 1 is the far end, code 65535 the near one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from depth_core.contracts import Float32Array, Uint8Array

_INVERSE: Final = 0
"""The only format that the plugin's header names."""

_HEADER: Final = '=iff'
"""The format, A and B in the byte order of the machine, as the plugin copies its struct."""

_LAST_CODE: Final = 65535


@dataclass(frozen=True)
class CodedRange:
    """Values that codes can state, both ends included; in the unit of the image, above 0."""

    near: float
    far: float
    saturates: bool = False
    """Whether values outside take the code of the nearer end; otherwise they are no value."""

    @property
    def a(self) -> float:
        """A of the plugin: an inverse value is multiplied by it."""
        return (_LAST_CODE - 1) / (1.0 / self.near - 1.0 / self.far)

    @property
    def b(self) -> float:
        """B of the plugin: what is added."""
        return 1.0 - self.a / self.far

    def largest_error(self, value: float) -> float:
        """Largest difference between a value and what its code states: half a code."""
        return value * value / (2.0 * self.a)

    def codes(self, values: Float32Array) -> NDArray[np.uint16]:
        """Return the code nearest to each value; 0 where there is none.

        Args:
            values: [H, W]; NaN and the infinities are no values, zero and less neither.
        """
        known = np.isfinite(values) & (values > 0.0)
        if not self.saturates:
            known &= (values >= np.float32(self.near)) & (values <= np.float32(self.far))
        inside = np.clip(np.where(known, values, 1.0), np.float32(self.near), np.float32(self.far))
        codes = np.rint(np.float32(self.a) / inside + np.float32(self.b))
        codes = np.where(known, np.clip(codes, 1.0, _LAST_CODE), 0.0)
        return codes.astype(np.uint16)


def compressed_depth(
    values: Float32Array, coded: CodedRange, *, header: Header, png_level: int
) -> CompressedImage:
    """Return a float image in the format of compressed_depth_image_transport.

    Args:
        values: [H, W].
        coded: The values that can be stated; what becomes of others it says too.
        header: Taken over as it is: stamp and frame of the input.
        png_level: 1 (fastest) to 9 (smallest, and 20 to 50 times slower).
    """
    start = struct.pack(_HEADER, _INVERSE, coded.a, coded.b)
    return _message(start, _png(coded.codes(values), png_level), '32FC1', header)


def compressed_millimetres(
    depth_mm: NDArray[np.uint16], *, header: Header, png_level: int
) -> CompressedImage:
    """Return a 16UC1 image in the format of compressed_depth_image_transport: as it is, in a PNG.

    Args:
        depth_mm: [H, W] millimetres, 0 unknown.
        header: Taken over as it is: stamp and frame of the input.
        png_level: 1 (fastest) to 9 (smallest).
    """
    start = struct.pack(_HEADER, _INVERSE, 0.0, 0.0)
    return _message(start, _png(depth_mm, png_level), '16UC1', header)


def compressed_colours(rgb: Uint8Array, *, header: Header, jpeg_quality: int) -> CompressedImage:
    """Return a colour image in the format of compressed_image_transport, as a JPEG.

    Args:
        rgb: [H, W, 3].
        header: Taken over as it is: stamp and frame of the input.
        jpeg_quality: 1 to 100.
    """
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality))
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    message.data.frombytes(encoded.data)
    return message


def _png(codes: NDArray[np.uint16], level: int) -> NDArray[Any]:
    _, encoded = cv2.imencode('.png', codes, (cv2.IMWRITE_PNG_COMPRESSION, level))
    return encoded


def _message(start: bytes, png: NDArray[Any], encoding: str, header: Header) -> CompressedImage:
    message = CompressedImage(header=header, format=f'{encoding}; compressedDepth png')
    message.data.frombytes(start)
    message.data.frombytes(png.data)
    return message
