# SPDX-License-Identifier: Apache-2.0
"""Recipes that bring networks beside the model, and what the loop does for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depth_core.data.sample import Sample
from depth_core.errors import CheckpointError, ConfigError
from depth_core.models.base import DepthModel
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.recipes import TrainingStep
from depth_core.train.recipes.depth import DepthRecipe
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings
from depth_core.weights.checkpoint import read_checkpoint

pytestmark = pytest.mark.numeric


@dataclass(frozen=True, kw_only=True)
class Beside(DepthRecipe):
    """A recipe with a trained and a frozen network beside the model, in alternation."""

    name: str = 'beside'
    width: int = 3
    fail: bool = False

    def problems(self, model: DepthModel) -> list[str]:
        return [f'recipe.fail is set for {model.spec.name}.'] if self.fail else []

    def open(self, model: DepthModel) -> TrainingStep[DepthModel]:
        return BesideStep(model, self.width)


class BesideStep(TrainingStep[DepthModel]):
    def __init__(self, model: DepthModel, width: int) -> None:
        super().__init__(model)
        self.scale = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))
        self.embedding = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.embedding.requires_grad_(requires_grad=False)
        self.steps: list[int] = []

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        self.steps.append(step)
        assert self.scale.training
        assert not self.embedding.training
        prediction = self.model(sample.image)
        factor = 1.0 + self.scale(sample.image).mean()
        error = (factor * prediction.depth).log() - sample.depth_m.clamp(1.0, 50.0).log()
        terms = {'depth': error.abs().mean(), 'sigma': prediction.sigma.log().abs().mean()}
        if step % 2:
            terms['embedded'] = self.embedding(error[:, None]).abs().mean()
        return terms


def beside(tiny_config: Path, folder: Path, *arguments: object, **fields: Any) -> TrainSettings:
    given = ['--config', tiny_config, '--trainer.run_dir', folder, *arguments]
    settings = parse([str(argument) for argument in given])
    return replace(settings, recipe=Beside(**fields))


@pytest.fixture(scope='module')
def finished(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(beside(tiny_config, tmp_path_factory.mktemp('beside') / 'run'))


def training_of(path: Path) -> dict[str, Any]:
    training = read_checkpoint(path).training
    assert training is not None
    return dict(training)


def assert_same_state(first: Path, second: Path) -> None:
    ours, theirs = read_checkpoint(first), read_checkpoint(second)
    torch.testing.assert_close(dict(ours.state), dict(theirs.state), rtol=0.0, atol=0.0)
    for part in ('companions', 'optimizer', 'weights', 'best_cost', 'best_step'):
        torch.testing.assert_close(
            training_of(first)[part], training_of(second)[part], rtol=0.0, atol=0.0
        )


def test_a_checkpoint_keeps_what_is_beside_the_model(finished: RunFolder) -> None:
    companions = training_of(finished.last)['companions']
    assert {key.partition('.')[0] for key in companions} == {'scale', 'embedding'}
    early = training_of(finished.step_checkpoint(2))['companions']
    trained = {key for key in companions if not torch.equal(companions[key], early[key])}
    assert {'scale.0.weight', 'scale.1.running_mean'} <= trained
    assert not any(key.startswith('embedding.') for key in trained)
    assert not any(
        key.startswith(('scale', 'model')) for key in read_checkpoint(finished.best).state
    )


def test_two_and_two_steps_are_four_for_all_networks(
    tiny_config: Path, finished: RunFolder, tmp_path: Path
) -> None:
    again = train(
        beside(tiny_config, tmp_path / 'run', '--trainer.resume', finished.step_checkpoint(2))
    )
    assert_same_state(again.last, finished.last)


def test_companions_of_another_shape_are_refused(
    tiny_config: Path, finished: RunFolder, tmp_path: Path
) -> None:
    other = training_of(finished.last)['settings']['recipe']
    assert other['width'] == 3
    with pytest.raises(CheckpointError, match=r'recipe\.width: 3 in the checkpoint, 4 now'):
        train(beside(tiny_config, tmp_path, '--trainer.resume', finished.last, width=4))


def test_problems_of_a_recipe_are_named(tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'recipe\.fail is set for densedepth_small'):
        train(beside(tiny_config, tmp_path / 'run', fail=True))


def test_rates_may_differ_between_the_networks(
    tiny_config: Path, finished: RunFolder, tmp_path: Path
) -> None:
    """A factor of next to nothing leaves the weights of a companion, and only these, alone."""
    run = train(
        beside(tiny_config, tmp_path / 'run', '--optimizer.lr_factors', '{"scale.*": 1.0e-30}')
    )
    kept, moved = (
        training_of(path)['companions']['scale.0.weight'] for path in (run.last, finished.last)
    )
    start = training_of(run.step_checkpoint(2))['companions']['scale.0.weight']
    assert torch.equal(kept, start)
    assert not torch.equal(kept, moved)


def test_frozen_norms_stay_frozen_through_validation(tiny_config: Path, tmp_path: Path) -> None:
    run = train(beside(tiny_config, tmp_path / 'run', '--optimizer.frozen_norm', 'true',
                       '--optimizer.ema_decay', 'null'))  # fmt: skip
    state = read_checkpoint(run.last).state
    means = [value for key, value in state.items() if key.endswith('running_mean')]
    assert means
    assert all(torch.equal(value, torch.zeros_like(value)) for value in means)


class Linear(TrainingStep[DepthModel]):
    """A loss that is a mean over the images, of a network without batch norm in its way."""

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        del step
        self.model.eval()
        prediction = self.model(sample.image)
        return {'depth': prediction.depth.mean(), 'sigma': prediction.sigma.mean()}


@dataclass(frozen=True, kw_only=True)
class LinearRecipe(Beside):
    def open(self, model: DepthModel) -> TrainingStep[DepthModel]:
        return Linear(model)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(tiny_config: Path, tmp_path: Path) -> None:
    """One step of SGD; the rest is the order of sums in float32."""
    runs = []
    for parts in (1, 2):
        settings = beside(
            tiny_config, tmp_path / str(parts), '--trainer.max_steps', 1, '--optimizer.name',
            'sgd', '--optimizer.lr', '0.01', '--schedule.name', 'constant',
            '--schedule.warmup_steps', 0, '--trainer.gradient_accumulation', parts,
        )  # fmt: skip
        runs.append(train(replace(settings, recipe=LinearRecipe())))
    whole, parted = (read_checkpoint(run.last).state for run in runs)
    torch.testing.assert_close(dict(parted), dict(whole), rtol=1e-4, atol=1e-6)
    losses = [run.history.read_text(encoding='utf-8') for run in runs]
    first, second = (float(text.split('"loss": ')[1].split(',')[0]) for text in losses)
    assert first == pytest.approx(second, rel=1e-5)


def test_parts_must_share_a_batch_evenly(tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'in 3 parts .*give a multiple of 3'):
        train(beside(tiny_config, tmp_path, '--trainer.gradient_accumulation', 3))
