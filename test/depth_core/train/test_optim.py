# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate and averaged weights."""

from __future__ import annotations

import pytest
import torch

from depth_core.models import create_model
from depth_core.train.command_line import parse
from depth_core.train.optim import AveragedModel, build_optimizer, learning_rate
from depth_core.train.settings import TrainSettings

SMALL = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8)}


def settings(*arguments: str) -> TrainSettings:
    return parse(
        ['--model.name', 'densedepth_small', '--data.train.name', 'synthetic',
         '--data.height', '64', '--data.width', '64', '--trainer.batch_size', '2',
         '--trainer.max_steps', '100', '--optimizer.lr', '1.0', *arguments]
    )  # fmt: skip


def rates(*arguments: str) -> list[float]:
    chosen = settings(*arguments)
    return [learning_rate(step, chosen) for step in range(chosen.trainer.max_steps)]


def test_a_constant_rate_rises_in_the_warm_up_and_stays() -> None:
    found = rates('--schedule.warmup_steps', '4')
    assert found[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert found[-1] == 1.0


def test_a_cosine_falls_from_the_peak_to_its_fraction() -> None:
    found = rates('--schedule.name', 'cosine', '--schedule.final_factor', '0.1')
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.55)  # half way: the mean of 1 and 0.1
    assert found[-1] == pytest.approx(0.1, abs=1e-3)
    assert found == sorted(found, reverse=True)


def test_one_cycle_rises_and_falls_as_cosines() -> None:
    found = rates('--schedule.name', 'onecycle', '--schedule.warmup_steps', '20')
    assert found[9] == pytest.approx(0.5)
    assert found[19] == found[20] == 1.0
    assert found[-1] == pytest.approx(0.01, abs=1e-3)


def test_a_schedule_longer_than_the_run_is_cut_off() -> None:
    longer = rates('--schedule.name', 'cosine', '--schedule.steps', '200')
    assert longer[99] == pytest.approx(0.505, abs=0.01)


def test_vectors_do_not_decay() -> None:
    optimizer = build_optimizer(
        create_model('densedepth_small', **SMALL),
        settings('--optimizer.weight_decay', '0.1').optimizer,
    )
    matrices, vectors = optimizer.param_groups
    assert matrices['weight_decay'] == 0.1
    assert vectors['weight_decay'] == 0.0
    assert all(weight.ndim > 1 for weight in matrices['params'])
    assert all(weight.ndim <= 1 for weight in vectors['params'])


def test_the_average_follows_weights_and_norm_statistics() -> None:
    model = create_model('densedepth_small', **SMALL)
    averaged = AveragedModel(model, decay=0.9)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(1)
    averaged.update(model, step=10_000)
    for key, value in averaged.model.state_dict().items():
        expected = start[key] + (0.1 if value.is_floating_point() else 1)
        torch.testing.assert_close(value, expected, msg=key)


def test_the_average_forgets_the_first_weights_soon() -> None:
    model = create_model('densedepth_small', **SMALL)
    averaged = AveragedModel(model, decay=0.9999)
    name, weight = next(iter(averaged.model.named_parameters()))
    with torch.no_grad():
        model.get_parameter(name).fill_(1.0)
        weight.fill_(0.0)
    for step in range(1, 101):
        averaged.update(model, step)
    assert weight.mean() > 0.999  # a plain average of decay 0.9999 would be at 0.01
