# SPDX-License-Identifier: Apache-2.0
"""The embedding networks (HEG) of CLIFFNet's loss: depth maps in, scene class or depth map out.

`model.name` is heg_s, which classifies scenes on data that states their class (synthetic), or
heg_r, which reconstructs depth maps of any data. The recipe cliffnet reads the file as
`recipe.heg_s` or `recipe.heg_r`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from typing_extensions import Self

from depth_core.data.sample import Sample
from depth_core.data.synthetic import SCENE_CLASSES
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.losses import l1
from depth_core.models.cliffnet.embedding import ReconstructionEmbedding, SceneEmbedding
from depth_core.train.recipes.base import Recipe, Score, Scorer, TrainingStep
from depth_core.train.recipes.rule import USUAL_RULE, Rule
from depth_core.weights.checkpoint import Checkpoint
from depth_core.weights.embedding_file import (
    EMBEDDING_KINDS,
    create_embedding,
    load_embedding,
    read_embedding,
    save_embedding,
)

Embedding: TypeAlias = SceneEmbedding | ReconstructionEmbedding

_BLOCK: Final = 4
"""The stride of the narrowest map of a HEG-R: the blurred baseline has as few places."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingRecipe(Recipe[Embedding]):
    """HEG-S by the cross-entropy of scene classes, HEG-R by the L1 of depth in metres."""

    name: Literal['embedding'] = 'embedding'
    """Name of the recipe."""
    max_depth_m: float = 80.0
    """Depth beyond it, and sky, count as this, metres."""
    norm_frozen_from_step: int | None = None
    """Steps done from which batch norm layers keep the statistics they have, as they will in
    CLIFFNet's loss; before, a map is normalised with the other maps of its batch. none = never."""

    def create(self, name: str, options: Mapping[str, Any], *, size: tuple[int, int]) -> Embedding:
        """Build a heg_s or a heg_r; they take no options."""
        if options:
            message = (
                f'model.options.{next(iter(options))} is given, and the embedding network {name} '
                'takes no options; leave model.options out.'
            )
            raise ConfigError(message)
        if name not in EMBEDDING_KINDS:
            raise ConfigError(
                unknown_name('model.name of recipe embedding', name, EMBEDDING_KINDS)
            )
        network = create_embedding(name, classes=len(SCENE_CLASSES) if name == 'heg_s' else 0)
        divisor = getattr(network, 'divisor', 1)
        if size[0] % divisor or size[1] % divisor:
            message = (
                f'data.height x data.width is {size[0]}x{size[1]}, which a {name} cannot '
                f'reconstruct; give multiples of {divisor}.'
            )
            raise ConfigError(message)
        return network

    def problems(self, model: Embedding) -> list[str]:
        """Say which settings are out of their range."""
        del model
        problems = []
        if not self.max_depth_m > 0.0:
            problems.append(f'recipe.max_depth_m is {self.max_depth_m}; give more than 0.')
        if self.norm_frozen_from_step is not None and self.norm_frozen_from_step < 0:
            problems.append(
                f'recipe.norm_frozen_from_step is {self.norm_frozen_from_step}; give steps of at '
                'least 0, or leave it out.'
            )
        return problems

    def open(self, model: Embedding) -> TrainingStep[Embedding]:
        """Put `model` together with the loss of its kind."""
        return EmbeddingStep(model, self)

    def scorer(self, network: Embedding, rule: Rule = USUAL_RULE) -> Scorer[Embedding]:
        """Begin to count right classes, or to sum errors in metres."""
        del rule
        if isinstance(network, SceneEmbedding):
            return SceneScorer(self.max_depth_m)
        return ReconstructionScorer(self.max_depth_m)

    def save(
        self,
        path: Path,
        network: Embedding,
        *,
        training: Mapping[str, object] | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> None:
        """Write a file of an embedding network, which the recipe cliffnet reads."""
        scenes = isinstance(network, SceneEmbedding)
        save_embedding(
            path,
            'heg_s' if scenes else 'heg_r',
            network,
            classes=SCENE_CLASSES if scenes else (),
            training=training,
            provenance=provenance,
        )

    def read(self, path: Path) -> Checkpoint:
        """Read a file of an embedding network."""
        file = read_embedding(path)
        return Checkpoint(
            name=file.kind,
            options={},
            state=file.network.state_dict(),
            training=file.training,
            provenance=None,
        )

    def load(self, network: Embedding, state: Mapping[str, Tensor], *, source: str) -> None:
        """Put the weights of a file into `network`."""
        load_embedding(network, state, source=source)


class EmbeddingStep(TrainingStep[Embedding]):
    """An embedding network and the loss of its kind."""

    def __init__(self, model: Embedding, recipe: EmbeddingRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the network on the depth maps of a batch and compare."""
        frozen_from = self.recipe.norm_frozen_from_step
        self.model.train(frozen_from is None or step < frozen_from)
        depth_m = depth_map(sample, self.recipe.max_depth_m)
        output = self.model(depth_m)
        if isinstance(self.model, ReconstructionEmbedding):
            return {'l1_m': l1(output.float(), depth_m, depth_m > 0.0)}
        if sample.scene_class is None:
            message = (
                f'{sample.key[0]} states no class of its scene, on which a heg_s is trained; use '
                'the synthetic data set, or train a heg_r.'
            )
            raise DataError(message)
        return {'cross_entropy': F.cross_entropy(output.float(), sample.scene_class)}


def depth_map(sample: Sample, max_depth_m: float) -> Tensor:
    """The network's input [B, 1, H, W]: metres, sky at the largest, 0 where unknown."""
    known = sample.valid | torch.isposinf(sample.depth_m)
    depth_m = sample.depth_m.clamp(max=max_depth_m)
    return torch.where(known, depth_m, 0.0).unsqueeze(1)


@dataclass
class SceneScorer(Scorer[Embedding]):
    """The share of right classes, beside that of always naming the commonest."""

    max_depth_m: float
    right: int = 0
    seen: list[int] = field(default_factory=lambda: [0] * len(SCENE_CLASSES))
    """Depth maps of each class."""

    def update(self, network: Embedding, sample: Sample) -> None:
        """Count the right classes of a batch."""
        if sample.scene_class is None:
            return
        predicted = network(depth_map(sample, self.max_depth_m)).argmax(dim=1)
        self.right += int((predicted == sample.scene_class).sum())
        for index in sample.scene_class.tolist():
            self.seen[index] += 1

    def merge(self, other: Self) -> None:
        """Add the depth maps of another process."""
        self.right += other.right
        self.seen = [own + theirs for own, theirs in zip(self.seen, other.seen, strict=True)]

    def result(self) -> Score:
        """The shares."""
        total = sum(self.seen)
        if not total:
            return Score(
                numbers={},
                costs={},
                summary='no held-out sample states a class of its scene; use the synthetic data '
                'set, or train a heg_r',
            )
        accuracy, commonest = self.right / total, max(self.seen) / total
        return Score(
            numbers={'accuracy': accuracy, 'accuracy_of_commonest': commonest},
            costs={'accuracy': -accuracy},
            summary=f'accuracy {accuracy:.4f} (of the commonest class {commonest:.4f})',
        )


@dataclass
class ReconstructionScorer(Scorer[Embedding]):
    """Mean absolute error in metres: of the network, of each map's mean, of a blurred map.

    The blurred map is the mean of blocks of 4 x 4 pixels, enlarged again: what is left when only
    one number for each place of the narrowest map passes.
    """

    max_depth_m: float
    sums_m: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(('l1_m', 'l1_m_of_mean', 'l1_m_of_blur'), 0.0)
    )
    pixels: int = 0

    def update(self, network: Embedding, sample: Sample) -> None:
        """Add the errors of a batch."""
        depth_m = depth_map(sample, self.max_depth_m)
        known = depth_m > 0.0
        size = (depth_m.shape[-2], depth_m.shape[-1])
        maps_m = {
            'l1_m': network(depth_m).float(),
            'l1_m_of_mean': depth_m.mean(dim=(-2, -1), keepdim=True).expand_as(depth_m),
            'l1_m_of_blur': F.interpolate(F.avg_pool2d(depth_m, _BLOCK), size, mode='bilinear'),
        }
        for name, map_m in maps_m.items():
            self.sums_m[name] += float((map_m - depth_m).abs()[known].sum())
        self.pixels += int(known.sum())

    def merge(self, other: Self) -> None:
        """Add the errors of another process."""
        for name, sum_m in other.sums_m.items():
            self.sums_m[name] += sum_m
        self.pixels += other.pixels

    def result(self) -> Score:
        """The mean errors."""
        if not self.pixels:
            return Score(numbers={}, costs={}, summary='no held-out depth map has known depth')
        means_m = {name: sum_m / self.pixels for name, sum_m in self.sums_m.items()}
        return Score(
            numbers=means_m,
            costs={'l1_m': means_m['l1_m']},
            summary=f"L1 {means_m['l1_m']:.4f} m (of each map's mean "
            f'{means_m["l1_m_of_mean"]:.4f} m, of a blurred map {means_m["l1_m_of_blur"]:.4f} m)',
        )
