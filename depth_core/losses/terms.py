# SPDX-License-Identifier: Apache-2.0
"""The losses a configuration file lists by name, each with its options and its weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

from depth_core.errors import ConfigError
from depth_core.losses.pointwise import l1, log_l1, silog
from depth_core.losses.scale_invariant import (
    ALIGNMENTS,
    Alignment,
    gradient_matching,
    log_gradient_matching,
    scale_shift_invariant,
    silog_unbiased,
    trimmed_scale_shift_invariant,
)
from depth_core.losses.supervised import berhu, bins_chamfer, gradient_difference, surface_normal


@dataclass(frozen=True, kw_only=True)
class Maps:
    """What the losses of a batch are computed from."""

    depth: Tensor
    """[B, H, W] predicted z-depth, in the unit of the network."""
    target: Tensor
    """[B, H, W] true depth in that unit, 1 where not valid."""
    valid: Tensor
    """[B, H, W] where the truth may be trained on."""
    intrinsics: Tensor
    """[B, 3, 3] cameras, pixels; NaN where not known."""
    bin_centres: Tensor | None = None
    """[B, K] centres of the bins of each image, their means where each pixel has its own; None
    where the network has none."""


class Term(Protocol):
    """One loss of a list."""

    def __call__(self, maps: Maps) -> Tensor:
        """The loss before it is weighted, a scalar."""


@dataclass(frozen=True, kw_only=True)
class L1:
    """Mean absolute error."""

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        return l1(maps.depth, maps.target, maps.valid)


@dataclass(frozen=True, kw_only=True)
class LogL1:
    """Mean |ln depth - ln truth|."""

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        return log_l1(maps.depth, maps.target, maps.valid)


@dataclass(frozen=True, kw_only=True)
class BerHu:
    """Reverse Huber."""

    share: float = 0.2
    """c as a share of the largest error."""

    def __post_init__(self) -> None:
        _within(0.0, 1.0, share=self.share)

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        return berhu(maps.depth, maps.target, maps.valid, share=self.share)


@dataclass(frozen=True, kw_only=True)
class SILog:
    """Scale-invariant logarithmic error, square-root form."""

    variance_focus: float = 0.85
    """1 ignores a common factor, 0 is the plain log RMSE."""
    scale: float = 10.0
    """Factor on the result."""
    unbiased: bool = False
    """Divide the variance by n - 1, as ZoeDepth's code."""

    def __post_init__(self) -> None:
        _within(0.0, 1.0, variance_focus=self.variance_focus)
        if not 0.0 < self.scale < math.inf:
            message = f'scale is {self.scale}; give a number above 0.'
            raise ConfigError(message)

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        pair, scale = (maps.depth, maps.target, maps.valid), self.scale
        if self.unbiased:
            return silog_unbiased(*pair, beta=1.0 - self.variance_focus, scale=scale)
        return silog(*pair, variance_focus=self.variance_focus, scale=scale)


@dataclass(frozen=True, kw_only=True)
class ScaleShiftInvariant:
    """Absolute error after scale and shift have been fitted or taken away."""

    alignment: Alignment = 'least_squares'
    """least_squares, or median and mean deviation."""
    space: Literal['depth', 'inverse'] = 'depth'
    """What is compared: depth, or 1 / depth as MiDaS."""
    trim: float = 0.0
    """Share of the largest residuals of each image that is left out, MiDaS: 0.2; of a trimmed loss
    half is taken, and the mean of the images, as there."""

    def __post_init__(self) -> None:
        _one_of(ALIGNMENTS, alignment=self.alignment)
        _one_of(('depth', 'inverse'), space=self.space)
        _within(0.0, 0.99, trim=self.trim)

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        prediction, target = _in_space(maps, self.space)
        if self.trim:
            return trimmed_scale_shift_invariant(
                prediction, target, maps.valid, alignment=self.alignment, trim=self.trim
            )
        return scale_shift_invariant(prediction, target, maps.valid, alignment=self.alignment)


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """Differences of the error from pixel to pixel."""

    space: Literal['depth', 'log', 'inverse'] = 'depth'
    """depth = forward differences in metres; log = of ln depth at several resolutions; inverse =
    gradient matching of MiDaS, aligned inverse depth at several resolutions."""
    scales: int = 4
    """Resolutions of log and inverse."""

    def __post_init__(self) -> None:
        _one_of(('depth', 'log', 'inverse'), space=self.space)
        _within(1, 16, scales=self.scales)

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        if self.space == 'depth':
            return gradient_difference(maps.depth, maps.target, maps.valid)
        if self.space == 'log':
            return log_gradient_matching(maps.depth, maps.target, maps.valid, scales=self.scales)
        return gradient_matching(*_in_space(maps, 'inverse'), maps.valid, scales=self.scales)


@dataclass(frozen=True, kw_only=True)
class Normal:
    """Angle between the normals of predicted and true surface; needs the camera."""

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        return surface_normal(maps.depth, maps.target, maps.intrinsics, maps.valid)


@dataclass(frozen=True, kw_only=True)
class BinsChamfer:
    """Chamfer distance between the centres of bins and the true depths of an image."""

    def __call__(self, maps: Maps) -> Tensor:
        """The loss."""
        if maps.bin_centres is None:
            message = 'the network has no bins of depth, and loss bins_chamfer is about these.'
            raise ConfigError(message)
        return bins_chamfer(maps.bin_centres, maps.target, maps.valid)


TERMS: Final[Mapping[str, Callable[..., Term]]] = {
    'l1': L1,
    'log_l1': LogL1,
    'berhu': BerHu,
    'silog': SILog,
    'ssi': ScaleShiftInvariant,
    'gradient': Gradient,
    'normal': Normal,
    'bins_chamfer': BinsChamfer,
}
"""Every loss that may stand in a list, by its name there."""


def _in_space(maps: Maps, space: Literal['depth', 'inverse']) -> tuple[Tensor, Tensor]:
    if space == 'depth':
        return maps.depth, maps.target
    depth, target = (torch.where(maps.valid, item, 1.0) for item in (maps.depth, maps.target))
    return depth.reciprocal(), target.reciprocal()


def _within(low: float, high: float, **values: float) -> None:
    for key, value in values.items():
        if not low <= value <= high:
            message = f'{key} is {value}; give a number from {low} to {high}.'
            raise ConfigError(message)


def _one_of(known: tuple[str, ...], **values: str) -> None:
    for key, value in values.items():
        if value not in known:
            message = f'{key} is {value!r}; give one of {", ".join(known)}.'
            raise ConfigError(message)
