# SPDX-License-Identifier: Apache-2.0
"""Each encoding gives the colours that were put in, and sizes that contradict are refused."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.images import ENCODINGS, ImageError, ImageProblem, rgb_from_raw

COLOUR = (200, 100, 30)
"""An RGB in which no two channels can be confused."""
R, G, B = COLOUR
GREY = round(0.299 * R + 0.587 * G + 0.114 * B)
HEIGHT, WIDTH = 6, 8

Y = 16 + round(0.257 * R + 0.504 * G + 0.098 * B)
U = 128 + round(-0.148 * R - 0.291 * G + 0.439 * B)
V = 128 + round(0.439 * R - 0.368 * G - 0.071 * B)
"""BT.601, limited range, as cameras send it."""


def flat(*values: int, dtype: str = 'u1') -> NDArray[Any]:
    return np.tile(np.array(values, dtype), (HEIGHT, WIDTH))


def mosaic(pattern: str, dtype: str = 'u1', factor: int = 1) -> NDArray[Any]:
    """A Bayer image of a surface that has COLOUR everywhere."""
    value = dict(zip('rgb', COLOUR, strict=True))
    tile = np.array([value[letter] * factor for letter in pattern], dtype).reshape(2, 2)
    return np.tile(tile, (HEIGHT // 2, WIDTH // 2))


def planes(*chroma: int, rows: int) -> NDArray[Any]:
    """A plane of Y and `rows` rows of two chroma values in turn."""
    below = np.tile(np.array(chroma, 'u1'), (rows, WIDTH // 2))
    return np.vstack((np.full((HEIGHT, WIDTH), Y, 'u1'), below))


DEEP = {'dtype': 'u2'}
CASES: dict[str, tuple[NDArray[Any], tuple[int, int, int]]] = {
    'rgb8': (flat(R, G, B), COLOUR),
    'bgr8': (flat(B, G, R), COLOUR),
    '8UC3': (flat(B, G, R), COLOUR),
    'rgba8': (flat(R, G, B, 9), COLOUR),
    'bgra8': (flat(B, G, R, 9), COLOUR),
    '8UC4': (flat(B, G, R, 9), COLOUR),
    'mono8': (flat(GREY), (GREY,) * 3),
    '8UC1': (flat(GREY), (GREY,) * 3),
    'mono16': (flat(GREY * 256 + 17, dtype='u2'), (GREY,) * 3),
    '16UC1': (flat(GREY * 256 + 17, dtype='u2'), (GREY,) * 3),
    'rgb16': (flat(R * 256, G * 256 + 255, B * 256 + 7, dtype='u2'), COLOUR),
    'bgr16': (flat(B * 256, G * 256 + 255, R * 256 + 7, dtype='u2'), COLOUR),
    '16UC3': (flat(B * 256, G * 256 + 255, R * 256 + 7, dtype='u2'), COLOUR),
    'rgba16': (flat(R * 256, G * 256, B * 256, 5, dtype='u2'), COLOUR),
    'bgra16': (flat(B * 256, G * 256, R * 256, 5, dtype='u2'), COLOUR),
    '16UC4': (flat(B * 256, G * 256, R * 256, 5, dtype='u2'), COLOUR),
    'yuv422': (np.tile(np.array([U, Y, V, Y], 'u1'), (HEIGHT, WIDTH // 2)), COLOUR),
    'uyvy': (np.tile(np.array([U, Y, V, Y], 'u1'), (HEIGHT, WIDTH // 2)), COLOUR),
    'yuv422_yuy2': (np.tile(np.array([Y, U, Y, V], 'u1'), (HEIGHT, WIDTH // 2)), COLOUR),
    'yuyv': (np.tile(np.array([Y, U, Y, V], 'u1'), (HEIGHT, WIDTH // 2)), COLOUR),
    'nv12': (planes(U, V, rows=HEIGHT // 2), COLOUR),
    'nv21': (planes(V, U, rows=HEIGHT // 2), COLOUR),
    'nv24': (planes(U, V, rows=2 * HEIGHT), COLOUR),
    **{f'bayer_{p}8': (mosaic(p), COLOUR) for p in ('rggb', 'bggr', 'gbrg', 'grbg')},
    **{f'bayer_{p}16': (mosaic(p, 'u2', 257), COLOUR) for p in ('rggb', 'bggr', 'gbrg', 'grbg')},
}


def decoded(
    rows: NDArray[Any],
    encoding: str,
    *,
    padding: int = 0,
    big_endian: bool = False,
    **changes: int,
) -> NDArray[np.uint8]:
    """Decode rows of numbers, after padding and ordering their bytes."""
    ordered = rows.astype(rows.dtype.newbyteorder('>' if big_endian else '<'))
    raw = np.pad(ordered.view(np.uint8), ((0, 0), (0, padding)), constant_values=77)
    given: dict[str, Any] = {'height': HEIGHT, 'width': WIDTH, 'step': raw.shape[1], **changes}
    return rgb_from_raw(raw.tobytes(), encoding=encoding, big_endian=big_endian, **given)


def test_every_encoding_has_a_case() -> None:
    assert set(CASES) == set(ENCODINGS)


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_each_encoding_gives_rgb(encoding: str, padding: int) -> None:
    rows, expected = CASES[encoding]
    if padding and encoding == 'nv24':
        with pytest.raises(ImageError, match='step is 14 bytes, it must be 8'):
            decoded(rows, encoding, padding=padding)
        return
    rgb = decoded(rows, encoding, padding=padding)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    tolerance = 3 if encoding[:2] in {'uy', 'yu', 'nv'} else 0  # rounding of the colour space
    np.testing.assert_allclose(rgb.astype(int), np.full(rgb.shape, expected), atol=tolerance)


@pytest.mark.parametrize('encoding', [name for name in ENCODINGS if '16' in name])
def test_sixteen_bit_images_are_read_in_both_byte_orders(encoding: str) -> None:
    rows, expected = CASES[encoding]
    rgb = decoded(rows, encoding, padding=2, big_endian=True)
    np.testing.assert_array_equal(rgb, np.full(rgb.shape, expected))


def test_rows_and_columns_keep_their_places() -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    for padding in (0, 1):
        rgb = decoded(pixels.reshape(4, 15), 'rgb8', padding=padding, height=4, width=5)
        np.testing.assert_array_equal(rgb, pixels)
    deep = (pixels.astype(np.uint16) * 256 + 3).reshape(4, 15)
    np.testing.assert_array_equal(decoded(deep, 'rgb16', height=4, width=5), pixels)


def test_chroma_keeps_its_place() -> None:
    rows = CASES['nv12'][0].copy()
    rows[HEIGHT:, :2] = V, U  # of the left two columns alone
    left = decoded(rows, 'nv12')[:, :2].astype(int)
    swapped = decoded(np.vstack((rows[:HEIGHT], rows[HEIGHT:, [1, 0] * 4])), 'nv12')[:, :2]
    np.testing.assert_allclose(left, decoded(CASES['nv21'][0], 'nv12')[:, :2], atol=1)
    assert abs(left - swapped).max() > 50
    full = CASES['nv24'][0].copy()
    full[HEIGHT : HEIGHT + 2, :2] = V, U  # the first pixel of the first row: 2 W bytes a row
    changed = np.argwhere((decoded(full, 'nv24') != decoded(CASES['nv24'][0], 'nv24')).any(-1))
    assert changed.tolist() == [[0, 0], [0, 4]]


def test_a_last_row_without_padding_is_accepted() -> None:
    rows = CASES['rgb8'][0]
    padded = np.pad(rows, ((0, 0), (0, 8))).tobytes()[:-8]
    rgb = rgb_from_raw(padded, encoding='rgb8', height=HEIGHT, width=WIDTH, step=32)
    np.testing.assert_array_equal(rgb.reshape(HEIGHT, -1), rows)


def refused(**changes: Any) -> ImageError:
    given: dict[str, Any] = {'encoding': 'rgb8', 'height': HEIGHT, 'width': WIDTH, 'step': 24}
    with pytest.raises(ImageError) as caught:
        rgb_from_raw(changes.pop('data', bytes(144)), **{**given, **changes})
    return caught.value


@pytest.mark.parametrize('encoding', ['rbg8', '', '32FC1', 'RGB8', 'mono12'])
def test_an_unknown_encoding_is_answered_with_those_there_are(encoding: str) -> None:
    error = refused(encoding=encoding)
    assert error.problem is ImageProblem.ENCODING
    assert repr(encoding) in str(error)
    assert 'yuv422_yuy2' in str(error)
    assert "did you mean 'rgb8'" in str(refused(encoding='rbg8'))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'step': 23}, 'step is 23 bytes, a row needs at least 24'),
        ({'step': 0}, 'step is 0 bytes, a row needs at least 24'),
        ({'height': 7}, '144 bytes arrived'),
        ({'height': 5}, '144 bytes arrived'),
        ({'height': 0}, 'at least 1'),
        ({'width': 0}, 'at least 1'),
        ({'step': 4_000_000_000}, '144 bytes arrived'),
        ({'width': 2**32 - 1, 'step': 2**32 - 1}, 'at most 61000000 are read'),
        ({'height': 2**32 - 1, 'step': 2**32 - 1}, 'at most 61000000 are read'),
        ({'max_pixels': 47}, 'image in rgb8 declares 8x6 pixels, and at most 47 are read'),
        ({'data': bytes(143)}, '143 bytes arrived'),
        ({'data': bytes(145)}, '145 bytes arrived'),
        ({'data': b''}, '0 bytes arrived'),
        ({'encoding': 'yuv422', 'width': 7}, 'the width must be even'),
        ({'encoding': 'nv12', 'height': 5}, 'the height must be even'),
        ({'encoding': 'nv12', 'step': 8}, '144 bytes arrived, 9 rows of step 8'),
    ],
)
def test_contradicting_sizes_are_refused(change: dict[str, Any], said: str) -> None:
    error = refused(**change)
    assert error.problem is ImageProblem.SIZE
    assert said in str(error)


def test_a_declared_step_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        for height in (1, 2):
            given: dict[str, Any] = {'height': height, 'width': 1, 'step': 2**32 - 1}
            if height == 1:
                one = rgb_from_raw(bytes([1, 2, 3]), encoding='rgb8', **given)
                assert one.tolist() == [[[1, 2, 3]]]
                two = rgb_from_raw(bytes([3, 9]), encoding='mono16', **given)
                assert two.tolist() == [[[9, 9, 9]]]
            else:
                assert '3 bytes arrived' in str(refused(data=bytes(3), **given))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
