# SPDX-License-Identifier: Apache-2.0
"""DenseDepth: SSIM, edges and L1 on reciprocal depth at half resolution, and a sigma of its own.

With the defaults the depth path is trained exactly as by the authors' loss, on whichever pixels
are valid. The extra terms, off by default, work on the logarithm of depth at full resolution,
where near and far count alike: what `densedepth_small` is trained by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ModelError
from depth_core.models.base import DepthModel
from depth_core.models.densedepth import DenseDepthPrediction
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import UNTRAINED, DepthRecipe, target_of


@dataclass(frozen=True, kw_only=True)
class DenseDepthRecipe(DepthRecipe):
    """DenseDepth: reciprocal depth y = max_depth / depth at half resolution."""

    name: Literal['densedepth'] = 'densedepth'
    """Name of the recipe."""
    convention: Literal['keras', 'pytorch'] = 'keras'
    """keras = SSIM of each image + edges + 0.1 L1, the loss of the published networks;
    pytorch = SSIM of the batch + 0.1 L1, as in the authors' port, which omits the edges."""
    data_range: float = 100.0
    """Range of y the SSIM is scaled to; the authors' loss has 100 for every data set."""
    reciprocal_weight: float = 1.0
    """Weight of the loss above; 0 trains with the extra terms alone."""
    log_l1_weight: float = 0.0
    """Weight of mean |ln depth - ln true depth|; 0 = faithful."""
    silog_weight: float = 0.0
    """Weight of the scale-invariant logarithmic error; 0 = faithful."""
    log_gradient_weight: float = 0.0
    """Weight of the gradients of the logarithmic error at four resolutions, which sharpens edges
    and small objects; 0 = faithful."""
    sigma_weight: float = 1.0
    """Weight of the Laplace likelihood that trains sigma; it cannot move the depth."""
    sky_as_max_depth: bool = False
    """Train sky as being at max_depth; false leaves it out."""

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        weights = ('reciprocal_weight', 'log_l1_weight', 'silog_weight')
        problems = self._below_0(*weights, 'log_gradient_weight')
        if not any(getattr(self, name) for name in weights):
            problems.append(
                f'recipe: {", ".join(weights)} are all 0, so that nothing trains depth.'
            )
        problems += self._not_above_0('sigma_weight', reason=UNTRAINED)
        problems += self._not_above_0('data_range')
        problems += self._of_another_family('densedepth', model)
        return problems

    def open(self, model: DepthModel) -> DenseDepthStep:
        """Put `model` together with its losses."""
        return DenseDepthStep(model, self)


class DenseDepthStep(TrainingStep[DepthModel]):
    """A network of the DenseDepth family and its losses."""

    def __init__(self, model: DepthModel, recipe: DenseDepthRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the model on a batch and compute the weighted losses."""
        del step
        model, recipe = self.model, self.recipe
        prediction = model(sample.image)
        if not isinstance(prediction, DenseDepthPrediction):
            message = f'{model.spec.name} gives no reciprocal depth; use another recipe.'
            raise ModelError(message)
        target_m, valid = target_of(sample, model.spec, sky_as_max_depth=recipe.sky_as_max_depth)
        terms = {
            'sigma': recipe.sigma_weight
            * losses.laplace_nll(prediction.depth, prediction.sigma, target_m, valid)
        }
        if recipe.reciprocal_weight:
            y, y_valid = losses.reciprocal_target(target_m, valid, max_depth=model.spec.max_depth)
            loss = {
                'keras': losses.densedepth_loss_keras,
                'pytorch': losses.densedepth_loss_pytorch,
            }[recipe.convention]
            per_image = loss(prediction.reciprocal, y, y_valid, data_range=recipe.data_range)
            terms['reciprocal'] = recipe.reciprocal_weight * per_image.mean()
        if recipe.log_l1_weight:
            log_l1 = losses.log_l1(prediction.depth, target_m, valid)
            terms['log_l1'] = recipe.log_l1_weight * log_l1
        if recipe.silog_weight:
            silog = losses.silog(prediction.depth, target_m, valid)
            terms['silog'] = recipe.silog_weight * silog
        if recipe.log_gradient_weight:
            gradient = losses.log_gradient_matching(prediction.depth, target_m, valid)
            terms['log_gradient'] = recipe.log_gradient_weight * gradient
        return terms
