# SPDX-License-Identifier: Apache-2.0
"""What a recipe is to the training loop: a network, its losses, its score, its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn
from typing_extensions import Self

from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import ConfigError
from depth_core.train.drawing import Tile
from depth_core.train.recipes.rule import USUAL_RULE, Rule
from depth_core.weights.checkpoint import Checkpoint

Network = TypeVar('Network', bound=nn.Module)
"""The kind of network a recipe trains."""


class TrainingStep(nn.Module, ABC, Generic[Network]):
    """The network, what is trained or evaluated beside it, and the losses of a batch.

    This is the one module that is distributed. What stands beside the network (a pose network, a
    frozen embedding) is an attribute like any submodule: its state is in every checkpoint, and
    its trainable weights are in the optimizer, by names that start with the attribute's. One
    without trainable weights stays in eval mode.
    """

    model: Network

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the networks on a batch and compute the weighted losses.

        Args:
            sample: A batch on the device of the network.
            step: Steps done before this one, from 0.

        Returns:
            The weighted terms by name, scalars in fp32; the loop minimises their sum. A term
            that this step does not have is left out.
        """

    def forward(self, *, step: int, **fields: Any) -> dict[str, Tensor]:  # noqa: ANN401  see below
        """Return `losses`; the fields of the sample come one by one, for Fabric looks at them."""
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
        """The state of everything beside the network, by name."""
        own = self.state_dict()
        return {key: value for key, value in own.items() if not key.startswith('model.')}


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a network does on the held-out samples."""

    numbers: Mapping[str, Any]
    """What metrics.json keeps of it; the loggers show those that are floats."""
    costs: Mapping[str, float]
    """Numbers of which best.ckpt has the smallest, by metric; the first unless
    trainer.best_metric names another. Empty where nothing could be scored."""
    summary: str
    """The same in a line of the log, or why nothing could be scored."""


class Scorer(ABC, Generic[Network]):
    """Adds up how well a network does on held-out samples; what the processes found is merged."""

    @abstractmethod
    def update(self, network: Network, sample: Sample) -> None:
        """Score a batch on the device of `network`, which is in eval mode."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add what another process found on its share of the samples; scorers are picklable."""

    @abstractmethod
    def result(self) -> Score:
        """The score of all samples so far."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC, Generic[Network]):
    """Settings of a training scheme; each is a frozen dataclass with a `name` of its own."""

    name: str
    """Name of the recipe."""

    best_metrics: ClassVar[tuple[str, ...]] = ()
    """What trainer.best_metric chooses from; empty where there is one score, which counts."""

    @property
    def needs_depth(self) -> bool:
        """Whether images without any ground truth are of no use to it, trained on or held out."""
        return True

    def leaves_weights_out(self, network: str, options: Mapping[str, Any]) -> bool:
        """Whether a step may leave trainable weights without a gradient, as when losses alternate.

        Several processes then have to look for them at each step, and torch warns of it where
        there are none.
        """
        del network, options
        return False

    @abstractmethod
    def create(self, name: str, options: Mapping[str, Any], *, size: tuple[int, int]) -> Network:
        """Build the untrained network called `name` for samples of `size`, (height, width).

        Raises:
            ConfigError: The name or an option is unknown.
            ModelError: The network cannot take samples of this size.
        """

    def make_canonical(self, model: Network, focal_px: float) -> None:
        """Declare that `model` learns depth as a camera of `focal_px` would see it.

        Raises:
            ConfigError: What the recipe trains, or this network, states no metres.
        """
        del model
        message = (
            f'data.canonical_focal_px is {focal_px}, and recipe {self.name} trains no network of '
            'metric depth; leave it out.'
        )
        raise ConfigError(message)

    @abstractmethod
    def problems(self, model: Network) -> list[str]:
        """Say which settings contradict each other or do not go with `model`."""

    def check_data(self, dataset: DepthDataset) -> None:
        """Refuse training data without what the recipe needs beside images and depth.

        Raises:
            DataError: Something is missing that the recipe cannot do without.
        """
        del dataset

    @abstractmethod
    def open(self, model: Network) -> TrainingStep[Network]:
        """Put `model` together with all it is trained with."""

    @abstractmethod
    def scorer(self, network: Network, rule: Rule = USUAL_RULE) -> Scorer[Network]:
        """Begin to score `network` on held-out samples; `rule` is about depth."""

    def picture(self, network: Network, sample: Sample) -> Sequence[Tile]:
        """Draw a batch of one sample and what `network`, in eval mode, makes of it.

        Returns:
            What stands side by side; nothing where there is nothing to see.
        """
        del network, sample
        return ()

    @abstractmethod
    def save(
        self,
        path: Path,
        network: Network,
        *,
        training: Mapping[str, object] | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> None:
        """Write `network` to `path`, whole or not at all, with what a run resumes from.

        Raises:
            DepthError: The file cannot be written; a former one of that name is untouched.
        """

    @abstractmethod
    def read(self, path: Path) -> Checkpoint:
        """Read a file that `save` wrote.

        Raises:
            CheckpointError: It is missing, damaged or of another kind.
        """

    @abstractmethod
    def load(self, network: Network, state: Mapping[str, Tensor], *, source: str) -> None:
        """Put the weights of a file into `network`; every key and every shape must match.

        Raises:
            CheckpointError: They do not; `source` says in the message where they come from.
        """


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every layer in eval mode for a while; afterwards each is in the mode it was in."""
    modes = [(layer, layer.training) for layer in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
