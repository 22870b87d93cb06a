# SPDX-License-Identifier: Apache-2.0
"""How a stated sigma is corrected by what was seen on held-out images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from depth_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SigmaCalibration:
    """How sigma is corrected when a network is served, from what was seen on held-out images.

    With r = sigma / depth, the relative error that the network states, the one that is served is
    factor * r ** power. The depth is not touched.
    """

    factor: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 < self.factor < math.inf and 0.0 < self.power < math.inf):
            message = (
                f'a calibration of sigma by factor {self.factor} and power {self.power} is none; '
                'give finite numbers above 0.'
            )
            raise ConfigError(message)

    def __call__(self, depth: Any, sigma: Any) -> Any:  # noqa: ANN401  arrays or tensors
        """Correct `sigma`, in the unit of `depth`, both positive and of one shape."""
        if self == SigmaCalibration():
            return sigma
        if self.power == 1.0:
            return self.factor * sigma
        return self.factor * depth * (sigma / depth) ** self.power

    def after(self, first: SigmaCalibration) -> SigmaCalibration:
        """The calibration that corrects by `first` and then by this one."""
        return SigmaCalibration(
            factor=self.factor * first.factor**self.power, power=self.power * first.power
        )
