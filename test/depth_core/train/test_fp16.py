# SPDX-License-Identifier: Apache-2.0
"""Mixed arithmetic with a scaled loss, on the CPU: the scale, what it leaves out, its resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.models.base import DepthModel
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.recipes import TrainingStep
from depth_core.train.recipes.depth import DepthRecipe
from depth_core.train.run_folder import RunFolder
from depth_core.weights.checkpoint import read_checkpoint


@dataclass(frozen=True, kw_only=True)
class Overflowing(DepthRecipe):
    """A recipe whose gradient is not finite in one step."""

    name: str = 'overflowing'
    at: int = 0

    def problems(self, model: DepthModel) -> list[str]:
        del model
        return []

    def open(self, model: DepthModel) -> TrainingStep[DepthModel]:
        return OverflowingStep(model, self.at)


class OverflowingStep(TrainingStep[DepthModel]):
    def __init__(self, model: DepthModel, at: int) -> None:
        super().__init__(model)
        self.at = at

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        prediction = self.model(sample.image)
        depth = prediction.depth.float().log().mean()
        nothing = (depth * 0.0 if step == self.at else depth * 0.0 + 1.0).sqrt()
        return {'depth': depth.abs() + nothing, 'sigma': prediction.sigma.float().log().mean()}


def run_of(config: Path, folder: Path, *arguments: object) -> RunFolder:
    given = ['--config', config, '--trainer.run_dir', folder, '--trainer.precision', 'fp16',
             '--optimizer.ema_decay', 'null', '--schedule.name', 'constant',
             '--schedule.warmup_steps', 0, '--trainer.checkpoint_every_steps', 1,
             '--trainer.keep_checkpoints', 4, '--data.validation.name', 'null',
             '--data.train.options', '{seed: 1, length: 4, scenes: indoor}',
             *arguments]  # fmt: skip
    return train(replace(parse([str(item) for item in given]), recipe=Overflowing(at=1)))


def training_of(path: Path) -> dict[str, Any]:
    training = read_checkpoint(path).training
    assert training is not None
    return dict(training)


def weights_of(path: Path) -> Mapping[str, Tensor]:
    state = read_checkpoint(path).state
    return {key: value for key, value in state.items() if key.endswith('weight')}


@pytest.fixture(scope='module')
def finished(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_of(tiny_config, tmp_path_factory.mktemp('fp16') / 'run', '--trainer.max_steps', 3)


def test_a_step_that_overflows_is_left_out_and_halves_the_scale(finished: RunFolder) -> None:
    first, left_out, third = (weights_of(finished.step_checkpoint(step)) for step in (1, 2, 3))
    for key, weight in first.items():
        assert torch.equal(weight, left_out[key]), key
    assert any(not torch.equal(left_out[key], third[key]) for key in third)
    scales = [
        training_of(finished.step_checkpoint(step))['precision']['scale'] for step in (1, 2, 3)
    ]
    assert scales[0] > 1.0
    assert scales[1:] == [scales[0] / 2.0, scales[0] / 2.0]


def test_a_resumed_run_has_the_scale_of_the_first(
    tiny_config: Path, finished: RunFolder, tmp_path: Path
) -> None:
    again = run_of(tiny_config, tmp_path / 'run', '--trainer.max_steps', 3,
                   '--trainer.resume', finished.step_checkpoint(2))  # fmt: skip
    assert training_of(again.last)['precision'] == training_of(finished.last)['precision']
    resumed = weights_of(again.last)
    for key, weight in weights_of(finished.last).items():
        assert torch.equal(weight, resumed[key]), key
