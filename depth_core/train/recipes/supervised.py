# SPDX-License-Identifier: Apache-2.0
"""Any network of metric depth, by a list of textbook losses.

What the recipes of the families do not have: the same losses for every architecture, so that
networks, or losses, can be compared with all else equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from torch import Tensor

from depth_core import losses
from depth_core.contracts import DepthKind
from depth_core.data.sample import DepthDataset, Sample, known_camera
from depth_core.errors import ConfigError, DataError
from depth_core.losses.terms import TERMS, BinsChamfer, Maps, Normal, Term
from depth_core.models import cliffnet, densedepth, zoedepth
from depth_core.models.base import DepthModel
from depth_core.models.zoedepth.domains import has_several_heads
from depth_core.models.zoedepth.network import ZoeDepth, ZoeDepthPrediction
from depth_core.models.zoedepth.small import ZoeDepthSmall
from depth_core.named import build_named
from depth_core.train.recipes.base import TrainingStep
from depth_core.train.recipes.depth import UNTRAINED, DepthRecipe, target_of

_WHOLE: Final = {
    network.name
    for family in (cliffnet, densedepth, zoedepth)
    for network in family.FAMILY.networks
}
"""Networks whose depth and sigma depend on every weight, unless there are several heads."""
_SEARCHED: Final = 200
"""Samples that are looked at for a camera."""


def _usual() -> list[dict[str, Any] | str]:
    return [{'name': 'silog'}]


@dataclass(frozen=True, kw_only=True)
class SupervisedRecipe(DepthRecipe):
    """Metric depth from true depth, by the losses of a list."""

    name: Literal['supervised'] = 'supervised'
    """Name of the recipe."""
    losses: list[dict[str, Any] | str] = field(default_factory=_usual)
    """Terms of the loss, each {name, weight, options} or a name alone: l1; log_l1; berhu (share
    0.2); silog (variance_focus 0.85, scale 10, unbiased false); ssi = scale and shift invariant
    (alignment least_squares or median, space depth or inverse, trim 0); gradient (space depth, log
    or inverse, scales 4); normal = angle of surface normals; bins_chamfer = centres of bins, for
    networks that have some. weight is 1 where it is left out."""
    sigma_weight: float = 1.0
    """Weight of the Laplace likelihood that trains sigma; it cannot move the depth."""
    sky_as_max_depth: bool = False
    """Train sky as being at max_depth; false leaves it out."""

    def leaves_weights_out(self, network: str, options: Mapping[str, Any]) -> bool:
        """Whether there are branches or heads that only the losses of its family train."""
        return network not in _WHOLE or has_several_heads(network, options)

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = self._not_above_0('sigma_weight', reason=UNTRAINED)
        if model.spec.kind not in {DepthKind.METRIC, DepthKind.CANONICAL}:
            problems.append(
                f'recipe supervised trains networks of metric depth, and {model.spec.name} gives '
                f'depth of kind {model.spec.kind}; use the recipe of its family.'
            )
        try:
            terms = read_terms(self.losses)
        except ConfigError as error:
            return [*problems, str(error)]
        if not any(weight for _, _, weight in terms):
            problems.append('recipe.losses: every weight is 0, so that nothing trains depth.')
        bins = isinstance(model, (ZoeDepth, ZoeDepthSmall))
        if not bins and any(isinstance(term, BinsChamfer) for _, term, _ in terms):
            problems.append(
                f'recipe.losses has bins_chamfer, and {model.spec.name} has no bins of depth (or '
                'a set of them for each domain); leave it out, or take zoedepth_small.'
            )
        return problems

    def check_data(self, dataset: DepthDataset) -> None:
        """Refuse data without cameras where the loss of normals is listed.

        Raises:
            DataError: None of up to 200 samples, evenly spaced, has a known camera.
        """
        terms = read_terms(self.losses)
        if not any(isinstance(term, Normal) and weight for _, term, weight in terms):
            return
        looked_at = range(0, len(dataset), -(-len(dataset) // _SEARCHED))
        if any(known_camera(dataset[index]) is not None for index in looked_at):
            return
        message = (
            f'recipe.losses has normal, and none of {len(looked_at)} samples that were looked at, '
            f'of {len(dataset)} ({dataset[0].key} ...), has a known camera; give data with '
            'intrinsics, or leave normal out.'
        )
        raise DataError(message)

    def open(self, model: DepthModel) -> SupervisedStep:
        """Put `model` together with its losses."""
        return SupervisedStep(model, self)


def read_terms(given: object) -> list[tuple[str, Term, float]]:
    """Read a list of losses.

    Returns:
        Name in the log, loss and weight of each; a loss that is listed twice has a number.

    Raises:
        ConfigError: It is no list, empty, or one of them has an unknown name or option.
    """
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        message = (
            f'recipe.losses is {given!r}; give a list of losses, as [{{name: silog, weight: 1}}]. '
            f'Known: {", ".join(TERMS)}.'
        )
        raise ConfigError(message)
    found: list[tuple[str, Term, float]] = []
    for place, item in enumerate(given):
        where = f'recipe.losses[{place}]'
        options = dict(item) if isinstance(item, Mapping) else item
        weight = options.pop('weight', 1.0) if isinstance(options, dict) else 1.0
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0.0 <= weight < math.inf:
            message = f'{where}.weight is {weight!r}; give a number, at least 0.'
            raise ConfigError(message)
        term = build_named(where, options, TERMS)
        name = item if isinstance(item, str) else str(item['name'])
        again = sum(1 for known, _, _ in found if known.partition('#')[0] == name)
        found.append((f'{name}#{again + 1}' if again else name, term, float(weight)))
    return found


class SupervisedStep(TrainingStep[DepthModel]):
    """A network of metric depth and a list of losses."""

    def __init__(self, model: DepthModel, recipe: SupervisedRecipe) -> None:
        super().__init__(model)
        self.recipe = recipe
        self.terms = read_terms(recipe.losses)

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Run the model on a batch and compute the weighted losses."""
        del step
        model, recipe = self.model, self.recipe
        prediction = model(sample.image)
        target_m, valid = target_of(sample, model.spec, sky_as_max_depth=recipe.sky_as_max_depth)
        centres = None
        if isinstance(prediction, ZoeDepthPrediction) and prediction.bin_centres is not None:
            centres = prediction.bin_centres.float().mean(dim=(2, 3))
        maps = Maps(
            depth=prediction.depth.float(),
            target=target_m,
            valid=valid,
            intrinsics=sample.intrinsics,
            bin_centres=centres,
        )
        found = {name: weight * term(maps) for name, term, weight in self.terms if weight}
        found['sigma'] = recipe.sigma_weight * losses.laplace_nll(
            prediction.depth, prediction.sigma, target_m, valid
        )
        return found
