# SPDX-License-Identifier: Apache-2.0
"""Draw what the node published for one image, beside the true depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from depth_core.contracts import Float32Array
from depth_core.files import replaced_atomically
from depth_core.geometry import intrinsics_from_matrix, unproject
from depth_core.preview import ColourScale, colour_depth, matplotlib_scale, scale_of_range
from depth_ros.demo.monitor import Answer

SIZE_INCHES: Final = (15.0, 7.6)
DOTS_PER_INCH: Final = 110
POINTS_DRAWN: Final = 40_000

_UNKNOWN: Final = '0.75'


def draw_answer(
    answer: Answer, *, title: str, path: Path, scale: ColourScale | None = None
) -> None:
    """Write a PNG: image, depth, true depth; sigma, confidence, the cloud from above.

    Depth and true depth have the colours of the node's preview; black is unknown.

    Args:
        answer: What is drawn.
        title: Line above the panels.
        path: The PNG.
        scale: The colours of depth; None spreads them over the range of the true depth.

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
    for axis, name, depth_m in (
        (axes[0, 1], 'depth', answer.depth_m),
        (axes[0, 2], 'true depth', answer.truth_m),
    ):
        _panel(axis, f'{name} (m)', colour_depth(depth_m, scale))
        _colour_bar(figure, matplotlib_scale(scale), axis, ticks=_ticks(scale.near, scale.far))
    sigma_m = _finite(answer.sigma_m)
    top = float(np.percentile(sigma_m.compressed(), 98)) if sigma_m.count() else 1.0
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
    axis.set_title(title, fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_facecolor(_UNKNOWN)
    return axis.imshow(picture, interpolation='nearest', **options)


def _colour_bar(figure: Figure, shown: Any, axis: Any, ticks: Any = None) -> None:  # noqa: ANN401
    bar = figure.colorbar(shown, ax=axis, shrink=0.8, pad=0.02, ticks=ticks)
    bar.minorticks_off()
    if ticks is not None:
        bar.ax.set_yticklabels([f'{tick:g}' for tick in ticks])


def _from_above(axis: Any, answer: Answer, high_m: float) -> None:  # noqa: ANN401 matplotlib
    height, width = answer.truth_m.shape
    intrinsics = intrinsics_from_matrix(answer.matrix, height=height, width=width)
    truth_m = unproject(answer.truth_m, intrinsics).reshape(-1, 3)
    truth_m = truth_m[np.isfinite(truth_m).all(axis=1)]
    for points_m, colour, label in (
        (truth_m, '0.7', 'truth'),
        (answer.points_m, 'tab:red', 'cloud'),
    ):
        step = max(1, len(points_m) // POINTS_DRAWN)
        axis.plot(*points_m[::step, [0, 2]].T, ',', color=colour, rasterized=True, label=label)
    reach_m = high_m * width / 2.0 / answer.matrix[0, 0]
    axis.set(xlim=(-reach_m, reach_m), ylim=(0.0, high_m), aspect='equal')
    axis.set_xlabel('x, to the right (m)')
    axis.set_ylabel('z, ahead (m)')
    axis.set_title('cloud from above (red) on the truth (grey)', fontsize=10)


def _depth_range(answer: Answer) -> tuple[float, float]:
    known = _finite(answer.truth_m).compressed()
    if known.size == 0:
        known = _finite(answer.depth_m).compressed()
    if known.size == 0:
        return 0.1, 100.0
    low_m, high_m = np.percentile(known, (1, 98))
    return float(low_m), float(max(high_m, low_m * 1.5))


def _ticks(low_m: float, high_m: float) -> list[float]:
    steps = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0)
    return [step for step in steps if low_m <= step <= high_m]


def _finite(values: Float32Array) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.masked_invalid(values)
