# SPDX-License-Identifier: Apache-2.0
"""Draw what the node published for one image, beside the true depth where that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeGuard

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from depth_core.contracts import Float32Array
from depth_core.files import replaced_atomically
from depth_core.geometry import intrinsics_from_matrix, unproject
from depth_core.preview import ColourScale, colour_depth, matplotlib_scale, scale_of_range
from depth_ros.frames.outputs import PREVIEW
from depth_ros.pictures.answered import Answered

SIZE_INCHES: Final = (15.0, 7.6)
DOTS_PER_INCH: Final = 110
POINTS_DRAWN: Final = 40_000

_UNKNOWN: Final = '0.75'


def draw_answer(
    answer: Answered, *, title: str, path: Path, scale: ColourScale | None = None
) -> None:
    """Write a PNG: image, depth, true depth or preview; sigma, confidence, the cloud from above.

    Depth and true depth have the colours of the node's preview; black is unknown. A panel of
    what did not come stays empty and says so.

    Args:
        answer: What is drawn.
        title: Line above the panels.
        path: The PNG.
        scale: The colours of depth; None spreads them over the range of the true depth, or of
            the depth where that is not known.

    Raises:
        DepthError: The file cannot be written.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(2, 3)
    range_m = _depth_range(answer)
    scale = scale or scale_of_range(range_m)
    _panel(axes[0, 0], 'image', answer.image)
    _depth_panel(figure, axes[0, 1], 'depth (m)', answer.depth_m, scale)
    if answer.truth_m is not None:
        _depth_panel(figure, axes[0, 2], 'true depth (m)', answer.truth_m, scale)
    else:
        _panel(axes[0, 2], PREVIEW, answer.preview)
    sigma_m = None if answer.sigma_m is None else _finite(answer.sigma_m)
    top = float(np.percentile(sigma_m.compressed(), 98)) if _any(sigma_m) else 1.0
    shown = _panel(axes[1, 0], 'sigma (m)', sigma_m, vmin=0.0, vmax=top, cmap='magma')
    _colour_bar(figure, shown, axes[1, 0])
    shown = _panel(
        axes[1, 1],
        'confidence: probability of an error below a factor of 1.25',
        answer.confidence,
        vmin=0.0,
        vmax=1.0,
        cmap='viridis',
    )
    _colour_bar(figure, shown, axes[1, 1])
    _from_above(axes[1, 2], answer, range_m[1])
    with replaced_atomically(path) as temporary:
        figure.savefig(temporary, format='png')


def _panel(axis: Any, title: str, picture: Any, **options: Any) -> Any:  # noqa: ANN401 matplotlib
    """Show a picture; None when there is none."""
    axis.set_title(title, fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_facecolor(_UNKNOWN)
    if picture is None:
        axis.text(0.5, 0.5, 'nothing came', ha='center', transform=axis.transAxes)
        return None
    return axis.imshow(picture, interpolation='nearest', **options)


def _depth_panel(
    figure: Figure,
    axis: Any,  # noqa: ANN401 matplotlib
    title: str,
    depth_m: Float32Array,
    scale: ColourScale,
) -> None:
    _panel(axis, title, colour_depth(depth_m, scale))
    _colour_bar(figure, matplotlib_scale(scale), axis, ticks=_ticks(scale.near, scale.far))


def _colour_bar(figure: Figure, shown: Any, axis: Any, ticks: Any = None) -> None:  # noqa: ANN401
    if shown is None:
        return
    bar = figure.colorbar(shown, ax=axis, shrink=0.8, pad=0.02, ticks=ticks)
    bar.minorticks_off()
    if ticks is not None:
        bar.ax.set_yticklabels([f'{tick:g}' for tick in ticks])


def _from_above(axis: Any, answer: Answered, high_m: float) -> None:  # noqa: ANN401 matplotlib
    if answer.points_m is None or answer.matrix is None:
        _panel(axis, 'cloud from above', None)
        return
    width = answer.depth_m.shape[1]
    truth_m = _true_points(answer)
    for points_m, colour in ((truth_m, '0.7'), (answer.points_m, 'tab:red')):
        step = max(1, len(points_m) // POINTS_DRAWN)
        axis.plot(*points_m[::step, [0, 2]].T, ',', color=colour, rasterized=True)
    reach_m = high_m * width / 2.0 / answer.matrix[0, 0]
    axis.set(xlim=(-reach_m, reach_m), ylim=(0.0, high_m), aspect='equal')
    axis.set_xlabel('x, to the right (m)')
    axis.set_ylabel('z, ahead (m)')
    title = 'cloud from above'
    axis.set_title(f'{title} (red) on the truth (grey)' if len(truth_m) else title, fontsize=10)


def _true_points(answer: Answered) -> Float32Array:
    """[N, 3] the finite points of the true depth, none where it is not known."""
    if answer.truth_m is None or answer.matrix is None:
        return np.empty((0, 3), np.float32)
    height, width = answer.truth_m.shape
    intrinsics = intrinsics_from_matrix(answer.matrix, height=height, width=width)
    points_m = unproject(answer.truth_m, intrinsics).reshape(-1, 3)
    finite: Float32Array = points_m[np.isfinite(points_m).all(axis=1)]
    return finite


def _depth_range(answer: Answered) -> tuple[float, float]:
    for depth_m in (answer.truth_m, answer.depth_m):
        known = None if depth_m is None else _finite(depth_m)
        if known is not None and known.count():
            low_m, high_m = np.percentile(known.compressed(), (1, 98))
            return float(low_m), float(max(high_m, low_m * 1.5))
    return 0.1, 100.0


def _ticks(low_m: float, high_m: float) -> list[float]:
    steps = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0)
    return [step for step in steps if low_m <= step <= high_m]


def _any(values: np.ma.MaskedArray[Any, Any] | None) -> TypeGuard[np.ma.MaskedArray[Any, Any]]:
    return values is not None and bool(values.count())


def _finite(values: Float32Array) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.masked_invalid(values)
