# SPDX-License-Identifier: Apache-2.0
"""CLIFFNet: L1 on depth and on its embeddings, the features of frozen networks.

With a trained HEG-S the depth path is trained as by the authors' code: L1 in metres, plus 10 and
15 times the L1 of the two embeddings, which fade in over the first 100 steps. Which embeddings
there are is chosen by name: HEG-S and HEG-R from files of the recipe embedding, the Sobel
gradients (a HEG of fixed weights), or a HEG of random weights. The losses are of the depth before
it is clamped, so that all of it has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from torch import Tensor, nn

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ModelError
from depth_core.losses.embedding import EmbeddingMask
from depth_core.models.base import DepthModel
from depth_core.models.cliffnet.embedding import EmbeddingTrunk, frozen, random_trunk, sobel_trunk
from depth_core.models.cliffnet.network import CliffNetPrediction
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import UNTRAINED, DepthRecipe, target_of
from depth_core.weights.embedding_file import read_trunk


@dataclass(frozen=True, kw_only=True)
class CliffNetRecipe(DepthRecipe):
    """CLIFFNet: L1 in metres and the hierarchical embedding loss."""

    name: Literal['cliffnet'] = 'cliffnet'
    """Name of the recipe."""
    depth_weight: float = 1.0
    """Weight of the L1 of depth in metres; 1 = faithful."""
    heg_s: Path | None = None
    """File of a HEG trained to classify scenes: a run of config/train/embedding/heg_s_synthetic,
    or the authors'; their training has one. none = without."""
    heg_s_weights: tuple[float, float] = (10.0, 15.0)
    """Weights of the L1 of its first and second embedding; (10, 15) = the authors' last code."""
    heg_r: Path | None = None
    """File of a HEG trained to reconstruct depth maps; none = without, as the authors' code."""
    heg_r_weights: tuple[float, float] = (10.0, 15.0)
    """Weights of the L1 of its embeddings; the authors' code has no HEG-R to compare with."""
    sobel_weight: float = 0.0
    """Weight of the L1 of the Sobel gradients, which the authors had at 2 before the embeddings
    replaced it; 0 = faithful."""
    random_heg_weights: tuple[float, float] = (0.0, 0.0)
    """Weights of the L1 of the embeddings of a HEG of random weights, which needs no file."""
    embedding_mask: EmbeddingMask = 'whole'
    """Which embedding pixels count where ground truth has holes: whole = those that see no hole;
    fill = all that see a known pixel, the prediction standing in the holes (for LiDAR); dense =
    all, holes being -1 m, as the authors do with their padding. Equal where nothing is missing."""
    warm_up_steps: int = 100
    """Steps in which the embedding losses fade in; 100 = faithful."""
    log_l1_weight: float = 0.0
    """Weight of mean |ln depth - ln true depth|; 0 = faithful."""
    sigma_weight: float = 1.0
    """Weight of the Laplace likelihood that trains sigma (ours); it cannot move the depth."""
    sky_as_max_depth: bool = False
    """Train sky as being at max_depth; false leaves it out."""

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = self._below_0(
            'depth_weight',
            'log_l1_weight',
            'sobel_weight',
            'heg_s_weights',
            'heg_r_weights',
            'random_heg_weights',
            'warm_up_steps',
        )
        if not (self.depth_weight or self.log_l1_weight):
            problems.append(
                'recipe: depth_weight and log_l1_weight are both 0, so that nothing trains depth '
                'itself; embeddings are blind to some of it.'
            )
        problems += self._not_above_0('sigma_weight', reason=UNTRAINED)
        return problems + self._of_another_family('cliffnet', model)

    def open(self, model: DepthModel) -> CliffNetStep:
        """Put `model` together with the embeddings of its losses.

        Raises:
            CheckpointError: The file of a HEG cannot be read, or holds something else.
        """
        return CliffNetStep(model, self)


class CliffNetStep(TrainingStep[DepthModel]):
    """A network of the CLIFFNet family, frozen embeddings, and their losses."""

    def __init__(self, model: DepthModel, recipe: CliffNetRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.embeddings = nn.ModuleDict()
        if recipe.heg_s is not None:
            self.embeddings['heg_s'] = read_trunk(recipe.heg_s, kind='heg_s')
        if recipe.heg_r is not None:
            self.embeddings['heg_r'] = read_trunk(recipe.heg_r, kind='heg_r')
        if any(recipe.random_heg_weights):
            self.embeddings['random_heg'] = frozen(random_trunk())
        if recipe.sobel_weight:
            self.embeddings['sobel'] = frozen(sobel_trunk())

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the model on a batch and compute the weighted losses."""
        model, recipe = self.model, self.recipe
        prediction = model(sample.image)
        if not isinstance(prediction, CliffNetPrediction):
            message = f'{model.spec.name} gives no depth before clamping; use another recipe.'
            raise ModelError(message)
        target_m, valid = target_of(sample, model.spec, sky_as_max_depth=recipe.sky_as_max_depth)
        terms = {
            'sigma': recipe.sigma_weight
            * losses.laplace_nll(prediction.depth, prediction.sigma, target_m, valid)
        }
        if recipe.depth_weight:
            l1 = losses.l1(prediction.raw_m.squeeze(1), target_m, valid)
            terms['depth'] = recipe.depth_weight * l1
        if recipe.log_l1_weight:
            log_l1 = losses.log_l1(prediction.depth, target_m, valid)
            terms['log_l1'] = recipe.log_l1_weight * log_l1
        rise = losses.embedding_warm_up(step, steps=recipe.warm_up_steps)
        for name, trunk in self.trunks().items():
            terms[name] = rise * losses.hierarchical_embedding(
                trunk,
                prediction.raw_m,
                target_m.unsqueeze(1),
                valid.unsqueeze(1),
                weights=self._weights_of(name),
                masking=recipe.embedding_mask,
            )
        return terms

    def trunks(self) -> dict[str, EmbeddingTrunk]:
        """The frozen embeddings by name."""
        return {name: cast('EmbeddingTrunk', trunk) for name, trunk in self.embeddings.items()}

    def _weights_of(self, name: str) -> tuple[float, ...]:
        """Weights of the levels of an embedding, the finest first."""
        recipe = self.recipe
        return {
            'heg_s': recipe.heg_s_weights,
            'heg_r': recipe.heg_r_weights,
            'random_heg': recipe.random_heg_weights,
            'sobel': (recipe.sobel_weight,),
        }[name]
