# SPDX-License-Identifier: Apache-2.0
"""What the training loop asks of a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import Self

from depth_core.data.sample import Sample
from depth_core.models.base import DepthModel


class TrainingStep(nn.Module, ABC):
    """The model, whatever is trained or asked beside it, and what their answers cost.

    This is the one module that is distributed. What stands beside the model (a pose network, a
    frozen embedding) is an attribute like any submodule: its state is in every checkpoint, and
    its trainable weights are in the optimizer, by names that start with the attribute's. One
    without trainable weights stays in eval mode.
    """

    def __init__(self, model: DepthModel) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the networks on a batch and weigh their answers.

        Args:
            sample: A batch on the device of the model.
            step: Steps done before this one, from 0.

        Returns:
            The weighted terms by name, scalars in fp32; the loop minimises their sum. A term
            that this step does not have is left out.
        """

    def forward(self, *, step: int, **fields: Any) -> dict[str, Tensor]:  # noqa: ANN401  see below
        """Give `losses`; the fields of the sample come one by one, for Fabric looks at them."""
        return self.losses(Sample(**fields), step)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that is trained; frozen submodules stay in eval mode."""
        super().train(mode)
        for name, companion in self.named_children():
            trained = any(weight.requires_grad for weight in companion.parameters())
            if name != 'model' and not trained:
                companion.eval()
        return self

    def companions_state(self) -> dict[str, Tensor]:
        """The state of everything beside the model, by name."""
        own = self.state_dict()
        return {key: value for key, value in own.items() if not key.startswith('model.')}


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """Settings of a training scheme; each is a frozen dataclass with a `name` of its own."""

    name: str
    """Name of the recipe."""
    partial: ClassVar[bool] = False
    """Whether a step may leave trainable weights without a gradient, as when losses alternate;
    several processes then have to look for them."""

    @property
    def needs_depth(self) -> bool:
        """Whether training images without any ground truth are of no use to it."""
        return True

    @abstractmethod
    def problems(self, model: DepthModel) -> list[str]:
        """Say what of the settings contradicts itself or does not go with `model`."""

    @abstractmethod
    def open(self, model: DepthModel) -> TrainingStep:
        """Put `model` together with all it is trained with."""
