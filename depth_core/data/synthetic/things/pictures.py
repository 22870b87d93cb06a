# SPDX-License-Identifier: Apache-2.0
"""Pictures on posters, books, screens and carpets: drawn here, or photographs of yours."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.errors import DataError
from depth_core.files import visible_paths
from depth_core.images import IMAGE_SUFFIXES, read_image

SIDE: Final = 128
"""Pixels along a picture."""
LEVELS: Final = 6
"""Sizes of each picture, every one half the one before."""
DRAWN: Final = 60
"""Pictures that are drawn when no folder is given."""
_LARGEST_FOLDER: Final = 400
_GAMMA: Final = 2.2


def level_offsets() -> list[int]:
    """Where each size begins within the pixels of a picture, and how many there are in all."""
    sizes = [(SIDE >> level) ** 2 for level in range(LEVELS)]
    return [0, *np.cumsum(sizes).tolist()]


@lru_cache(maxsize=4)
def picture_table(folder: str | None, device: torch.device) -> Tensor:
    """[3, K * pixels] linear colours of K pictures with all their smaller sizes.

    Args:
        folder: Photographs that are taken beside the drawn ones; None takes those alone.
        device: Where to keep them.

    Raises:
        DataError: The folder does not exist, holds no image, or one cannot be read.
    """
    pictures = [_draw(number) for number in range(DRAWN)]
    if folder is not None:
        pictures += [_photograph(path) for path in photographs(Path(folder))]
    columns = []
    for picture in pictures:
        level = picture
        for _ in range(LEVELS):
            columns.append(level.reshape(-1, 3))
            level = level.reshape(level.shape[0] // 2, 2, level.shape[1] // 2, 2, 3).mean((1, 3))
    table = np.ascontiguousarray(np.concatenate(columns).T, np.float32)
    return torch.from_numpy(table).to(device)


def photographs(folder: Path) -> list[Path]:
    """The images of a folder, in order of their names.

    Raises:
        DataError: It does not exist, or holds none.
    """
    found = (
        [path for path in visible_paths(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
        if folder.is_dir()
        else []
    )
    if not found:
        message = (
            f'textures.folder {folder} holds no image; give a folder with photographs '
            f'({", ".join(IMAGE_SUFFIXES)}), or leave it out: pictures are then drawn.'
        )
        raise DataError(message)
    return sorted(found)[:_LARGEST_FOLDER]


def _photograph(path: Path) -> NDArray[np.float32]:
    image = read_image(path)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray((small / 255.0) ** _GAMMA, np.float32)


def _draw(number: int) -> NDArray[np.float32]:
    source = np.random.default_rng(1000 + number)
    makers = (_document, _cover, _landscape, _desktop, _patches, _carpet)
    canvas = makers[number % len(makers)](source)
    return np.asarray(np.clip(canvas, 0.01, 0.95), np.float32)


def _colour(source: np.random.Generator) -> NDArray[np.float64]:
    colour = source.uniform(0.02, 0.8, 3)
    return np.asarray(colour * source.choice((0.4, 1.0, 1.0)))


def _clouds(source: np.random.Generator, power: float) -> NDArray[np.float64]:
    """[SIDE, SIDE] periodic noise in [0, 1], smoother for a larger power."""
    line = np.fft.fftfreq(SIDE)
    frequency = np.hypot(line[:, None], line[None]) + 0.5 / SIDE
    spectrum = np.fft.fft2(source.standard_normal((SIDE, SIDE))) / frequency**power
    noise = np.fft.ifft2(spectrum).real
    return np.asarray((noise - noise.min()) / np.ptp(noise))


def _lines(
    canvas: NDArray[np.float64],
    source: np.random.Generator,
    box: tuple[int, int, int, int],
    step: int,
    ink: NDArray[np.float64],
) -> None:
    """Lines of words in rows top to bottom, columns left to right."""
    top, bottom, left, right = box
    for row in range(top, bottom - step // 2, step):
        column = left
        end = right if source.random() < 0.8 else (left + right) // 2
        while column < end - 3:
            word = int(source.integers(3, 4 + 2 * step))
            tall = max(step // 2, 1)
            block = canvas[row : row + tall, column : min(column + word, end)]
            block[source.random(block.shape[:2]) < 0.75] = ink
            column += word + max(step // 3, 1)


def _document(source: np.random.Generator) -> NDArray[np.float64]:
    canvas = np.ones((SIDE, SIDE, 3)) * source.uniform(0.6, 0.9)
    ink = np.full(3, 0.03)
    _lines(canvas, source, (8, 26, 10, 118), 10, _colour(source))
    if source.random() < 0.5:
        canvas[34:70, 14:60] = _landscape(source)[34:70, 14:60]
        _lines(canvas, source, (34, 70, 66, 118), 5, ink)
        _lines(canvas, source, (76, 120, 10, 118), 5, ink)
    else:
        _lines(canvas, source, (34, 120, 10, 118), 5, ink)
    return canvas


def _cover(source: np.random.Generator) -> NDArray[np.float64]:
    down = np.linspace(0.0, 1.0, SIDE)[:, None, None]
    canvas = _colour(source) * (1.0 - down) + _colour(source) * down + np.zeros((SIDE, SIDE, 3))
    row, column = np.mgrid[:SIDE, :SIDE]
    for _ in range(int(source.integers(1, 4))):
        y, x, radius = source.uniform(30, 110), source.uniform(10, 118), source.uniform(8, 40)
        canvas[np.hypot(row - y, column - x) < radius] = _colour(source)
    ink = np.full(3, 0.9) if canvas.mean() < 0.35 else np.full(3, 0.02)
    _lines(canvas, source, (10, 40, 10, 118), int(source.integers(9, 16)), ink)
    return canvas


def _landscape(source: np.random.Generator) -> NDArray[np.float64]:
    row = np.arange(SIDE)[:, None] / SIDE
    horizon = source.uniform(0.3, 0.7) + 0.12 * (_clouds(source, 2.0)[:1] - 0.5)
    sky = (
        np.array((0.3, 0.5, 0.9)) * source.uniform(0.5, 1.0)
        + 0.3 * _clouds(source, 1.6)[..., None]
    )
    land = _colour(source) * (0.4 + _clouds(source, 1.0))[..., None]
    canvas = np.where((row < horizon)[..., None], sky, land)
    y, x = np.mgrid[:SIDE, :SIDE]
    for _ in range(int(source.integers(0, 6))):
        cy, cx, ry, rx = source.uniform(40, 120), source.uniform(0, 128), *source.uniform(4, 26, 2)
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1.0
        shade = 1.2 - 0.8 * (x - cx + rx)[inside] / (2.0 * rx)
        canvas[inside] = _colour(source) * shade[:, None]
    return canvas * source.uniform(0.6, 1.0)


def _desktop(source: np.random.Generator) -> NDArray[np.float64]:
    canvas = (
        _landscape(source)
        if source.random() < 0.5
        else np.zeros((SIDE, SIDE, 3)) + _colour(source)
    )
    for _ in range(int(source.integers(1, 4))):
        top, left = source.integers(4, 60, 2)
        bottom, right = top + int(source.integers(30, 64)), left + int(source.integers(40, 66))
        dark = source.random() < 0.5
        canvas[top:bottom, left:right] = 0.02 if dark else 0.85
        canvas[top : top + 5, left:right] = _colour(source)
        ink = _colour(source) + 0.3 if dark else np.full(3, 0.05)
        _lines(
            canvas,
            source,
            (int(top) + 9, min(bottom, 124), int(left) + 4, min(right, 126)),
            5,
            ink,
        )
    canvas[-6:] = 0.05
    return canvas


def _patches(source: np.random.Generator) -> NDArray[np.float64]:
    canvas = np.zeros((SIDE, SIDE, 3)) + _colour(source)
    for _ in range(int(source.integers(4, 20))):
        y, x = source.integers(0, 110, 2)
        high, wide = source.integers(6, 60, 2)
        canvas[y : y + high, x : x + wide] = _colour(source)
    _lines(canvas, source, (20, 108, 12, 116), int(source.integers(12, 30)), _colour(source))
    return canvas


def _carpet(source: np.random.Generator) -> NDArray[np.float64]:
    row, column = np.mgrid[:SIDE, :SIDE]
    a, b, c = source.uniform(0.05, 0.5, 3)
    wave = np.sin(a * row) * np.sin(b * column) + 0.6 * np.sin(c * np.hypot(row - 64, column - 64))
    share = (wave > source.uniform(-0.6, 0.6))[..., None]
    canvas = np.where(share, _colour(source), _colour(source))
    edge = np.minimum(np.minimum(row, column), np.minimum(127 - row, 127 - column))
    canvas[(edge > 4) & (edge < 11)] = _colour(source)
    return canvas * (0.8 + 0.4 * _clouds(source, 0.5))[..., None]
