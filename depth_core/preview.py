# SPDX-License-Identifier: Apache-2.0
"""Depth as colours, for people to look at: the one scale of the node, the commands and reports.

Near is red and far is blue, in equal steps of the logarithm. The node's pictures go from the
smallest to the largest depth of the model unless other limits are given, so that a depth has the
same colour in every frame; those of commands and reports follow the scene. Nearer and farther
depths, the infinities included, take the colour of their end; NaN is black.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from depth_core.contracts import DepthKind, DepthMap, Float32Array, OutputSpec, Uint8Array
from depth_core.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable

_CODES: Final = 255
_BAR_WIDTH: Final = 14
_BAR_MARGIN: Final = 50
_LINE: Final = 10
"""Least distance of two numbers beside a bar, pixels."""
_TICKS: Final = (1.0, 2.0, 5.0)
_PERCENTILES: Final = (2.0, 98.0)
_NARROWEST: Final = 1.5
"""Least ratio of the limits of a scene: a wall is not all colours."""
_WIDEST: Final = 200.0
"""Ratio of the limits that a model's range is cut to: some state 1 mm as their smallest depth,
which would leave a third of the colours to what a camera sees."""


@dataclass(frozen=True, kw_only=True)
class ColourScale:
    """Which depth has which colour; logarithmic, as errors of depth are relative."""

    near: float
    """Depth of the first colour, red; metres when the depth is metric."""
    far: float
    """Depth of the last colour, blue."""

    def __post_init__(self) -> None:
        if not 0.0 < self.near < self.far < math.inf:
            message = (
                f'a colour scale from {self.near} to {self.far} m is none; give 0 < near < far.'
            )
            raise ConfigError(message)

    def position(self, depth: Float32Array) -> Float32Array:
        """Place each depth on the scale: 0 at `near`, 1 at `far`, NaN where there is none."""
        position = np.clip(depth, np.float32(self.near), np.float32(self.far))
        np.log(position, out=position)
        position -= np.float32(math.log(self.near))
        position /= np.float32(math.log(self.far / self.near))
        return position


def scale_for(
    output: OutputSpec, *, near: float | None = None, far: float | None = None
) -> ColourScale | None:
    """Choose the scale of a graph's answers.

    Args:
        output: What the graph's numbers mean.
        near: Depth of the first colour; None takes the range of the graph, see `scale_of_range`.
        far: Depth of the last colour; None takes the range of the graph.

    Returns:
        The scale, or None for an inverse depth: its range is known from each image only.

    Raises:
        ConfigError: The two do not make a range, or were given for an inverse depth.
    """
    if output.kind is DepthKind.INVERSE:
        if near is not None or far is not None:
            message = 'the model states inverse depth without unit; leave out near_m and far_m.'
            raise ConfigError(message)
        return None
    return scale_of_range((output.min_depth, output.max_depth), near=near, far=far)


def scale_of_range(
    depth_range: tuple[float, float], *, near: float | None = None, far: float | None = None
) -> ColourScale:
    """Choose the scale of depths between two ends, of which the larger is finite and positive.

    A limit that is given holds. One that is not is that of the range, but `near` is at least a
    200th of `far`, and a limit that the given one lies beyond gives way to half or twice that.

    Raises:
        ConfigError: The two given limits do not make a range.
    """
    lowest, highest = depth_range
    if far is None:
        far = highest if near is None else max(highest, 2.0 * near)
    if near is None:
        near = min(max(lowest, far / _WIDEST), far / 2.0)
    return ColourScale(near=near, far=far)


def scale_of_scene(*depths: Float32Array) -> ColourScale | None:
    """Choose the scale of one scene: the middle 96 % of its depths, the same for all of these.

    Args:
        depths: Arrays of depths, for instance the truth and the prediction; what is not finite
            and positive takes no part.

    Returns:
        The scale; None when there is no depth at all.
    """
    known = [depth[np.isfinite(depth) & (depth > 0.0)] for depth in depths]
    values = np.concatenate(known) if known else np.zeros(0, np.float32)
    if not values.size:
        return None
    near, far = np.percentile(values, _PERCENTILES).tolist()
    return ColourScale(near=near, far=max(far, _NARROWEST * near))


def colour_depth(depth: Float32Array, scale: ColourScale | None) -> Uint8Array:
    """Colour a depth map.

    Args:
        depth: [H, W] depth, or inverse depth when there is no scale; NaN and the infinities
            allowed.
        scale: From `scale_for`; None spreads the colours over the values of this image.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    return _colour(_spread(depth) if scale is None else scale.position(depth))


def palette() -> Uint8Array:
    """[256, 3] uint8 RGB, the colours of a scale from near to far."""
    steps = np.linspace(0.0, 1.0, _CODES + 1, dtype=np.float32)
    return _colour(steps[None]).reshape(-1, 3)


def matplotlib_scale(scale: ColourScale) -> ScalarMappable:
    """The same colours as matplotlib takes them: the bar beside a picture of `colour_depth`."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415  only plots need it
    from matplotlib.colors import ListedColormap, LogNorm  # noqa: PLC0415  as above

    colours = ListedColormap((palette() / float(_CODES)).tolist())
    return ScalarMappable(LogNorm(scale.near, scale.far), colours)


def side_by_side(image: Uint8Array, answer: DepthMap, scale: ColourScale | None) -> Uint8Array:
    """Set the image, its coloured depth and, where there is a scale, a bar with metres."""
    parts = [image, colour_depth(answer.depth_m, scale)]
    if scale is not None:
        unit = ' m' if answer.kind.is_metric else ''
        parts.append(colour_bar(scale, image.shape[0], unit))
    return np.hstack(parts)


def _spread(inverse: Float32Array) -> Float32Array:
    """Place inverse depths between the extremes of their image, 0 at the nearest."""
    finite = inverse[np.isfinite(inverse)]
    low, high = np.percentile(finite, _PERCENTILES) if finite.size else (0.0, 1.0)
    position = (high - inverse) / max(high - low, np.finfo(np.float32).tiny)
    return np.clip(position, 0.0, 1.0).astype(np.float32)


def _colour(position: Float32Array) -> Uint8Array:
    unknown = np.isnan(position)
    codes = np.rint(np.float32(_CODES) * (np.float32(1.0) - position))
    codes[unknown] = 0.0
    bgr = cv2.applyColorMap(codes.astype(np.uint8), cv2.COLORMAP_TURBO)
    colours = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)
    if unknown.any():
        colours[unknown] = 0
    return colours


def colour_bar(scale: ColourScale, height: int, unit: str = '') -> Uint8Array:
    """Draw what the colours of a scale mean, to stand beside a picture of `height` rows.

    Args:
        scale: Of the picture.
        height: Rows, pixels.
        unit: Stands behind each number.

    Returns:
        [height, W, 3] RGB; numbers that would lie over each other are left out.
    """
    bar = np.zeros((height, _BAR_WIDTH + _BAR_MARGIN, 3), np.uint8)
    ramp = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None]  # far at the top
    bar[:, :_BAR_WIDTH] = _colour(np.repeat(ramp, _BAR_WIDTH, axis=1))
    decades = range(math.floor(math.log10(scale.near)), math.ceil(math.log10(scale.far)) + 1)
    last = 2 * height
    for tick in (step * 10.0**decade for decade in decades for step in _TICKS):
        if not scale.near <= tick <= scale.far:
            continue
        position = float(scale.position(np.array([tick], np.float32))[0])
        row = round((1.0 - position) * (height - 1))
        bar[row, : _BAR_WIDTH + 3] = _CODES
        baseline = min(max(row + 4, 10), height - 2)
        if last - baseline < _LINE:
            continue
        last = baseline
        where = (_BAR_WIDTH + 5, baseline)
        text = f'{tick:g}{unit}'
        white = (_CODES, _CODES, _CODES)
        cv2.putText(bar, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.38, white, 1, cv2.LINE_AA)
    return bar
