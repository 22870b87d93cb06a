# SPDX-License-Identifier: Apache-2.0
"""What the training loop asks of a recipe."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.models.base import DepthModel


class Recipe(Protocol):
    """A frozen dataclass of settings with one supervised step."""

    def faults(self, model: DepthModel) -> list[str]:
        """Say what of the settings contradicts itself or does not go with `model`."""

    def losses(self, model: DepthModel, sample: Sample) -> dict[str, Tensor]:
        """Run `model` on a batch and weigh its answer.

        Returns:
            The weighted terms by name, scalars in fp32; the loop minimises their sum.
        """
