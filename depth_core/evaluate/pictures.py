# SPDX-License-Identifier: Apache-2.0
"""Pictures of single images: image, ground truth, depth, sigma, confidence and error."""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, probability_within_factor
from depth_core.evaluate.plots import encode
from depth_core.evaluate.run import Panel

_TILES: Final = 6
_WIDE: Final = 1.9
"""Aspect ratio above which the tiles stand two in a row instead of three."""
_SPARSE: Final = 0.25
"""Share of known pixels below which they are drawn larger, to be seen at all."""
_ERROR_SHOWN: Final = 0.5
"""Relative error that the colour scale of errors ends at."""
_BACKGROUND: Final = '#20242a'


def draw_panel(panel: Panel, *, max_depth_m: float) -> bytes:
    """One JPEG: image, ground truth, depth, sigma, confidence and error of an image.

    Args:
        panel: What to show.
        max_depth_m: Depth that the colour scale of depths ends at, at most.
    """
    height, width = panel.image.shape[:2]
    columns = 2 if width / height > _WIDE else 3
    rows = math.ceil(_TILES / columns)
    tile = 5.6 if columns == 2 else 3.9  # noqa: PLR2004  inches, the page is 11.5 wide
    figure = Figure(figsize=(tile * columns, rows * (tile * height / width + 0.35)), dpi=110)
    axes = figure.subplots(rows, columns).ravel()
    colour = _depth_scale(panel, max_depth_m)
    confidence = probability_within_factor(panel.depth_m, panel.sigma_m)
    with np.errstate(invalid='ignore'):
        error = np.abs(panel.depth_m - panel.target_m) / panel.target_m
    _tile(axes[0], 'image', panel.image)
    _scalar(axes[1], 'ground truth, m', _visible(panel.target_m, smallest=True), colour)
    depth_m = np.clip(panel.depth_m, colour.vmin, colour.vmax)
    _scalar(axes[2], 'depth, m', depth_m, colour)
    if np.isnan(panel.sigma_m).all():
        axes[3].set_title('the model gives no sigma', fontsize=8)
        axes[3].axis('off')
    else:
        positive = panel.sigma_m[np.isfinite(panel.sigma_m) & (panel.sigma_m > 0.0)]
        low, high = np.quantile(positive, (0.01, 0.99)) if positive.size else (0.1, 1.0)
        norm = LogNorm(max(low, 1e-3), max(high, 1.2 * max(low, 1e-3)), clip=True)
        _scalar(axes[3], 'sigma, m', panel.sigma_m, norm, 'viridis')
    _scalar(axes[4], 'confidence', confidence, Normalize(0.0, 1.0), 'cividis')
    _scalar(
        axes[5],
        '|depth - truth| / truth',
        _visible(error, smallest=False),
        Normalize(0.0, _ERROR_SHOWN, clip=True),
        'inferno',
    )
    figure.subplots_adjust(0.005, 0.005, 0.955, 0.95, wspace=0.13, hspace=0.13)
    return encode(figure, 'jpg')


def _depth_scale(panel: Panel, max_depth_m: float) -> LogNorm:
    shown = np.concatenate(
        [plane[np.isfinite(plane)] for plane in (panel.depth_m, panel.target_m)]
    )
    shown = shown[shown > 0.0]
    if not shown.size:
        return LogNorm(0.1, max_depth_m, clip=True)
    low, high = np.quantile(shown, (0.005, 0.995)).tolist()
    return LogNorm(low, min(max(high, 1.2 * low), max(max_depth_m, 1.2 * low)), clip=True)


def _scalar(
    axes: Axes,
    title: str,
    values: NDArray[np.floating],
    norm: Normalize,
    colours: str = 'turbo_r',
) -> None:
    shown = _tile(axes, title, values, norm=norm, colours=colours)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)  # noqa: S101  no subfigures here
    bar = figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.01)
    bar.ax.tick_params(labelsize=6)


def _tile(
    axes: Axes,
    title: str,
    values: NDArray[np.generic],
    *,
    norm: Normalize | None = None,
    colours: str | None = None,
) -> Any:  # noqa: ANN401  matplotlib's image type is private to it
    axes.set_title(title, fontsize=8, loc='left', pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
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
