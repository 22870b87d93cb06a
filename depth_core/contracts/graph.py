# SPDX-License-Identifier: Apache-2.0
"""What a graph takes and what its numbers mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from depth_core.contracts.depth import DepthKind
from depth_core.errors import ConfigError, PlacedError

_SCALE: Final = 1.0 / 255.0
_LONGEST: Final = 16
_MOST_PIXELS: Final = 61_000_000
"""Of an input: what the largest image that is read has."""
_MOST_IMAGES: Final = 1024
"""Of a fixed batch."""
_NO_MEAN: Final = (0.0, 0.0, 0.0)
_BLACK: Final = (0.0, 0.0, 0.0)
_NO_STD: Final = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class SizeRule:
    """How the size of the input follows from the shape of the images of a camera."""

    mode: Literal['short', 'long', 'pixels']
    """What `target` is: the shorter side, the longer side, or the number of all pixels."""
    target: int
    """Pixels."""
    round: Literal['nearest', 'up', 'down'] = 'nearest'
    """How sides are brought to a multiple."""

    def __post_init__(self) -> None:
        if self.target < 1:
            message = f'input.size.target is {self.target}; give at least 1 pixel.'
            raise ConfigError(message)

    def choose(
        self, height: int, width: int, *, multiple: int = 1, min_side: int = 1
    ) -> tuple[int, int]:
        """(height, width) of the input for images of `height` x `width`.

        Both are multiples, and neither is below `min_side`: a side that would be is brought to it
        alone, so that a very long image does not cost many times the target.

        Raises:
            ConfigError: The shorter side is to be brought to a size, and the longer one would
                be more than `_LONGEST` times that.
        """
        if self.mode == 'short' and max(height, width) > _LONGEST * min(height, width):
            message = (
                f'images of {height}x{width} have a side more than {_LONGEST} times as long as '
                f'the other, which {self.target} pixels are to be made of; cut them, or use a '
                'rule for the longer side or for all pixels.'
            )
            raise ConfigError(message)
        side = {'short': min(height, width), 'long': max(height, width)}.get(self.mode)
        scale = math.sqrt(self.target / (height * width)) if side is None else self.target / side
        rounded = _ROUNDINGS[self.round]
        fewest = least_multiples(min_side, multiple)
        rows, columns = (
            max(rounded(_exact(length * scale / multiple)), fewest) * multiple
            for length in (height, width)
        )
        _limit_pixels(rows, columns)
        return rows, columns


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a graph takes.

    The graph contract of this package is `image`: uint8, NHWC, RGB, unnormalised. Foreign graphs
    declare another layout, type or normalisation here and `runtime.predictor` serves it.
    """

    height: int
    """Rows the graph takes, pixels; with a size rule those for images of 4:3, until a camera is
    known."""
    width: int
    """Columns the graph takes, pixels; likewise."""
    name: str = 'image'
    """Tensor name in the graph."""
    layout: Literal['NHWC', 'NCHW'] = 'NHWC'
    dtype: Literal['uint8', 'float32', 'float16'] = 'uint8'
    channels: Literal['RGB', 'BGR'] = 'RGB'
    mean: tuple[float, float, float] = _NO_MEAN
    """Subtracted from the image in [0, 1], in channel order; floating inputs only."""
    std: tuple[float, float, float] = _NO_STD
    """Divides the image after `mean`; floating inputs only."""
    scale: float = _SCALE
    """Multiplies uint8 codes before `mean`; 1 keeps codes 0..255. Floating inputs only."""
    batch: int = 1
    """Images the graph takes at once; 0 leaves their number free."""
    size: SizeRule | None = None
    """How height and width follow from the camera; None when they are fixed."""
    multiple: int = 1
    """Height and width have to be multiples of this."""
    min_side: int = 1
    """Neither height nor width may be below this, pixels."""
    resize: Literal['stretch', 'keep_aspect', 'letterbox', 'crop'] = 'stretch'
    """How an image is brought to that size. stretch: each side by its own factor. keep_aspect:
    the size is chosen for the shape of the image, what rounding leaves is stretched. letterbox:
    by one factor, the rest is padding. crop: by one factor, what does not fit is cut off."""
    anchor: Literal['center', 'topleft'] = 'center'
    """Where the image lies in what letterbox pads, and what crop keeps."""
    pad_rgb: tuple[float, float, float] = _BLACK
    """Colour of the padding, codes 0..255; of the normalised input when it is padded later."""
    pad_stage: Literal['pre_norm', 'post_norm'] = 'pre_norm'
    """Whether the padding is normalised like the image."""
    interp: Literal['auto', 'nearest', 'bilinear', 'bicubic', 'area'] = 'auto'
    """How pixels are resampled; auto averages over areas where the image shrinks and is bilinear
    where it grows."""
    antialias: bool = True
    """Whether bilinear and bicubic average over more pixels where the image shrinks."""

    def __post_init__(self) -> None:
        for key, side in (('height', self.height), ('width', self.width)):
            if side < 1:
                message = f'input.{key} is {side}; give at least 1 pixel.'
                raise ConfigError(message)
        _limit_pixels(self.height, self.width)
        if not 0 <= self.batch <= _MOST_IMAGES:
            message = (
                f'input.batch is {self.batch}; give at least 1 and at most {_MOST_IMAGES}, or '
                '0 where the number of images is free.'
            )
            raise ConfigError(message)
        self._check_multiple()
        self._check_used()
        for key, values in (('std', self.std), ('scale', (self.scale,))):
            if not all(value > 0.0 for value in values):
                shown = values[0] if len(values) == 1 else list(values)
                message = f'input.{key} is {shown}; give positive numbers.'
                raise ConfigError(message)
        if any(not 0.0 <= code <= _WHITE for code in self.pad_rgb) and (
            self.pad_stage == 'pre_norm'
        ):
            message = f'input.pad_rgb is {list(self.pad_rgb)}; give codes 0 to 255, one a channel.'
            raise ConfigError(message)

    def _check_used(self) -> None:
        """Refuse what would be passed over."""
        if self.resize == 'keep_aspect' and self.size is None:
            message = (
                f'input.resize is keep_aspect and input.size is fixed at {self.height}x'
                f'{self.width}; one size keeps the aspect by letterbox or crop: give one of them, '
                'stretch, or a rule for the size.'
            )
            raise ConfigError(message)
        if self.resize != 'letterbox' and self.pad_rgb != _BLACK:
            message = (
                f'input.pad_rgb is {list(self.pad_rgb)} and input.resize is {self.resize}; only '
                'letterbox pads: say so, or leave pad_rgb out.'
            )
            raise ConfigError(message)
        plain = self.mean == _NO_MEAN and self.std == _NO_STD and self.scale in {_SCALE, 1.0}
        if self.dtype == 'uint8' and not plain:
            message = (
                f'input.dtype is uint8 with scale {self.scale:g}, mean {list(self.mean)} and std '
                f'{list(self.std)}; codes are given as they are: leave scale, mean and std out.'
            )
            raise ConfigError(message)

    def _check_multiple(self) -> None:
        for key, value in (('multiple', self.multiple), ('min_side', self.min_side)):
            if value < 1:
                message = f'input.size.{key} is {value}; give at least 1.'
                raise ConfigError(message)
        sides = {'height': self.height, 'width': self.width}
        for key, side in sides.items():
            if side < self.min_side:
                message = (
                    f'input.{key} is {side} and input.size.min_side is {self.min_side}; give a '
                    f'{key} of at least {self.min_side}, or a smaller min_side.'
                )
                raise ConfigError(message)
        if self.size is not None and self.size.mode != 'pixels':
            sides = {'size.target': self.size.target}
        for key, side in sides.items():
            if side % self.multiple:
                nearest = max(round(side / self.multiple), 1) * self.multiple
                message = (
                    f'input.{key} is {side}, which {self.multiple} does not divide; give a '
                    f'multiple of {self.multiple}: {nearest} is the nearest.'
                )
                raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One plane of an output that holds several."""

    axis: int
    """Which axis of the output holds them; negative ones count from the last."""
    index: int
    """Which of them the depth is."""

    def __post_init__(self) -> None:
        if self.index < 0:
            raise PlacedError(
                key='index', value=self.index, rule='give 0 or more; planes count from 0'
            )


@dataclass(frozen=True, kw_only=True)
class SigmoidRange:
    """What a sigmoid disparity s in [0, 1] stands for: 1/z = 1/max + (1/min - 1/max) s."""

    min: float
    """Depth at s = 1."""
    max: float
    """Depth at s = 0."""

    def __post_init__(self) -> None:
        if not 0.0 < self.min < self.max:
            message = (
                f'depth.sig.min is {self.min} and depth.sig.max is {self.max}; give 0 < min < max.'
            )
            raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """What the numbers of a graph mean.

    What is served is decoded in this order: one plane of `depth`, its `coding`, the shift, the
    focal length of the image the network saw over the canonical one, the scale the graph states,
    `unit_m` and `scale_correction`, the range.
    """

    kind: DepthKind
    """What the numbers are once decoded."""
    min_depth: float
    """Smallest depth the graph can state, metres (in the graph's unit when up to scale)."""
    max_depth: float
    """Largest depth the graph can state, metres; at or above it means 'beyond'."""
    depth: str = 'depth'
    """Tensor name of the depth output."""
    sigma: str | None = 'sigma'
    """Tensor name of the standard deviation output; None when the graph has none."""
    unit_m: float = 1.0
    """Metres in one unit of the depth output (0.001 for a graph that answers millimetres)."""
    coding: Literal['depth', 'inverse', 'sigmoid_disparity'] = 'depth'
    """What the graph's own numbers are: those of `kind`, their inverse, or a sigmoid s."""
    saturates: bool = False
    """Whether the graph's own answer ends at the range: that is in the graph's unit then, and
    grows with what the answer is multiplied by. Otherwise it is in metres."""
    rank_hint: int | None = None
    """How many axes the depth output has; None takes what the graph says."""
    channel: Channel | None = None
    """Which plane of it is the depth; None when it has only one."""
    canonical_focal_px: float | None = None
    """Focal length the answer is stated for; canonical depth only."""
    focal: Literal['mean', 'fx', 'fy'] = 'mean'
    """Which focal length of the image the network saw counts."""
    eps_inverse: float = 1e-4
    """An inverse below this counts as this, so that its depth is finite."""
    sig: SigmoidRange | None = None
    """Depths at the ends of a sigmoid disparity."""
    scale_correction: float = 1.0
    """Multiplies what comes out: measured with a known distance."""
    own_focal_output: str | None = None
    """Tensor with the focal length the graph assumed, pixels of its input; where the camera is
    known the answer is brought from that to the camera's."""
    fov_output: str | None = None
    """The same as a horizontal field of view in degrees."""
    scale_output: str | None = None
    """Tensor with a factor for each image."""
    shift: Literal['none', 'median_from_K'] = 'none'
    """median_from_K: the planes are points up to a shift of z, which the camera settles."""

    def __post_init__(self) -> None:
        if not 0.0 < self.min_depth < self.max_depth or not math.isfinite(self.max_depth):
            message = (
                f'depth.min_m is {self.min_depth} and depth.max_m is {self.max_depth} (min_depth '
                'and max_depth of a network); give 0 < min < max, both finite.'
            )
            raise ConfigError(message)
        for key in ('unit_m', 'scale_correction', 'eps_inverse'):
            value = getattr(self, key)
            if not (value > 0.0 and math.isfinite(value)):
                message = f'depth.{key} is {value}; give a positive number.'
                raise ConfigError(message)
        self._check_canonical()
        self._check_together()

    def _check_canonical(self) -> None:
        canonical = self.canonical_focal_px
        if self.kind is DepthKind.CANONICAL and canonical is None:
            message = (
                'depth.canonical_focal_px is missing and the kind is canonical; give the focal '
                'length in pixels that the answers are stated for.'
            )
            raise ConfigError(message)
        if canonical is None:
            return
        if self.kind is not DepthKind.CANONICAL:
            message = (
                f'depth.canonical_focal_px is {canonical} and the kind is {self.kind}; only '
                'canonical depth has one: change the kind, or leave it out.'
            )
            raise ConfigError(message)
        if not (canonical > 0.0 and math.isfinite(canonical)):
            message = f'depth.canonical_focal_px is {canonical}; give a positive focal length.'
            raise ConfigError(message)

    def _check_together(self) -> None:
        problems = []
        if (self.coding == 'sigmoid_disparity') != (self.sig is not None):
            problems.append(
                f'depth.sig is {"missing" if self.sig is None else "given"} and the numbers are '
                f'{self.coding}; a sigmoid_disparity, and nothing else, needs the depths at its '
                'ends: {"min": 0.1, "max": 100}'
            )
        if self.own_focal_output is not None and self.fov_output is not None:
            problems.append(
                f'depth.own_focal_output is {self.own_focal_output!r} and depth.fov_output is '
                f'{self.fov_output!r}; both state a focal length: give one'
            )
        problems.extend(
            f'depth.{key} is {name!r} and depth.kind is {self.kind}; a focal length scales metres '
            'alone: leave it out'
            for key in ('own_focal_output', 'fov_output')
            if (name := getattr(self, key)) is not None and not self.kind.is_metric
        )
        if self.shift != 'none' and (self.channel is None or self.channel.index != _Z):
            problems.append(
                f'depth.shift is {self.shift} and depth.channel is {_shown(self.channel)}; the '
                'shift needs points x, y, z: name their axis, with index 2'
            )
        if self.shift != 'none' and (self.coding != 'depth' or not self.kind.is_metric):
            problems.append(
                f'depth.shift is {self.shift} and depth.kind is {self.kind}; only metric depth, '
                'not an inverse of it, has a shift: set it to none'
            )
        if self.coding == 'inverse' and self.kind is DepthKind.INVERSE:
            problems.append(
                f'depth.coding is inverse and depth.kind is {self.kind}; an inverse of unknown '
                'scale and shift has no inverse to take: give one of them'
            )
        if self.rank_hint is not None and self.rank_hint not in _RANKS:
            problems.append(
                f'depth.rank_hint is {self.rank_hint}; give 2 to 4, the axes of a depth output'
            )
        if problems:
            raise ConfigError('; '.join(problems) + '.')

    @property
    def needs_intrinsics(self) -> bool:
        """Whether metres need the camera, which the graph does not state itself."""
        own = self.own_focal_output is not None or self.fov_output is not None
        return self.shift != 'none' or (self.kind is DepthKind.CANONICAL and not own)


def _shown(channel: Channel | None) -> str:
    return 'missing' if channel is None else f'[axis {channel.axis}, index {channel.index}]'


_WHITE: Final = 255.0
_Z: Final = 2
"""Which coordinate of a point is the depth."""
_RANKS: Final = range(2, 5)


def _limit_pixels(rows: int, columns: int) -> None:
    if rows * columns > _MOST_PIXELS:
        message = (
            f'input.size comes to {rows}x{columns}, {rows * columns} pixels; give a size of at '
            f'most {_MOST_PIXELS} pixels.'
        )
        raise ConfigError(message)


def least_multiples(min_side: int, multiple: int) -> int:
    """How many times `multiple` a side of at least `min_side` has to be."""
    return max(-(-min_side // multiple), 1)


def _nearest(number: float) -> int:
    return math.floor(number + 0.5)


def _exact(number: float) -> float:
    """Without what rounding leaves of a product: a billionth is no reason for another multiple."""
    return round(number, 9)


_ROUNDINGS: Final[Mapping[str, Callable[[float], int]]] = {
    'nearest': _nearest,
    'up': math.ceil,
    'down': math.floor,
}
