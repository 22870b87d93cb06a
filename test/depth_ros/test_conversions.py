# SPDX-License-Identifier: Apache-2.0
"""Each encoding gives the colours that were put in, and wrong messages name their fault."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_ros.conversions import (
    ENCODINGS,
    image_message,
    millimetres,
    rgb_from_compressed,
    rgb_from_image,
)
from depth_ros.drops import DropReason, FrameError

COLOUR = (200, 100, 30)
"""An RGB in which no two channels can be confused."""
GREY = round(0.299 * 200 + 0.587 * 100 + 0.114 * 30)


def flat(*values: int, height: int = 6, width: int = 8, dtype: str = 'u1') -> NDArray[Any]:
    return np.broadcast_to(np.array(values, dtype), (height, width, len(values))).copy()


def mosaic(pattern: str, dtype: str = 'u1', factor: int = 1) -> NDArray[Any]:
    """A Bayer image of a surface that has COLOUR everywhere."""
    value = dict(zip('rgb', COLOUR, strict=True))
    tile = np.array([value[letter] * factor for letter in pattern], dtype).reshape(2, 2)
    return np.tile(tile, (4, 5))


def yuv_pixels(order: str) -> NDArray[np.uint8]:
    """Two pixels of COLOUR share one u and one v (BT.601, studio range, as cameras send it)."""
    r, g, b = COLOUR
    part = {
        'y': 16 + round(0.257 * r + 0.504 * g + 0.098 * b),
        'u': 128 + round(-0.148 * r - 0.291 * g + 0.439 * b),
        'v': 128 + round(0.439 * r - 0.368 * g - 0.071 * b),
    }
    pair = np.array([part[letter] for letter in order], np.uint8)
    return np.tile(pair, (6, 4)).reshape(6, 8, 2)


def message(
    pixels: NDArray[Any], encoding: str, *, padding: int = 0, big_endian: bool = False
) -> Image:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    ordered = rows.astype(rows.dtype.newbyteorder('>' if big_endian else '<'))
    raw = ordered.view(np.uint8).reshape(height, -1)
    padded = np.pad(raw, ((0, 0), (0, padding)), constant_values=77)
    result = Image(height=height, width=width, encoding=encoding, is_bigendian=int(big_endian))
    result.step = padded.shape[1]
    result.data = array.array('B', padded.tobytes())
    return result


R, G, B = COLOUR
CASES: dict[str, tuple[NDArray[Any], tuple[int, int, int]]] = {
    'rgb8': (flat(R, G, B), COLOUR),
    'bgr8': (flat(B, G, R), COLOUR),
    '8UC3': (flat(B, G, R), COLOUR),
    'rgba8': (flat(R, G, B, 9), COLOUR),
    'bgra8': (flat(B, G, R, 9), COLOUR),
    'mono8': (flat(GREY)[..., 0], (GREY,) * 3),
    '8UC1': (flat(GREY)[..., 0], (GREY,) * 3),
    'mono16': (flat(GREY * 256 + 17, dtype='u2')[..., 0], (GREY,) * 3),
    'yuv422': (yuv_pixels('uyvy'), COLOUR),
    'uyvy': (yuv_pixels('uyvy'), COLOUR),
    'yuv422_yuy2': (yuv_pixels('yuyv'), COLOUR),
    'yuyv': (yuv_pixels('yuyv'), COLOUR),
    **{f'bayer_{p}8': (mosaic(p), COLOUR) for p in ('rggb', 'bggr', 'gbrg', 'grbg')},
    **{f'bayer_{p}16': (mosaic(p, 'u2', 257), COLOUR) for p in ('rggb', 'bggr', 'gbrg', 'grbg')},
}


def test_every_encoding_has_a_case() -> None:
    assert set(CASES) == set(ENCODINGS)


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_each_encoding_gives_rgb(encoding: str, padding: int) -> None:
    pixels, expected = CASES[encoding]
    rgb = rgb_from_image(message(pixels, encoding, padding=padding))
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.shape == (*pixels.shape[:2], 3)
    tolerance = 3 if encoding[0] in 'uy' else 0  # rounding of the colour space
    np.testing.assert_allclose(rgb.astype(int), np.full(rgb.shape, expected), atol=tolerance)


def test_rows_and_columns_keep_their_places() -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    np.testing.assert_array_equal(rgb_from_image(message(pixels, 'rgb8', padding=1)), pixels)


@pytest.mark.parametrize('encoding', ['mono16', 'bayer_rggb16'])
def test_sixteen_bit_images_are_read_in_both_byte_orders(encoding: str) -> None:
    pixels, expected = CASES[encoding]
    rgb = rgb_from_image(message(pixels, encoding, padding=2, big_endian=True))
    np.testing.assert_array_equal(rgb, np.full(rgb.shape, expected))


def test_a_last_row_without_padding_is_accepted() -> None:
    given = message(CASES['rgb8'][0], 'rgb8', padding=8)
    del given.data[-8:]
    np.testing.assert_array_equal(rgb_from_image(given), CASES['rgb8'][0])


def refused(given: Image) -> FrameError:
    with pytest.raises(FrameError) as caught:
        rgb_from_image(given)
    return caught.value


def test_an_unknown_encoding_is_answered_with_the_nearest() -> None:
    error = refused(message(flat(1, 2, 3), 'rbg8'))
    assert error.reason is DropReason.ENCODING
    assert "'rbg8'" in str(error)
    assert "did you mean 'rgb8'" in str(error)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'step': 23}, 'step is 23 bytes, a row needs at least 24'),
        ({'height': 7}, '144 bytes arrived'),
        ({'height': 5}, '144 bytes arrived'),
        ({'height': 0}, 'at least 1'),
        ({'width': 0}, 'at least 1'),
        ({'step': 4_000_000_000}, '144 bytes arrived'),
        ({'width': 2**32 - 1, 'step': 2**32 - 1}, 'a row needs'),
    ],
)
def test_contradicting_sizes_are_refused(change: dict[str, int], said: str) -> None:
    given = message(CASES['rgb8'][0], 'rgb8')
    for name, value in change.items():
        setattr(given, name, value)
    error = refused(given)
    assert error.reason is DropReason.SIZE
    assert said in str(error)


@pytest.mark.parametrize('missing', [1, 24, 144])
def test_truncated_data_are_refused(missing: int) -> None:
    given = message(CASES['rgb8'][0], 'rgb8')
    del given.data[-missing:]
    assert refused(given).reason is DropReason.SIZE


def test_an_odd_width_cannot_be_yuv422() -> None:
    given = message(yuv_pixels('uyvy')[:, :7], 'yuv422')
    assert 'must be even' in str(refused(given))


def compressed(suffix: str, **changes: Any) -> CompressedImage:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30] = COLOUR
    encoded = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    result = CompressedImage(format=changes.get('format', f'bgr8; {suffix[1:]} compressed bgr8'))
    result.data = array.array('B', encoded.tobytes())
    return result


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.png', 0), ('.jpg', 6)])
def test_compressed_images_give_rgb(suffix: str, tolerance: int) -> None:
    rgb = rgb_from_compressed(compressed(suffix))
    assert rgb.shape == (40, 60, 3)
    np.testing.assert_allclose(rgb[20, 10].astype(int), COLOUR, atol=tolerance)
    np.testing.assert_allclose(rgb[20, 50].astype(int), 0, atol=tolerance)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('share', [0.5, 0.9])
def test_a_compressed_image_cut_short_is_refused(suffix: str, share: float) -> None:
    given = compressed(suffix)
    del given.data[int(len(given.data) * share) :]
    with pytest.raises(FrameError, match='cut short') as caught:
        rgb_from_compressed(given)
    assert caught.value.reason is DropReason.CORRUPT


@pytest.mark.parametrize('data', [b'', b'\xff', b'not an image at all', b'\xff\xd8\xff\xd9'])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        rgb_from_compressed(CompressedImage(format='jpeg', data=array.array('B', data)))
    assert caught.value.reason is DropReason.CORRUPT


def test_a_compressed_depth_image_is_refused_by_name() -> None:
    with pytest.raises(FrameError, match='depth image') as caught:
        rgb_from_compressed(compressed('.png', format='32FC1; compressedDepth png'))
    assert caught.value.reason is DropReason.ENCODING


def test_an_image_message_holds_the_array_and_the_header() -> None:
    header = Header(frame_id='camera_optical_frame')
    header.stamp.sec, header.stamp.nanosec = 12, 345
    depth = np.array([[1.5, np.nan, np.inf], [-np.inf, 0.25, 80.0]], np.float32)
    given = image_message(depth, '32FC1', header)
    assert (given.height, given.width, given.step, given.encoding) == (2, 3, 12, '32FC1')
    assert given.header == header
    assert given.is_bigendian == (sys.byteorder == 'big')
    np.testing.assert_array_equal(np.frombuffer(given.data, np.float32).reshape(2, 3), depth)


def test_millimetres_round_and_never_wrap() -> None:
    depth = np.array(
        [0.0004, 0.0006, 1.2344, 1.2346, 65.535, 65.536, 1e9, np.nan, np.inf, -np.inf, -1.0],
        np.float32,
    )
    np.testing.assert_array_equal(
        millimetres(depth[None]), [[0, 1, 1234, 1235, 65535, 0, 0, 0, 0, 0, 0]]
    )
