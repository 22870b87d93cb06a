# SPDX-License-Identifier: Apache-2.0
"""Metres from inverse depth of unknown scale and shift, as relative networks give it."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array
from depth_core.geometry import scale_and_shift

_Float = TypeVar('_Float', bound=np.floating)


def fit_inverse(
    prediction: Float32Array, target_m: Float32Array, valid: BoolArray
) -> tuple[float, float]:
    """Return the (scale, shift) of least squares in inverse depth.

    They minimise the sum of (scale * prediction + shift - 1 / target)^2 over the valid pixels
    whose prediction is finite.

    Raises:
        DataError: Fewer than two such pixels, or a constant prediction: the fit is not unique.
    """
    usable = valid & np.isfinite(prediction)
    inverse = np.divide(1.0, target_m, where=usable, out=np.zeros_like(target_m))
    return scale_and_shift(prediction, inverse, usable)


def depth_of_inverse(
    prediction: NDArray[_Float], sigma: NDArray[_Float], scale: float, shift: float
) -> tuple[NDArray[_Float], NDArray[_Float]]:
    """Return depth and its standard deviation, metres.

    Depth is 1 / (scale * prediction + shift), +inf where that is not positive; sigma is carried
    along to first order: depth^2 * |scale| * sigma.
    """
    kind = prediction.dtype.type
    inverse = prediction * kind(scale) + kind(shift)
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        depth_m = np.where(inverse <= 0.0, kind(np.inf), kind(1.0) / inverse)
        return depth_m, depth_m**2 * kind(abs(scale)) * sigma
