# SPDX-License-Identifier: Apache-2.0
"""Pictures of single images: image, ground truth, depth, uncertainty and error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, probability_within_factor
from depth_core.evaluate.panels import Panel
from depth_core.evaluate.plots import encode
from depth_core.preview import ColourScale, colour_depth, matplotlib_scale

_SQUARE: Final = 4
"""This many tiles stand two in a row, whatever their shape."""
_WIDE: Final = 1.9
"""Aspect ratio above which the tiles stand two in a row instead of three."""
_SPARSE: Final = 0.25
"""Share of known pixels below which they are drawn larger, to be seen at all."""
_ERROR_SHOWN: Final = 0.5
"""Relative error that the colour scale of errors ends at."""
_BACKGROUND: Final = '#20242a'
_PAGE_WIDTH_IN: Final = 11.5
_COLUMN_IN: Final = 3.2
"""Least width of a column with a model of several."""
_TITLE_IN: Final = 0.26
_BAR_IN: Final = 0.42
_MARGIN_IN: Final = 0.07


def draw_panel(panel: Panel, scale: ColourScale) -> bytes:
    """One JPEG: image, ground truth, depth, error and, where the model gives it, uncertainty.

    Args:
        panel: What to show.
        scale: The colours of depth.
    """
    tiles: list[Callable[[Axes], object]] = [
        partial(_tile, title='image', values=panel.image),
        partial(_depth, 'ground truth, m', _visible(panel.target_m, smallest=True), scale),
        partial(_depth, 'depth, m', panel.depth_m, scale),
    ]
    if panel.sigma_m is not None:
        confidence = probability_within_factor(panel.depth_m, panel.sigma_m)
        tiles += [
            partial(_scalar, 'sigma, m', panel.sigma_m, _sigma_norm(panel.sigma_m), 'viridis'),
            partial(_scalar, 'confidence', confidence, Normalize(0.0, 1.0), 'cividis'),
        ]
    tiles.append(partial(_error, '|depth - truth| / truth', panel, scale))
    height, width = panel.image.shape[:2]
    columns = _columns(len(tiles), height, width)
    figure, axes = _grid(len(tiles), height, width, columns=columns)
    for tile, place in zip(tiles, axes, strict=True):
        tile(place)
    return encode(figure, 'jpg')


def draw_models(panels: Mapping[str, Panel], scale: ColourScale) -> bytes:
    """One PNG of one image: above the image and the depth of each model, below truth and errors.

    Args:
        panels: What each model made of the image, by its name.
        scale: The colours of depth, the same for all.
    """
    first = next(iter(panels.values()))
    above: list[Callable[[Axes], object]] = [partial(_tile, title='image', values=first.image)]
    truth = _visible(first.target_m, smallest=True)
    below: list[Callable[[Axes], object]] = [partial(_depth, 'ground truth, m', truth, scale)]
    for name, panel in panels.items():
        metrics = panel.sums.metrics()
        above.append(partial(_depth, f'{name}: depth, m', panel.depth_m, scale))
        below.append(
            partial(_error, f'|depth - truth| / truth, mean {metrics.abs_rel:.3f}', panel, scale)
        )
    columns = len(above)
    page_width_in = max(_PAGE_WIDTH_IN, _COLUMN_IN * columns)
    height, width = first.image.shape[:2]
    figure, axes = _grid(2 * columns, height, width, columns=columns, page_width_in=page_width_in)
    for tile, place in zip((*above, *below), axes, strict=True):
        tile(place)
    return encode(figure, 'png')


def _error(title: str, panel: Panel, scale: ColourScale, axes: Axes) -> None:
    """The relative error of depth."""
    depth_m = np.clip(panel.depth_m, 0.0, scale.far)
    with np.errstate(invalid='ignore'):
        error = np.abs(depth_m - panel.target_m) / panel.target_m
    norm = Normalize(0.0, _ERROR_SHOWN, clip=True)
    _scalar(title, _visible(error, smallest=False), norm, 'inferno', axes)


def _columns(count: int, height: int, width: int) -> int:
    return 2 if width / height > _WIDE or count == _SQUARE else 3


def _grid(
    count: int, height: int, width: int, *, columns: int, page_width_in: float = _PAGE_WIDTH_IN
) -> tuple[Figure, list[Axes]]:
    """Tiles of equal size, each with room for its title above and its colour bar at the right."""
    rows = math.ceil(count / columns)
    cell_width_in = page_width_in / columns
    tile_width_in = cell_width_in - _BAR_IN
    tile_height_in = tile_width_in * height / width
    cell_height_in = tile_height_in + _TITLE_IN
    page_height_in = rows * cell_height_in + _MARGIN_IN
    figure = Figure(figsize=(page_width_in, page_height_in), dpi=110)
    axes = []
    for index in range(count):
        row, column = divmod(index, columns)
        bottom_in = page_height_in - row * cell_height_in - cell_height_in
        place_in = (column * cell_width_in, bottom_in, tile_width_in, tile_height_in)
        page_in = (page_width_in, page_height_in, page_width_in, page_height_in)
        left, bottom, wide, high = (a / b for a, b in zip(place_in, page_in, strict=True))
        axes.append(figure.add_axes((left, bottom, wide, high)))
    return figure, axes


def _sigma_norm(sigma_m: Float32Array) -> LogNorm:
    positive = sigma_m[np.isfinite(sigma_m) & (sigma_m > 0.0)]
    low, high = np.quantile(positive, (0.01, 0.99)).tolist() if positive.size else (0.1, 1.0)
    low = max(low, 1e-3)
    return LogNorm(low, max(high, 1.2 * low), clip=True)


def _depth(title: str, depth_m: Float32Array, scale: ColourScale, axes: Axes) -> None:
    """Depth in the colours that it has everywhere in this package."""
    _tile(axes, title, colour_depth(depth_m, scale))
    _bar(axes, matplotlib_scale(scale))


def _scalar(
    title: str, values: NDArray[np.floating], norm: Normalize, colours: str, axes: Axes
) -> None:
    _bar(axes, _tile(axes, title, values, norm=norm, colours=colours))


def _bar(axes: Axes, shown: ScalarMappable) -> None:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)  # noqa: S101  no subfigures here
    place = axes.inset_axes((1.01, 0.0, 0.02, 1.0))
    bar = figure.colorbar(shown, cax=place)
    if isinstance(shown.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(FormatStrFormatter('%g'))
        bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=7, length=2, pad=1)
    bar.outline.set_visible(False)


def _tile(
    axes: Axes,
    title: str,
    values: NDArray[np.generic],
    *,
    norm: Normalize | None = None,
    colours: str | None = None,
) -> ScalarMappable:
    axes.set_title(title, fontsize=8, loc='left', pad=3, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_facecolor(_BACKGROUND)
    return axes.imshow(values, norm=norm, cmap=colours, interpolation='nearest')


def _visible(plane: Float32Array, *, smallest: bool) -> Float32Array:
    """Draw scattered values as blocks; where blocks meet, the smallest or largest value wins."""
    known = np.isfinite(plane)
    if known.mean() > _SPARSE:
        return plane
    empty = np.float32(np.inf if smallest else -np.inf)
    filled = np.where(known, plane, empty)
    block = np.ones((3, 3), np.uint8)
    grown = cv2.erode(filled, block) if smallest else cv2.dilate(filled, block)
    shown: Float32Array = np.where(np.isfinite(grown), grown, np.float32(np.nan))
    return shown
