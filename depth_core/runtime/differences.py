# SPDX-License-Identifier: Apache-2.0
"""Differences between two answers, as fractions that mean something at every pixel."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, Float32Array, OutputSpec
from depth_core.manifest import ErrorSpread

_QUANTILE: Final = 0.999

_INVERSE_FLOOR: Final = 1e-2
"""Of the largest inverse depth of an image: nearer to zero, which is far away, a fraction of the
number itself says nothing."""

_LEAST_INVERSE: Final = 1e-6
"""Where an image has no nearest, all of it being endlessly far away."""

_SIGMA_FLOOR: Final = 1e-3
"""Of the depth: a smaller sigma is as good as none."""


def depth_scale(depth: Float32Array, spec: OutputSpec) -> Float32Array:
    """What a difference of the depth is a fraction of, at each pixel of one image.

    Args:
        depth: [H, W], as expected.
        spec: What its numbers mean; nothing is nearer than its least depth.
    """
    floor = np.float32(spec.min_depth)
    if spec.kind is DepthKind.INVERSE:
        floor = np.float32(max(_INVERSE_FLOOR * float(np.abs(depth).max()), _LEAST_INVERSE))
    return np.maximum(np.abs(depth), floor)


def sigma_scale(sigma: Float32Array, scale: Float32Array) -> Float32Array:
    """What a difference of sigma is a fraction of, at each pixel.

    Args:
        sigma: [H, W], as expected.
        scale: `depth_scale` of the same image.
    """
    return np.asarray(np.maximum(np.abs(sigma), np.float32(_SIGMA_FLOOR) * scale))


def fractions(
    expected: Float32Array, found: Float32Array, scale: Float32Array
) -> NDArray[np.float64]:
    """The difference at each pixel as a fraction of `scale`."""
    return np.asarray(np.abs(found.astype(np.float64) - expected) / scale)


def spread_of(differences: NDArray[np.float64]) -> ErrorSpread:
    """Mean, 99.9 % quantile and largest of differences."""
    return ErrorSpread(
        mean=float(differences.mean()),
        p999=float(np.quantile(differences, _QUANTILE)),
        max=float(differences.max()),
    )
