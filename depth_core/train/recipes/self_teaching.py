# SPDX-License-Identifier: Apache-2.0
"""Self-teaching: a network is trained on the depth of a frozen one, its sigma on the difference.

After Poggi et al., On the uncertainty of self-supervised monocular depth estimation, CVPR 2020
(formulas only). A network trained without labels has no error to train sigma on; one that is
trained on the output of another has: what it cannot reproduce, the first was uncertain about.

Ours: they minimise |d - d_teacher| / sigma + ln sigma over depth and sigma together. Here, as in
every recipe of this package, sigma cannot move the depth: the loss of depth is the difference of
logarithms to the teacher's at every scale, which has no unit, and sigma is trained on the rest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ModelError
from depth_core.models.base import DepthModel
from depth_core.models.selfsup.inverse_depth import InverseDepthPrediction
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import UNTRAINED, DepthRecipe
from depth_core.weights.checkpoint import load_model


@dataclass(frozen=True, kw_only=True)
class SelfTeachingRecipe(DepthRecipe):
    """A frozen teacher's depth, and a sigma of the distance to it."""

    name: Literal['self_teaching'] = 'self_teaching'
    """Name of the recipe."""
    teacher: Path | None = None
    """Checkpoint of the teacher network; none = the weights this run starts from
    (model.weights), so that only what a jittered image changes is left for sigma."""
    sigma_weight: float = 0.1
    """Weight of the likelihood that trains sigma."""

    @property
    def needs_depth(self) -> bool:
        """The depth trained on is the teacher's."""
        return False

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = self._not_above_0('sigma_weight', reason=UNTRAINED)
        return problems + self._of_another_family('selfsup', model)

    def open(self, model: DepthModel) -> SelfTeachingStep:
        """Put `model` together with its teacher.

        Raises:
            CheckpointError: The teacher cannot be read.
            ModelError: It gives another kind of depth than `model`, or none of its family.
        """
        return SelfTeachingStep(model, self)


class SelfTeachingStep(TrainingStep[DepthModel]):
    """A network, its teacher, and the distance between them."""

    def __init__(self, model: DepthModel, recipe: SelfTeachingRecipe) -> None:
        super().__init__(model)
        teacher = copy.deepcopy(model) if recipe.teacher is None else load_model(recipe.teacher)
        given, wanted = (
            (spec.family, spec.kind, spec.canonical_focal_px)
            for spec in (teacher.spec, model.spec)
        )
        if given != wanted:
            message = (
                f'the teacher {recipe.teacher} is a {teacher.spec.name} of {teacher.spec.kind} '
                f'depth, and {model.spec.name} is to give {model.spec.kind} depth; give a teacher '
                'of the same family and kind (model.options.metric, data.canonical_focal_px).'
            )
            raise ModelError(message)
        self.teacher = teacher.requires_grad_(requires_grad=False).eval()
        self.recipe = recipe

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run both networks, the teacher on the image before its colours were changed."""
        del step
        prediction = self.model(sample.image)
        clean = sample.image if sample.clean_image is None else sample.clean_image
        with torch.no_grad():
            target = self.teacher(clean)
        if not isinstance(prediction, InverseDepthPrediction):
            message = f'{self.model.spec.name} gives no inverse depths; use another recipe.'
            raise ModelError(message)
        # Scales that only the teacher has are of no use.
        distances = [
            losses.log_l1(own, other)
            for own, other in zip(prediction.inv_depths, target.inv_depths, strict=False)
        ]
        depth = prediction.depth.detach()
        sigma = losses.laplace_nll(
            torch.ones_like(depth), prediction.sigma / depth, target.depth / depth
        )
        return {
            'depth': torch.stack(distances).mean(),
            'sigma': self.recipe.sigma_weight * sigma,
        }
