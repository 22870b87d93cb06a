# SPDX-License-Identifier: Apache-2.0
"""Relative pre-training of ZoeDepth's core: inverse depth up to scale and shift, as MiDaS.

The core (encoder, decoder, relative head) of any model of the family is trained; the metric head
stays as it was built, and `model.weights` of a metric run takes the result over. It is a way of
training and not a model: what is served is metric in the end, so that there is no registry entry
that could be published before it has metres.

As published: the trimmed loss on maps without median and mean deviation, gradient matching at four
resolutions with weight 0.5, both on inverse depth. Not as published: several data sets are taken
in turn (`data.train.name: mix`), where MiDaS weighs the losses of its data sets by multi-objective
optimisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.models.base import DepthModel
from depth_core.models.blocks import resize_bilinear
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import DepthRecipe
from depth_core.train.recipes.zoedepth import ZoeDepthModel

_CORE = ('core.', 'encoder.', 'decoder.')


@dataclass(frozen=True, kw_only=True)
class RelativeRecipe(DepthRecipe):
    """Relative pre-training of a ZoeDepth core on inverse depth."""

    name: Literal['relative'] = 'relative'
    """Name of the recipe."""
    alignment: Literal['median', 'least_squares'] = 'median'
    """How prediction and truth are brought together: median = both lose their median and mean
    deviation, as published; least_squares = the prediction is fitted to the truth."""
    trim: float = 0.2
    """Share of the pixels of an image, those with the largest error, that is left out."""
    gradient_weight: float = 0.5
    """Weight of gradient matching; 0.5 is published."""
    gradient_scales: int = 4
    """Resolutions at which gradients are matched."""
    sky_is_far: bool = True
    """Train sky as inverse depth 0, which relative depth can say; false leaves it out."""

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = []
        if not 0.0 <= self.trim < 1.0:
            problems.append(f'recipe.trim is {self.trim}; give at least 0 and less than 1.')
        if not self.gradient_weight >= 0.0:
            problems.append(f'recipe.gradient_weight is {self.gradient_weight}; give at least 0.')
        if self.gradient_scales < 1:
            problems.append(f'recipe.gradient_scales is {self.gradient_scales}; give at least 1.')
        if not isinstance(model, ZoeDepthModel):
            problems.append(
                'recipe relative trains the core of models of the zoedepth family, and '
                f'{model.spec.name} is of family {model.spec.family}.'
            )
        return problems

    def open(self, model: DepthModel) -> RelativeStep:
        """Put `model` together with its losses; only its core is trained."""
        return RelativeStep(model, self)


class RelativeStep(TrainingStep[DepthModel]):
    """The core of a network of the ZoeDepth family and its losses."""

    def __init__(self, model: DepthModel, recipe: RelativeRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe
        for name, weight in model.named_parameters():
            weight.requires_grad = name.startswith(_CORE)

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the core on a batch and compute the weighted losses."""
        del step
        recipe, model = self.recipe, self.model
        assert isinstance(model, ZoeDepthModel)  # noqa: S101  the recipe has said so
        relative = model.relative_depth(sample.image).float()
        size = (sample.depth_m.shape[-2], sample.depth_m.shape[-1])
        if relative.shape[-2:] != size:
            relative = resize_bilinear(relative.unsqueeze(1), size, 'half_pixel').squeeze(1)
        valid = sample.valid
        if recipe.sky_is_far:
            valid = valid | torch.isposinf(sample.depth_m)
        inverse = torch.where(valid, sample.depth_m, 1.0).reciprocal()  # 1 / inf = 0
        trimmed = losses.trimmed_scale_shift_invariant(
            relative, inverse, valid, alignment=recipe.alignment, trim=recipe.trim
        )
        terms = {'relative': trimmed}
        if recipe.gradient_weight:
            matched = losses.gradient_matching(
                relative, inverse, valid, alignment=recipe.alignment, scales=recipe.gradient_scales
            )
            terms['gradient'] = recipe.gradient_weight * matched
        return terms
