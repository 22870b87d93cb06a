# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate and averaged weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.train.command_line import parse
from depth_core.train.freezing import freeze_norms
from depth_core.train.optim import (
    AveragedModel,
    LearningRate,
    build_optimizer,
)
from depth_core.train.settings import TrainSettings

DATA = Path(__file__).resolve().parents[2] / 'data'
SMALL = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8)}


def settings(*arguments: str) -> TrainSettings:
    return parse(
        ['--model.name', 'densedepth_small', '--data.train.name', 'synthetic',
         '--data.height', '64', '--data.width', '64', '--trainer.batch_size', '2',
         '--trainer.max_steps', '100', '--optimizer.lr', '1.0', *arguments]
    )  # fmt: skip


def rate_of(chosen: TrainSettings) -> LearningRate:
    return LearningRate(chosen.schedule, chosen.optimizer.lr, chosen.schedule_steps)


def rates(*arguments: str) -> list[float]:
    chosen = settings(*arguments)
    return [rate_of(chosen).at(step) for step in range(chosen.trainer.max_steps)]


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


@pytest.mark.parametrize('warmup', [2, 20, 70])
@pytest.mark.parametrize('div_factor', [1.0, 25.0])
@pytest.mark.parametrize('name', ['adamw', 'sgd'])
def test_one_cycle_is_that_of_torch(warmup: int, div_factor: float, name: str) -> None:
    """Rates of two groups and cycled momentum over the whole schedule, step by step."""
    theirs_optimizer = _optimizer(name)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        theirs_optimizer, max_lr=[1.0, 0.1], total_steps=100, pct_start=warmup / 100,
        div_factor=div_factor, final_div_factor=1e4, base_momentum=0.85, max_momentum=0.95,
    )  # fmt: skip
    chosen = settings(
        '--optimizer.name', name, '--schedule.name', 'onecycle',
        '--schedule.warmup_steps', str(warmup), '--schedule.div_factor', str(div_factor),
        '--schedule.final_factor', str(1e-4 / div_factor),
        '--schedule.cycled_momentum', '[0.85, 0.95]',
        '--optimizer.lr_factors', '{"1.*": 0.1}',
    )  # fmt: skip
    ours = build_optimizer(nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)),
                           chosen.optimizer)  # fmt: skip
    for step in range(100):
        assert rate_of(chosen).set(ours, step) == pytest.approx(ours.param_groups[0]['lr'])
        for own, their in zip(ours.param_groups, theirs_optimizer.param_groups, strict=True):
            assert own['lr'] == pytest.approx(their['lr'], rel=1e-9)
            momentum, expected = (
                group['betas'][0] if 'betas' in group else group['momentum']
                for group in (own, their)
            )
            assert momentum == pytest.approx(expected, rel=1e-9)
        theirs_optimizer.step()
        if step < 99:
            theirs.step()


def _optimizer(name: str) -> torch.optim.Optimizer:
    groups = [{'params': [nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    if name == 'sgd':
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    return torch.optim.AdamW(groups, lr=1.0)


def test_one_cycle_may_start_at_its_peak() -> None:
    found = rates('--schedule.name', 'onecycle', '--schedule.warmup_steps', '1')
    assert found[0] == 1.0
    assert found[99] == pytest.approx(0.01)


def test_polynomial_is_that_of_urcdc() -> None:
    """2e-5 to 2e-6 with power 0.9 over 100,000 steps, computed by the authors' function."""
    with np.load(DATA / 'urcdc_metrics_schedule_crops.npz') as fixture:
        steps, total, values = (fixture[name] for name in ('lr_steps', 'lr_total', 'lr_values'))
    chosen = settings(
        '--optimizer.lr', '2e-5', '--schedule.name', 'polynomial', '--schedule.power', '0.9',
        '--schedule.final_factor', '0.1', '--schedule.steps', str(total),
    )  # fmt: skip
    found = [rate_of(chosen).at(int(step)) for step in steps]
    assert found == pytest.approx(values.tolist(), rel=1e-12)


def test_polynomial_to_nothing_is_that_of_torch() -> None:
    optimizer = _optimizer('sgd')
    theirs = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=100, power=2.0)
    found = rates('--schedule.name', 'polynomial', '--schedule.power', '2',
                  '--schedule.final_factor', '0')  # fmt: skip
    for rate in found:
        assert rate == pytest.approx(optimizer.param_groups[0]['lr'], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_step_falls_at_each_milestone() -> None:
    found = rates('--schedule.name', 'step', '--schedule.milestones', '[10, 40]',
                  '--schedule.gamma', '0.5')  # fmt: skip
    assert found[9:11] == [1.0, 0.5]  # after ten steps, as MultiStepLR
    assert found[39:41] == [0.5, 0.25]
    assert found[-1] == 0.25


def test_a_schedule_longer_than_the_run_is_cut_off() -> None:
    longer = rates('--schedule.name', 'cosine', '--schedule.steps', '200')
    assert longer[99] == pytest.approx(0.505, abs=0.01)


def test_vectors_do_not_decay() -> None:
    model = create_model('densedepth_small', **SMALL)
    optimizer = build_optimizer(model, settings('--optimizer.weight_decay', '0.1').optimizer)
    matrices, vectors = optimizer.param_groups
    assert matrices['weight_decay'] == 0.1
    assert vectors['weight_decay'] == 0.0
    assert all(weight.ndim > 1 for weight in matrices['params'])
    assert all(weight.ndim <= 1 for weight in vectors['params'])
    assert sum(len(group['params']) for group in (matrices, vectors)) == len(
        list(model.parameters())
    )


def test_vectors_decay_when_all_do() -> None:
    (group,) = build_optimizer(
        create_model('densedepth_small', **SMALL),
        settings('--optimizer.weight_decay', '0.1', '--optimizer.decay_all', 'true').optimizer,
    ).param_groups
    assert group['weight_decay'] == 0.1


def test_rates_have_factors_by_name_and_the_first_pattern_counts() -> None:
    network = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ('head', 'stem')})
    network['frozen'] = nn.Linear(2, 2).requires_grad_(requires_grad=False)
    chosen = settings('--optimizer.lr_factors', '{"head.*": 0.5, "*.weight": 0.1}')
    optimizer = build_optimizer(network, chosen.optimizer)
    rate_of(chosen).set(optimizer, 0)
    found = {id(group['params'][0]): group['lr'] for group in optimizer.param_groups}
    assert found == {id(network['head'].weight): 0.5, id(network['stem'].weight): 0.1}


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    chosen = settings('--optimizer.lr_factors', '{"encoder.*": 0.1}')
    with pytest.raises(ConfigError) as caught:
        build_optimizer(nn.Linear(2, 2), chosen.optimizer)
    assert str(caught.value) == (
        "optimizer.lr_factors: 'encoder.*' matches none of the 2 trainable weights; their names "
        'are as weight, bias.'
    )


def test_momentum_of_sgd_is_that_asked_for() -> None:
    """Two steps against a gradient of 1: 1, then 1 + 0.5."""
    weight = nn.ParameterList([torch.zeros(1)])
    optimizer = build_optimizer(
        weight, settings('--optimizer.name', 'sgd', '--optimizer.momentum', '0.5').optimizer
    )
    for expected in (-1.0, -2.5):
        weight[0].grad = torch.ones(1)
        optimizer.step()
        assert weight[0].item() == expected


def test_frozen_norms_keep_weights_and_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    freeze_norms(network)
    before = {key: value.clone() for key, value in network[1].state_dict().items()}
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    assert network[0].weight.grad is not None
    assert all(weight.grad is None for weight in network[1].parameters())
    for key, value in network[1].state_dict().items():
        assert torch.equal(value, before[key]), key


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
