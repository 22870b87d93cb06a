# SPDX-License-Identifier: Apache-2.0
"""The estimate that every source of scale gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray
from depth_core.errors import DataError


class ScaleState(str, Enum):
    """Whether a scale may be used, and if not, why."""

    VALID = 'valid'
    TOO_FEW_POINTS = 'too_few_points'
    """Less to go by than was asked for: no depth in the lower image, no lidar in the view."""
    NO_PLANE = 'no_plane'
    """No plane of a plausible tilt holds enough of the lower points."""
    INCONSISTENT = 'inconsistent'
    """What there is contradicts itself: points under the ground, or ratios without a centre."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class ScaleEstimate:
    """The factor from a prediction to metres."""

    state: ScaleState
    scale: float
    """Metres in one unit of the prediction; NaN unless the state is valid."""
    residual: float
    """How well it fits, as a share: root mean square distance of the ground points from their
    plane by the height of the camera, or the typical |ratio - 1| to the sparse depths. Also given
    where the state is inconsistent; NaN where nothing could be fitted."""
    points: int
    """Points the answer rests on."""

    @property
    def valid(self) -> bool:
        """Whether the scale may be used."""
        return self.state is ScaleState.VALID


def refused(state: ScaleState, *, points: int, residual: float = float('nan')) -> ScaleEstimate:
    """Answer no scale, and why."""
    return ScaleEstimate(state=state, scale=float('nan'), residual=residual, points=points)


def check_same_pixels(
    name: str, array: NDArray[np.floating], measured_m: NDArray[np.floating]
) -> None:
    """Check that what is compared with measured depth has its shape.

    Raises:
        DataError: It has another; the message calls it `name`.
    """
    if array.shape != measured_m.shape:
        message = (
            f'{name} of shape {array.shape} does not belong to measured depth of shape '
            f'{measured_m.shape}; give both for the same pixels.'
        )
        raise DataError(message)


def positive(values: NDArray[np.floating]) -> BoolArray:
    """Whether each value is a depth: finite and more than 0."""
    with np.errstate(invalid='ignore'):
        found: BoolArray = np.isfinite(values) & (values > 0.0)
    return found
