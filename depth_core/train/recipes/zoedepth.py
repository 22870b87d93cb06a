# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth: SILog on metric depth, cross-entropy on the domain, and a calibrated sigma.

With the defaults the depth is trained by the authors' loss: 10 sqrt(var + 0.15 mean^2) of the
logarithmic error, the output enlarged to the size of the ground truth. Where their code and their
paper part, the code is followed and the choice is an option here. They enlarge only where the
widths differ; here any difference of size does. `log_l1_weight` and `beyond` are ours and help a
small network that starts from random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from typing_extensions import Self

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError
from depth_core.models.base import DepthModel
from depth_core.models.blocks import resize_bilinear
from depth_core.models.zoedepth.domains import ROUTINGS, ZoeDepthNK, has_several_heads
from depth_core.models.zoedepth.network import ZoeDepth, ZoeDepthPrediction
from depth_core.models.zoedepth.small import ZoeDepthSmall
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import DepthRecipe

ZoeDepthModel: TypeAlias = ZoeDepth | ZoeDepthNK | ZoeDepthSmall


@dataclass(frozen=True, kw_only=True)
class ZoeDepthRecipe(DepthRecipe):
    """ZoeDepth: metric depth from bins on relative depth."""

    name: Literal['zoedepth'] = 'zoedepth'
    """Name of the recipe."""
    network_height: int | None = None
    """Rows the images are resized to before the network, which leaves the ground truth its own
    size, as the authors do: 384; none = train at the size of the data."""
    network_width: int | None = None
    """Columns likewise: 512, for KITTI 768."""
    silog_weight: float = 1.0
    """Weight of the scale-invariant logarithmic error."""
    silog_beta: float = 0.15
    """Weight of its common factor within it; 0.15 is published."""
    gradient_weight: float = 0.0
    """Weight of the L1 of gradient length and angle; 0 = as released."""
    log_l1_weight: float = 0.0
    """Weight of mean |ln depth - ln true depth|; 0 = faithful."""
    router: Literal['labeled', 'trained', 'auto'] = 'trained'
    """Router of a network of several heads. labeled: the data set names the head, the router is
    not trained, and the model's routing must name the head it serves with. trained: cross-entropy
    on the data set; the head the batch votes for is used, as in the authors' code. auto: nothing
    names the domain; all heads are used, weighted by the router, so that the depth trains it."""
    domain_weight: float = 100.0
    """Weight of the cross-entropy of the trained router. The code has 100, an unused setting in
    the same place 0.2."""
    trains: Literal['all', 'sigma'] = 'all'
    """all; sigma = only the three numbers a head that calibrate it, as for converted weights."""
    sigma_weight: float = 1.0
    """Weight of the Laplace likelihood that calibrates sigma; it cannot move the depth."""
    beyond: Literal['drop', 'clip'] = 'drop'
    """Truth outside the range of the network: drop = not trained on, as published; clip = it
    counts as the end of the range, and so does sky; sigma is calibrated without either."""

    def leaves_weights_out(self, network: str, options: Mapping[str, Any]) -> bool:
        """Whether there are several heads, of which a batch takes one."""
        return has_several_heads(network, options)

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        if not isinstance(model, ZoeDepthModel):
            problem = (
                'recipe zoedepth trains models of the zoedepth family, and '
                f'{model.spec.name} is of family {model.spec.family}.'
            )
            return [problem]
        return [
            *self._weight_problems(),
            *self._size_problems(model),
            *self._router_problems(model),
        ]

    def _weight_problems(self) -> list[str]:
        weights = ('silog_weight', 'gradient_weight', 'log_l1_weight')
        problems = self._below_0(*weights, 'silog_beta', 'domain_weight')
        if not any(getattr(self, name) for name in weights):
            problems.append(
                f'recipe: {", ".join(weights)} are all 0, so that nothing trains depth.'
            )
        return problems + self._not_above_0(
            'sigma_weight', reason=', for sigma would keep the spread of the bins as it is'
        )

    def _size_problems(self, model: DepthModel) -> list[str]:
        size = (self.network_height, self.network_width)
        if size == (None, None):
            return []
        if any(side is None or side < 1 or side % model.spec.divisor for side in size):
            problem = (
                f'recipe.network_height and network_width are {size[0]} and {size[1]}; give both '
                f'as multiples of {model.spec.divisor}, or neither.'
            )
            return [problem]
        return []

    def _router_problems(self, model: DepthModel) -> list[str]:
        if not isinstance(model, ZoeDepthNK) or self.trains == 'sigma':
            return []
        if self.router == 'trained' and not self.domain_weight > 0.0:
            return ['recipe.domain_weight is 0: nothing trains the router; auto does without.']
        serves_by_router = model.routing in ROUTINGS
        if (self.router == 'labeled') == serves_by_router:
            problem = (
                f'recipe.router is {self.router} and model.options.routing is {model.routing}: '
                'labeled leaves the router untrained and needs the name of a domain there '
                f'({", ".join(model.domains)}), the others need {" or ".join(ROUTINGS)}.'
            )
            return [problem]
        return []

    def open(self, model: DepthModel) -> ZoeDepthStep:
        """Put `model` together with its losses."""
        return ZoeDepthStep(model, self)


class ZoeDepthStep(TrainingStep[DepthModel]):
    """A network of the ZoeDepth family and its losses."""

    def __init__(self, model: DepthModel, recipe: ZoeDepthRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe
        if recipe.trains == 'sigma':
            for name, weight in model.named_parameters():
                weight.requires_grad = name.startswith('calibration.')

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a network of which only sigma is trained runs as it will serve."""
        super().train(mode)
        if self.recipe.trains == 'sigma':
            self.model.eval()
        return self

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the model on a batch and compute the weighted losses."""
        del step
        recipe = self.recipe
        prediction = self._predict(sample)
        target_m, valid, measured = self._target(sample)
        raw, depth, sigma = (
            _resized(x, sample.depth_m)
            for x in (prediction.metric_depth.squeeze(1), prediction.depth, prediction.sigma)
        )
        terms = {
            'sigma': recipe.sigma_weight * losses.laplace_nll(depth, sigma, target_m, measured)
        }
        if recipe.trains == 'sigma':
            return terms
        if recipe.silog_weight:
            silog = losses.silog_unbiased(raw, target_m, valid, beta=recipe.silog_beta)
            terms['silog'] = recipe.silog_weight * silog
        if recipe.gradient_weight:
            gradient = losses.gradient_l1(raw, target_m, valid)
            terms['gradient'] = recipe.gradient_weight * gradient
        if recipe.log_l1_weight:
            low, high = self.model.spec.min_depth, self.model.spec.max_depth
            log_l1 = losses.log_l1(raw.clamp(min=0.5 * low, max=2.0 * high), target_m, valid)
            terms['log_l1'] = recipe.log_l1_weight * log_l1
        if prediction.domain_logits is not None and recipe.router == 'trained':
            entropy = F.cross_entropy(prediction.domain_logits.float(), self._domain(sample))
            terms['domain'] = recipe.domain_weight * entropy
        return terms

    def _predict(self, sample: Sample) -> ZoeDepthPrediction:
        images = sample.image
        if self.recipe.network_height is not None and self.recipe.network_width is not None:
            size = (self.recipe.network_height, self.recipe.network_width)
            images = resize_bilinear(images, size, 'align_corners')
        if not isinstance(self.model, ZoeDepthNK) or self.recipe.trains == 'sigma':
            alone: ZoeDepthPrediction = self.model(images)
            return alone
        head = {'trained': 'vote', 'auto': 'blend'}.get(self.recipe.router)
        if head is None:
            head = self.model.domains[int(self._domain(sample)[0])]
        prediction: ZoeDepthPrediction = self.model(images, head=head)
        return prediction

    def _domain(self, sample: Sample) -> Tensor:
        """Index of the domain of each image."""
        assert isinstance(self.model, ZoeDepthNK)  # noqa: S101  only it has domains
        known = len(self.model.domains)
        if sample.domain is None or int(sample.domain.max()) >= known:
            message = (
                f'recipe.router {self.recipe.router} needs to be given which of the domains '
                f'{", ".join(self.model.domains)} each image is; give data.train.name mix with '
                f'{known} datasets in this order, or with a domain in each of its datasets.'
            )
            raise ConfigError(message)
        return sample.domain

    def _target(self, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
        """True depth, 1 where not valid; where it is valid; where it was measured, in range."""
        low, high = self.model.spec.min_depth, self.model.spec.max_depth
        if isinstance(self.model, ZoeDepthNK) and sample.domain is not None:
            name = self.model.domains[int(self._domain(sample)[0])]
            low, high = self.model.depth_ranges[name]
        depth_m = sample.depth_m
        measured = sample.valid & (depth_m > low) & (depth_m < high)
        valid = measured
        if self.recipe.beyond == 'clip':
            valid = sample.valid | torch.isposinf(depth_m)
            depth_m = depth_m.clamp(low, high)
        return torch.where(valid, depth_m, 1.0), valid, measured


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """Bring [B, h, w] to the size of `like`, as the authors do."""
    size = (like.shape[-2], like.shape[-1])
    if x.shape[-2:] == size:
        return x
    return resize_bilinear(x.unsqueeze(1), size, 'align_corners').squeeze(1)
