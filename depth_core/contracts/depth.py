# SPDX-License-Identifier: Apache-2.0
"""Depth maps and the camera they belong to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import DataError

Float32Array: TypeAlias = NDArray[np.float32]
Uint8Array: TypeAlias = NDArray[np.uint8]
BoolArray: TypeAlias = NDArray[np.bool_]

CONFIDENCE_FACTOR = 1.25
"""The factor within which `DepthMap.confidence` promises the true depth to lie."""
_AT_ONCE: Final = 1 << 16
"""So many pixels, with what is computed from them, stay in the cache of a processor."""


class DepthKind(str, Enum):
    """What the numbers of a depth output mean once they are decoded."""

    METRIC = 'metric'
    """z-depth in metres."""
    CANONICAL = 'canonical'
    """z-depth as if seen with a canonical focal length: metres once multiplied by the focal length
    of the image the network saw, over the canonical one."""
    UP_TO_SCALE = 'up_to_scale'
    """z-depth times an unknown positive factor."""
    INVERSE = 'inverse'
    """Affine function of 1/z, with unknown scale and shift (relative networks)."""

    def __str__(self) -> str:
        return self.value

    @property
    def is_metric(self) -> bool:
        """Whether metres follow from the answer and the camera alone."""
        return self in {DepthKind.METRIC, DepthKind.CANONICAL}


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """Pinhole camera: x = (u - cx) / fx * z, with pixel centres at integer coordinates."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    height: int
    """Rows of the image the numbers belong to."""
    width: int
    """Columns of the image the numbers belong to."""

    def __post_init__(self) -> None:
        if not (self.fx_px > 0.0 and self.fy_px > 0.0):
            message = (
                f'focal lengths fx={self.fx_px}, fy={self.fy_px} px are not positive; an all-zero '
                'camera_info means an uncalibrated camera: calibrate it or give intrinsics.'
            )
            raise DataError(message)
        if not np.isfinite(self.matrix).all():
            message = (
                f'intrinsics fx={self.fx_px}, fy={self.fy_px}, cx={self.cx_px}, cy={self.cy_px} '
                'px must all be finite numbers; calibrate the camera or correct the file.'
            )
            raise DataError(message)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 camera matrix K."""
        return np.array(
            [[self.fx_px, 0.0, self.cx_px], [0.0, self.fy_px, self.cy_px], [0.0, 0.0, 1.0]]
        )


class _PlaneWhenAsked:
    """A field that takes an array, or a function that makes it when it is first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Float32Array:
        if instance is None:  # so dataclasses learns that there is no default
            raise AttributeError(self._name)
        content: Float32Array | Callable[[], Float32Array] = instance.__dict__[self._name]
        if callable(content):
            content = instance.__dict__[self._name] = content()
        return content

    def __set__(self, instance: object, value: Float32Array | Callable[[], Float32Array]) -> None:
        instance.__dict__[self._name] = value


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """One answer of a predictor, at the size of the image that was asked about.

    In `depth_m`, NaN = no estimate, +inf = beyond the model's range, -inf = nearer than it
    (REP-117). When `kind` is not metric the numbers are in the model's own unit, and whoever
    publishes metres must find a scale first.
    """

    depth_m: Float32Array
    """[H, W] z-depth along the optical axis."""
    sigma_m: _PlaneWhenAsked = _PlaneWhenAsked()
    """[H, W] standard deviation in the unit of the depth; NaN where the model gives none. Given
    as an array or as a function that makes it; it is called when sigma is first asked for."""
    kind: DepthKind = DepthKind.METRIC
    stamp_ns: int = 0
    """Stamp handed to `predict`, nanoseconds; 0 when none was."""
    backend: str = ''
    """The backend that computed it."""
    depth_range: tuple[float, float] = (0.0, math.inf)
    """Nearest and farthest depth the model states, in the unit of the depth; infinities stand
    for them."""
    inference_s: float = field(default=0.0, compare=False)
    """Time spent inside the backend, seconds."""

    @cached_property
    def confidence(self) -> Float32Array:
        """[H, W] in [0, 1]: see `probability_within_factor`; 0 where there is no estimate.

        Of depth up to scale it is a statement about the depth but for that scale. Of an inverse of
        unknown scale and shift no ratio of depths is known, and nothing is claimed: 0 everywhere.
        """
        if self.kind is DepthKind.INVERSE:
            return np.zeros(self.depth_m.shape, np.float32)
        return probability_within_factor(self.depth_m, self.sigma_m)

    def __getstate__(self) -> dict[str, object]:
        """What is copied and pickled: planes, not how to make them."""
        return {**self.__dict__, 'sigma_m': self.sigma_m}


def probability_within_factor(
    depth_m: Float32Array, sigma_m: Float32Array, factor: float = CONFIDENCE_FACTOR
) -> Float32Array:
    """Probability that the true depth lies in [depth / factor, depth * factor].

    Laplace error model: true depth ~ Laplace(depth, b) with b = sigma / sqrt(2), hence
    1 - (exp(-(1 - 1/factor) depth / b) + exp(-(factor - 1) depth / b)) / 2.

    Args:
        depth_m: [H, W] predicted depth; NaN and infinities allowed.
        sigma_m: [H, W] standard deviation, in the same unit.
        factor: The ratio, above 1.

    Returns:
        [H, W] float32 in [0, 1]; 0 where the depth is not finite or sigma is not positive.
    """
    import cv2  # noqa: PLC0415 whoever reads contracts alone needs no OpenCV

    probability = np.empty(depth_m.shape, np.float32)
    depth, sigma, out = (plane.reshape(1, -1) for plane in (depth_m, sigma_m, probability))
    nearer = np.float32(math.sqrt(2.0) * (1.0 / factor - 1.0))
    farther = np.float32(math.sqrt(2.0) * (1.0 - factor))
    memory = np.empty((1, min(_AT_ONCE, out.size)), np.float32)
    for begin in range(0, out.size, _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        inside = out[:, part]
        beyond = memory[:, : inside.size]
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            np.divide(depth[:, part], sigma[:, part], out=inside)
        plain = inside.min() > 0.0 and inside.max() < np.inf and sigma[:, part].min() > 0.0
        if not plain:  # NaN fails too
            usable = np.isfinite(depth[:, part]) & (sigma[:, part] > 0.0) & (inside > 0.0)
            np.copyto(inside, np.float32(0.0), where=~usable)  # of which nothing is inside
        cv2.exp(np.multiply(inside, farther, out=beyond), dst=beyond)
        cv2.exp(np.multiply(inside, nearer, out=inside), dst=inside)
        cv2.addWeighted(inside, -0.5, beyond, -0.5, 1.0, dst=inside)
    return probability
