# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_core.errors import DataError
from depth_core.images import IMAGE_SUFFIXES, read_image


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    """Smooth and noisy, so that every encoder has something to do; BGR as OpenCV writes it."""
    generator = np.random.default_rng(0)
    smooth = cv2.resize(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8), (140, 100))
    return (smooth // 2 + generator.integers(0, 60, smooth.shape, dtype=np.uint8)).astype(np.uint8)


def write(path: Path, picture: np.ndarray, *options: int) -> Path:
    assert cv2.imwrite(str(path), picture, options)
    return path


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tiff'])
def test_lossless_files_are_read_as_rgb(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = write(tmp_path / f'a{suffix}', picture)
    np.testing.assert_array_equal(read_image(path), picture[..., ::-1])


@pytest.mark.parametrize(
    'options',
    [
        (),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        (cv2.IMWRITE_JPEG_QUALITY, 100),
    ],
)
def test_jpeg_files_of_every_kind_are_whole(
    tmp_path: Path, picture: np.ndarray, options: tuple[int, ...]
) -> None:
    path = write(tmp_path / 'a.jpg', picture, *options)
    assert read_image(path).shape == (100, 140, 3)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(range(256)) * 3)  # phones append films and maps
    assert read_image(path).shape == (100, 140, 3)
    for length in (2, 30, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r'a\.jpg \(\d+ bytes\) is a truncated JPEG'):
            read_image(path)


def test_a_png_shows_every_damage(tmp_path: Path, picture: np.ndarray) -> None:
    path = write(tmp_path / 'a.png', picture)
    whole = path.read_bytes()
    for length in (8, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match='is a truncated PNG'):
            read_image(path)
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(DataError, match='check sum of its IDAT chunk is wrong'):
        read_image(path)


def test_grey_is_stacked_and_alpha_dropped(tmp_path: Path, picture: np.ndarray) -> None:
    grey = read_image(write(tmp_path / 'grey.png', picture[..., 0]))
    np.testing.assert_array_equal(grey, np.dstack([picture[..., 0]] * 3))
    transparent = np.dstack([picture, np.full(picture.shape[:2], 9, np.uint8)])
    path = write(tmp_path / 'transparent.png', transparent)
    np.testing.assert_array_equal(read_image(path), picture[..., ::-1])


def test_sixteen_bits_are_not_cut_to_eight(tmp_path: Path, picture: np.ndarray) -> None:
    path = write(tmp_path / 'deep.png', picture.astype(np.uint16) * 200)
    with pytest.raises(DataError, match='uint16 pixels'):
        read_image(path)


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_something_else_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'a{suffix}'
    for content in (b'', b'not an image', bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf'a\{suffix} \({len(content)} bytes\)'):
            read_image(path)
    with pytest.raises(DataError, match='cannot be read'):
        read_image(tmp_path / f'missing{suffix}')
