# SPDX-License-Identifier: Apache-2.0
"""The memory of a training, against hand-worked sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError
from depth_core.models import DepthModel
from depth_core.train.command_line import parse
from depth_core.train.gpu_memory import describe, memory_need
from depth_core.train.recipes import TrainingStep
from depth_core.train.recipes.depth import DepthRecipe
from depth_core.train.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Squares(DepthRecipe):
    """A loss that keeps its input twice over and nothing of the network."""

    name: str = 'squares'
    needs_numbers: bool = False

    def problems(self, model: DepthModel) -> list[str]:
        del model
        return []

    def open(self, model: DepthModel) -> TrainingStep[DepthModel]:
        return SquaresStep(model, needs_numbers=self.needs_numbers)


class SquaresStep(TrainingStep[DepthModel]):
    def __init__(self, model: DepthModel, *, needs_numbers: bool) -> None:
        super().__init__(model)
        self.factor = nn.Parameter(torch.ones(1))
        self.needs_numbers = needs_numbers

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        del step
        product = sample.image * self.factor  # keeps the images; the factor is a weight
        if self.needs_numbers:
            assert product.mean().item() > 0.0
        squares = product**2  # keeps the products
        return {'depth': squares.mean() + (product * 2.0).mean()}  # neither keeps anything more


def settings_of(config: Path, *arguments: object) -> TrainSettings:
    return parse([str(item) for item in ('--config', config, *arguments)])


@pytest.mark.parametrize('needs_numbers', [False, True])
def test_what_is_kept_is_counted_once(tiny_config: Path, *, needs_numbers: bool) -> None:
    """Twice 8 / 2 images of 3x64x64 numbers of 4 bytes; weights are none of it."""
    settings = settings_of(tiny_config, '--trainer.batch_size', 8)
    recipe = Squares(needs_numbers=needs_numbers)
    need = memory_need(replace(settings, recipe=recipe), gpus=2)
    assert need.images == 4
    assert need.activations_gb * 1e9 == 2 * 4 * 3 * 64 * 64 * 4
    assert need.extrapolated == needs_numbers


def test_weights_their_gradients_and_the_optimizer(tiny_config: Path) -> None:
    """Adam keeps two numbers of each weight, AMSGrad three; frozen ones need neither."""
    given = ('--optimizer.name', 'adam', '--optimizer.ema_decay', 'null')
    plain, amsgrad, frozen, averaged = (
        memory_need(settings_of(tiny_config, *given, *more))
        for more in (
            (),
            ('--optimizer.amsgrad', 'true'),
            ('--optimizer.frozen', "['model.encoder.*']"),
            ('--optimizer.ema_decay', '0.9'),
        )
    )
    assert plain.optimizer_gb == pytest.approx(2.0 * plain.gradients_gb)
    assert amsgrad.optimizer_gb == pytest.approx(3.0 * plain.gradients_gb)
    assert 0.0 < frozen.gradients_gb < plain.gradients_gb < plain.weights_gb
    assert frozen.weights_gb == plain.weights_gb
    assert averaged.weights_gb == pytest.approx(2.0 * plain.weights_gb)
    assert plain.total_gb == pytest.approx(
        plain.weights_gb + 3.0 * plain.gradients_gb + plain.activations_gb
    )
    assert 'computed, not measured' in describe(plain)


def test_a_batch_that_cannot_be_shared_is_refused(tiny_config: Path) -> None:
    with pytest.raises(ConfigError, match=r'batch_size is 2, which 3 GPU\(s\) cannot share'):
        memory_need(settings_of(tiny_config), gpus=3)
