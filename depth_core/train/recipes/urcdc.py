# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth: two branches learn from the ground truth and, every other step, from each other.

With the defaults this is the authors' released code, on whichever pixels are valid, but for two
things. Their SILog has no guard inside its square root, and a perfect batch aborts their training;
ours is 0 with zero gradient there and else the same number. And at an odd step the confidence
heads get no gradient and stay as they are; under a torch before 2.0, as the authors' may have
been, Adam would move them on by what it remembers of the even steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ModelError
from depth_core.models.base import DepthModel
from depth_core.models.urcdc.network import BranchPrediction, UrcdcPrediction
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import DepthRecipe


@dataclass(frozen=True, kw_only=True)
class UrcdcRecipe(DepthRecipe):
    """URCDC-Depth: SILog and confidence at even steps, cross-distillation at odd ones."""

    name: Literal['urcdc'] = 'urcdc'
    """Name of the recipe."""
    nearest_m: float = 0.1
    """Truth at or before this depth, metres, is not trained on; the authors have 0.1 for NYU and
    1.0 for KITTI."""
    variance_focus: float = 0.85
    """Of SILog: 1 ignores a common factor of the prediction, 0 is the plain log RMSE."""
    silog_scale: float = 10.0
    """Factor on SILog."""
    confidence_weight: float = 0.5
    """Weight of mean |c - u|, which trains the confidence heads."""
    distillation_weight: float = 0.1
    """Weight of the cross-distillation, L1 in metres; 0 = no distillation, all steps are even."""
    alternation: Literal['steps', 'together'] = 'steps'
    """steps = even steps learn from the ground truth, odd ones from the other branch, as the
    authors; together = each step does both."""
    steps_per_epoch: int | None = None
    """The authors count steps anew in each epoch, so that two even ones follow each other where
    an epoch has an odd number; give that number, or none to count through the run."""
    rectification: Literal['truth', 'prediction', 'none'] = 'truth'
    """What the distillation is weighed by: truth = the teacher's confidence computed from the
    ground truth, where there is some, as in the authors' code; prediction = the confidence the
    teacher predicts, on all pixels, as their code can and does not; none = relative L1, not
    weighed, on pixels with ground truth."""
    sky_as_max_depth: bool = False
    """Train sky as being at max_depth; false leaves it out."""

    def leaves_weights_out(self, network: str, options: Mapping[str, Any]) -> bool:
        """Whether there are steps that distil only, which leave the confidence heads alone."""
        del network, options
        return self.alternation == 'steps' and self.distillation_weight > 0.0

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = self._below_0('nearest_m', 'distillation_weight')
        problems += self._not_above_0(
            'confidence_weight', reason=', for sigma would come from random weights'
        )
        problems += self._not_above_0('silog_scale')
        if not 0.0 <= self.variance_focus <= 1.0:
            problems.append(
                f'recipe.variance_focus is {self.variance_focus}; give a number in [0, 1].'
            )
        if self.steps_per_epoch is not None and self.steps_per_epoch < 1:
            problems.append(
                f'recipe.steps_per_epoch is {self.steps_per_epoch}; give at least 1, or none.'
            )
        return problems + self._of_another_family('urcdc', model)

    def open(self, model: DepthModel) -> UrcdcStep:
        """Put `model` together with its losses."""
        return UrcdcStep(model, self)


class UrcdcStep(TrainingStep[DepthModel]):
    """A network of two branches and their losses."""

    def __init__(self, model: DepthModel, recipe: UrcdcRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run both branches on a batch and compute the weighted losses."""
        prediction = self.model(sample.image)
        if not isinstance(prediction, UrcdcPrediction) or prediction.cnn is None:
            message = f'{self.model.spec.name} gives no second branch; use another recipe.'
            raise ModelError(message)
        target_m, valid = self._target(sample)
        branches = {'transformer': prediction.transformer, 'cnn': prediction.cnn}
        confidences = {
            name: losses.depth_confidence(branch.depth, target_m, valid)
            for name, branch in branches.items()
        }
        supervised, distilled = self._parts(step)
        terms = {}
        for name, branch in branches.items() if supervised else ():
            terms[f'silog_{name}'] = self._silog(branch, target_m, valid)
            terms[f'confidence_{name}'] = self.recipe.confidence_weight * losses.l1(
                branch.confidence, confidences[name], valid
            )
        for student, teacher in (('transformer', 'cnn'), ('cnn', 'transformer')):
            if distilled:
                terms[f'distillation_{student}'] = self._distillation(
                    branches[student], branches[teacher], confidences[teacher], valid
                )
        return terms

    def _parts(self, step: int) -> tuple[bool, bool]:
        """Whether this step learns from the ground truth, and whether from the other branch."""
        if not self.recipe.distillation_weight:
            return True, False
        if self.recipe.alternation == 'together':
            return True, True
        in_epoch = step % self.recipe.steps_per_epoch if self.recipe.steps_per_epoch else step
        return in_epoch % 2 == 0, in_epoch % 2 == 1

    def _silog(self, branch: BranchPrediction, target_m: Tensor, valid: Tensor) -> Tensor:
        return losses.silog(
            branch.depth,
            target_m,
            valid,
            variance_focus=self.recipe.variance_focus,
            scale=self.recipe.silog_scale,
        )

    def _distillation(
        self, student: BranchPrediction, teacher: BranchPrediction, sure: Tensor, valid: Tensor
    ) -> Tensor:
        match self.recipe.rectification:
            case 'truth':
                loss = losses.cross_distillation(student.depth, teacher.depth, sure, valid)
            case 'prediction':
                loss = losses.cross_distillation(student.depth, teacher.depth, teacher.confidence)
            case 'none':
                loss = losses.relative_distillation(student.depth, teacher.depth, valid)
        return self.recipe.distillation_weight * loss

    def _target(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """True depth [B, 1, H, W], 1 where not valid, and where it is trained on."""
        depth_m, valid = sample.depth_m.unsqueeze(1), sample.valid.unsqueeze(1)
        if self.recipe.sky_as_max_depth:
            valid = valid | torch.isposinf(depth_m)
            depth_m = depth_m.clamp(max=self.model.spec.max_depth)
        valid = valid & (depth_m > self.recipe.nearest_m)
        return torch.where(valid, depth_m, 1.0), valid
