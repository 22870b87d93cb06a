# SPDX-License-Identifier: Apache-2.0
"""Encoded images, from files or messages, to RGB: whole and undamaged ones only."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from depth_core.contracts import Uint8Array
from depth_core.images.encodings import rgb_from_raw
from depth_core.images.errors import ImageError, ImageProblem
from depth_core.images.exif import upright
from depth_core.images.header import Encoded, read_header
from depth_core.images.limit import MAX_PIXELS, limit_pixels

_UPPER_BYTE: Final = 8
_DEPTH_FORMAT: Final = 'compressedDepth'
_MOSAIC_FORMAT: Final = re.compile(
    r'\s*(bayer_[a-z]{4})(?:8|16)\s*;.*compressed\s*(?:bayer_\w+)?\s*'
)
"""Of Bayer images, which image_transport encodes as grey ones without taking colours from them."""

_JPEG_LABELS: Final = re.compile(r'JFIF revision|bad ICC|Adobe color|Invalid SOS')
"""What libjpeg warns of that costs no pixels."""
_JPEG_PADDING: Final = re.compile(r'(\d+) extraneous bytes before marker 0xd[0-79]')
_JPEG_MOST_PADDING: Final = 16
"""Bytes between the data and a marker that some webcams write: 1 to 14 were reported."""


def rgb_from_encoded(
    content: Encoded,
    *,
    eight_bits_only: bool = False,
    turn_upright: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Uint8Array:
    """Decode a JPEG, PNG, WebP, BMP or TIFF, recognised by its bytes.

    Args:
        content: The whole image; bytes after its end are ignored.
        eight_bits_only: Refuse images of more bits a channel, of which else the upper eight are
            taken.
        turn_upright: Apply the EXIF orientation.
        max_pixels: Largest height times width.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous; a grey image three times, alpha dropped.

    Raises:
        ImageError: It is of another format, truncated, damaged or too large.
    """
    header = read_header(content)
    limit_pixels(header.height, header.width, max_pixels)
    pixels = (
        _jpeg_pixels(content)
        if header.format == 'JPEG'
        else _opencv_pixels(content, header.format)
    )
    if header.format != 'TIFF' and pixels.shape[:2] != (header.height, header.width):
        message = (
            f'declares {header.width}x{header.height} pixels and holds '
            f'{pixels.shape[1]}x{pixels.shape[0]}'
        )
        raise ImageError(ImageProblem.DAMAGED, message)
    if pixels.dtype == np.uint16 and not eight_bits_only:
        pixels = (pixels >> _UPPER_BYTE).astype(np.uint8)
    if pixels.dtype != np.uint8:
        message = (
            f'has {pixels.dtype} pixels; images have 8 bits a channel (16-bit files are usually '
            'depth): convert it, or give the colour image'
        )
        raise ImageError(ImageProblem.ENCODING, message)
    return upright(pixels, header.orientation) if turn_upright else pixels


def rgb_from_compressed(
    content: Encoded, *, format_name: str, max_pixels: int = MAX_PIXELS
) -> Uint8Array:
    """Decode the picture of a compressed image message, as image_transport makes it.

    The pixels stay as they are stored, whatever an EXIF orientation says: they belong to the
    camera_info beside them. The format is only looked at for depth images and Bayer patterns;
    JPEG, PNG and the others are recognised by their bytes.

    Args:
        content: The encoded image; bytes after its end are ignored.
        format_name: The format the message states, for example `rgb8; jpeg compressed bgr8`.
        max_pixels: Largest height times width.

    Returns:
        [H, W, 3] uint8 RGB, C-contiguous. Of 16-bit values the upper eight bits.

    Raises:
        ImageError: It is a depth image, no image, truncated, damaged or too large.
    """
    what = f'compressed image ({len(content)} bytes, format {format_name!r})'
    if _DEPTH_FORMAT in format_name:
        message = f'{what} is a depth image; give the image of a colour or grey camera'
        raise ImageError(ImageProblem.ENCODING, message)
    mosaic = _MOSAIC_FORMAT.fullmatch(format_name)
    try:
        rgb = rgb_from_encoded(content, max_pixels=max_pixels)
        if mosaic is None:
            return rgb
        grey = np.ascontiguousarray(rgb[..., 0])
        height, width = grey.shape
        return rgb_from_raw(
            grey.data.cast('B'),
            encoding=f'{mosaic[1]}8',
            height=height,
            width=width,
            step=width,
            max_pixels=max_pixels,
        )
    except ImageError as error:
        raise ImageError(error.problem, f'{what} {error}') from error


def _jpeg_pixels(content: Encoded) -> NDArray[Any]:
    """Decode a JPEG; what libjpeg warns of is an error where pixels are lost.

    OpenCV uses the same library, gives the same pixels, and ignores its warnings.
    """
    try:
        return np.asarray(simplejpeg.decode_jpeg(content, 'RGB', strict=True))
    except ValueError as error:
        warning = str(error)
    padding = _JPEG_PADDING.search(warning)
    if padding is not None and int(padding[1]) <= _JPEG_MOST_PADDING:
        with contextlib.suppress(ValueError):
            return np.asarray(simplejpeg.decode_jpeg(content, 'RGB', strict=False))
    if _JPEG_LABELS.search(warning):
        return _opencv_pixels(content, 'JPEG')
    raise _damaged(warning, name='JPEG')


def _opencv_pixels(content: Encoded, name: str) -> NDArray[Any]:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    silent = cv2.utils.logging.LOG_LEVEL_SILENT  # what it logs names no file
    log_level = cv2.utils.logging.setLogLevel(silent)
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        bgr = None
    finally:
        cv2.utils.logging.setLogLevel(log_level)
    if bgr is None:
        reason = 'it cannot be decoded'
        raise _damaged(reason, name=name)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr))


def _damaged(reason: str, *, name: str) -> ImageError:
    return ImageError(ImageProblem.DAMAGED, f'is a damaged {name} file: {reason}')
