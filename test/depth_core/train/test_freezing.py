# SPDX-License-Identifier: Apache-2.0
"""Weights that stay as they are: by pattern, for a time, with their statistics; slower layers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from depth_core.errors import ConfigError
from depth_core.train.freezing import Frozen, freeze_norms
from depth_core.train.optim import build_optimizer
from depth_core.train.settings import OptimizerSettings


def _network() -> nn.ModuleDict:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    return nn.ModuleDict({'encoder': encoder, 'decoder': nn.Conv2d(4, 1, 1)})


def _one_step(network: nn.ModuleDict, settings: OptimizerSettings) -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    optimizer = build_optimizer(network, settings)
    for group in optimizer.param_groups:
        group['lr'] = settings.lr * group['lr_factor']
    network['decoder'](network['encoder'](images)).square().sum().backward()
    optimizer.step()


def _changed(before: dict[str, torch.Tensor], network: nn.Module) -> set[str]:
    return {key for key, value in network.state_dict().items() if not value.equal(before[key])}


def _copy(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def test_frozen_weights_and_their_statistics_stay() -> None:
    network = _network()
    before = _copy(network)
    Frozen(network, ['encoder.*'], None).apply(0)
    _one_step(network, OptimizerSettings(lr=0.1))
    assert _changed(before, network) == {'decoder.weight', 'decoder.bias'}


def test_the_statistics_follow_where_only_a_convolution_is_frozen() -> None:
    network = _network()
    before = _copy(network)
    Frozen(network, ['encoder.0.*'], None).apply(0)
    _one_step(network, OptimizerSettings(lr=0.1))
    changed = _changed(before, network)
    assert {'encoder.1.running_mean', 'encoder.1.weight', 'encoder.2.weight'} <= changed
    assert 'encoder.0.weight' not in changed


def test_they_are_released_after_their_steps() -> None:
    network = _network()
    frozen = Frozen(network, ['encoder.*'], 2)
    assert frozen.for_a_time
    seen = []
    for step in range(4):
        frozen.apply(step)
        first, norm = network.get_parameter('encoder.0.weight'), network.get_submodule('encoder.1')
        seen.append((first.requires_grad, norm.training))
    assert seen == [(False, False), (False, False), (True, True), (True, True)]
    frozen.apply(1)  # a run that goes back
    assert not network.get_parameter('encoder.0.weight').requires_grad


@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw'])
def test_each_optimizer_takes_up_weights_that_are_released(name: str) -> None:
    network = _network()
    settings = OptimizerSettings(name=name, lr=0.1, frozen=['encoder.*'], frozen_steps=1)  # type: ignore[arg-type]  # one of them
    frozen = Frozen(network, settings.frozen, settings.frozen_steps)
    optimizer = build_optimizer(network, settings)
    before = _copy(network)
    for step in range(3):
        frozen.apply(step)
        images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        network['decoder'](network['encoder'](images)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert {'encoder.0.weight', 'decoder.weight'} <= _changed(before, network)


def test_norms_that_are_frozen_otherwise_are_not_released() -> None:
    network = _network()
    freeze_norms(network)
    frozen = Frozen(network, ['encoder.*'], 1)
    frozen.apply(0)
    frozen.apply(1)
    assert network.get_parameter('encoder.0.weight').requires_grad
    assert not network.get_parameter('encoder.1.weight').requires_grad
    assert not network.get_submodule('encoder.1').training


def test_a_factor_of_0_keeps_weights_but_not_statistics() -> None:
    network = _network()
    before = _copy(network)
    settings = OptimizerSettings(lr=0.1, lr_factors={'encoder.*': 0.0}, weight_decay=0.1)
    _one_step(network, settings)
    changed = _changed(before, network)
    assert {'decoder.weight', 'encoder.1.running_mean'} <= changed
    assert not {'encoder.0.weight', 'encoder.1.weight', 'encoder.2.bias'} & changed


def test_patterns_that_match_nothing_or_everything_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"optimizer.frozen: 'encodr.\*' matches none of the 8"):
        Frozen(_network(), ['encoder.*', 'encodr.*'], None)
    with pytest.raises(ConfigError, match='holds all 8 weights, so that nothing is trained'):
        Frozen(_network(), ['*'], None)
    with pytest.raises(
        ConfigError, match='all 8 trainable weights a factor of 0, so that nothing'
    ):
        build_optimizer(_network(), OptimizerSettings(lr_factors={'*': 0.0}))


def test_layers_of_the_encoder_learn_the_slower_the_earlier_they_are() -> None:
    """Three numbered layers: 0.5^3, 0.5^2 and 0.5 of the rate; the decoder has all of it."""
    network = _network()
    optimizer = build_optimizer(network, OptimizerSettings(layer_decay=0.5))
    factors = {
        id(weight): group['lr_factor']
        for group in optimizer.param_groups
        for weight in group['params']
    }
    found = {name: factors[id(weight)] for name, weight in network.named_parameters()}
    assert found == {
        'encoder.0.weight': 0.125,
        'encoder.0.bias': 0.125,
        'encoder.1.weight': 0.25,
        'encoder.1.bias': 0.25,
        'encoder.2.weight': 0.5,
        'encoder.2.bias': 0.5,
        'decoder.weight': 1.0,
        'decoder.bias': 1.0,
    }
    both = OptimizerSettings(layer_decay=0.5, lr_factors={'encoder.0.*': 0.1})
    assert min(g['lr_factor'] for g in build_optimizer(network, both).param_groups) == (
        pytest.approx(0.0125)
    )


def test_layer_decay_without_an_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match='no trainable encoder'):
        build_optimizer(
            nn.Sequential(nn.Linear(2, 2)),
            dataclasses.replace(OptimizerSettings(), layer_decay=0.9),
        )
