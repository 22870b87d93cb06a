# SPDX-License-Identifier: Apache-2.0
"""Weights as people publish them: extras of tools do no harm, broken values are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depth_core.convert import convert_state_dict, main
from depth_core.errors import CheckpointError
from depth_core.models import FAMILIES, NETWORKS, DepthModel, Network, create_model
from depth_core.models.selfsup.keys import poseresnet_key, resnet_key
from depth_core.models.selfsup.pose import create_pose_network
from depth_core.weights.checkpoint import load_model, save_model
from depth_core.weights.pose_file import (
    convert_pose_state_dict,
    read_pose_network,
    save_pose_network,
)

State = Mapping[str, Any]

OFFICIAL = [network for family in FAMILIES for network in family.networks if network.official]


@cache
def _published(name: str) -> dict[str, Tensor]:
    network = NETWORKS[name]
    torch.manual_seed(0)
    model = create_model(network.name, **network.tiny)
    own = model.own_state()
    return {
        network.weights.official_key(key): value
        for key, value in model.state_dict().items()
        if key not in own
    }


def published(network: Network) -> dict[str, Tensor]:
    """Weights of the tiny form by the names of the authors; the tensors are not to be changed."""
    return dict(_published(network.name))


@pytest.mark.parametrize('network', OFFICIAL, ids=lambda network: network.name)
def test_extras_of_tools_change_nothing_in_any_family(network: Network) -> None:
    state = published(network)
    counters = {f'{key.rpartition(".")[0]}.total_ops': torch.zeros(1) for key in list(state)[:3]}
    wrapped = {f'_orig_mod.module.{key}': value for key, value in (state | counters).items()}
    without = {key: value for key, value in wrapped.items() if 'num_batches_tracked' not in key}
    expected = convert_state_dict(network.name, state, **network.tiny)
    found = convert_state_dict(network.name, without, **network.tiny)
    for key, value in expected.items():
        if not key.endswith('num_batches_tracked'):
            assert torch.equal(found[key], value), key
    assert found.keys() == expected.keys()


@pytest.mark.parametrize('network', OFFICIAL, ids=lambda network: network.name)
@pytest.mark.parametrize('wrong', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_become_no_checkpoint(network: Network, wrong: float) -> None:
    state = published(network)
    key = next(key for key, value in state.items() if value.ndim > 1)
    broken = {**state, key: state[key].clone()}
    broken[key].view(-1)[0] = wrong
    with pytest.raises(CheckpointError, match=r'1 of \d+ tensors have values that are NaN or inf'):
        convert_state_dict(network.name, broken, **network.tiny)


@cache
def networks_of_monodepth2() -> tuple[DepthModel, nn.Module]:
    """A ResNet-18 and its pose network, whose weights are not to be changed."""
    torch.manual_seed(0)
    return create_model('selfsup_resnet18'), create_pose_network('monodepth2_resnet18')


def monodepth2(folder: Path, change: Callable[[dict[str, Any]], State]) -> Path:
    """The folder of a ResNet-18 as monodepth2 writes it, each file passed through `change`."""
    model, pose_network = networks_of_monodepth2()
    own = model.own_state()
    state = {resnet_key(key): value for key, value in model.state_dict().items() if key not in own}
    pose = {poseresnet_key(key): value for key, value in pose_network.state_dict().items()}
    parts = {
        'encoder.pth': (state, 'encoder.'),
        'depth.pth': (state, 'decoder.'),
        'pose_encoder.pth': (pose, 'encoder.'),
        'pose.pth': (pose, 'decoder.'),
    }
    folder.mkdir()
    for name, (source, prefix) in parts.items():
        inside = {
            key.removeprefix(prefix): value
            for key, value in source.items()
            if key.startswith(prefix)
        }
        torch.save(change(inside), folder / name)
    return folder


def with_numbers(state: dict[str, Any]) -> State:
    """With what training loops and profilers leave beside the weights."""
    return (
        state
        | {'height': 192, 'width': 640, 'use_stereo': False}
        | {'epoch': 12, 'frame_ids': [0, -1, 1], 'opt': {'lr': 1e-4}}
        | {'best_loss': torch.tensor(0.1), 'step': np.int64(7), 'K': np.eye(4), 'ks': [1, None]}
        | {'dtype': torch.float32, 'hyper': {'lr': 1e-4, 'steps': [3, 4]}}
        | {'total_ops': torch.zeros(1), 'x.total_params': torch.ones(1)}
    )


def of_parallel(state: dict[str, Any]) -> State:
    """From a wrapper for several GPUs, with sizes as tensors."""
    return {f'module.{key}': value for key, value in state.items()} | {'height': torch.tensor(192)}


def compiled_in_half(state: dict[str, Any]) -> State:
    """From a compiled network, in half precision, under a name."""
    halves = {f'_orig_mod.{key}': value.half() for key, value in state.items()}
    return {'net': halves, 'best_loss': 0.1}


def wrapped_without_counts(state: dict[str, Any]) -> State:
    """A checkpoint of training by a torch that counted no batches."""
    old = {key: state[key] for key in state if 'num_batches' not in key}
    return {'state_dict': old, 'epoch': 3, 'optimizer': {'state': {0: {'m': torch.zeros(2)}}}}


CHANGES = (with_numbers, of_parallel, compiled_in_half, wrapped_without_counts)
"""Several at once each: a folder takes 100 MB, and what it becomes as much again."""


@pytest.mark.parametrize('change', CHANGES)
def test_a_folder_of_monodepth2_as_people_publish_it(
    tmp_path: Path, change: Callable[[dict[str, Any]], State]
) -> None:
    source = monodepth2(tmp_path / 'mono', change)
    output, pose_output = tmp_path / 'a.ckpt', tmp_path / 'pose.ckpt'
    main(['--family', 'selfsup', '--source', str(source), '--output', str(output),
          '--pose_output', str(pose_output)])  # fmt: skip
    shutil.rmtree(source)
    expected = networks_of_monodepth2()[0].state_dict()
    found = load_model(output).state_dict()
    key = 'encoder.stages.0.0.conv1.weight'
    exact = change is not compiled_in_half
    torch.testing.assert_close(
        found[key], expected[key], rtol=0.0 if exact else 1e-3, atol=0.0 if exact else 1e-4
    )
    assert read_pose_network(pose_output)[0] == 'monodepth2_resnet18'


def test_two_networks_in_one_file_are_put_together(tmp_path: Path) -> None:
    folder = monodepth2(tmp_path / 'mono', dict)
    parts = {name: torch.load(folder / f'{name}.pth') for name in ('encoder', 'depth')}
    torch.save({'models': parts, 'epoch': 3}, tmp_path / 'models.pth')
    main(['--family', 'selfsup', '--source', str(tmp_path / 'models.pth'),
          '--output', str(tmp_path / 'a.ckpt')])  # fmt: skip
    assert load_model(tmp_path / 'a.ckpt').spec.name == 'selfsup_resnet18'


def test_another_entry_that_is_a_weight_is_refused(tmp_path: Path) -> None:
    source = monodepth2(tmp_path / 'mono', lambda state: state | {'bonus.weight': torch.ones(2)})
    with pytest.raises(CheckpointError, match=r'surplus: .*bonus\.weight'):
        main(['--family', 'selfsup', '--source', str(source), '--output', str(tmp_path / 'a')])


@pytest.mark.parametrize('wrong', [float('nan'), float('-inf')])
def test_files_of_ours_with_broken_values_are_refused(tmp_path: Path, wrong: float) -> None:
    options = {'encoder': 'mobilenetv3_small_050'}
    model = create_model('densedepth_small', **options)
    name = next(name for name, _ in model.named_parameters())
    model.get_parameter(name).data.view(-1)[0] = wrong
    save_model(tmp_path / 'a.ckpt', model)
    with pytest.raises(CheckpointError, match=rf'a\.ckpt: 1 of .* infinite: {name}'):
        load_model(tmp_path / 'a.ckpt')

    state = create_pose_network('posenet').state_dict()
    state['pose_pred.bias' if 'pose_pred.bias' in state else 'out.bias'][0] = wrong
    save_pose_network(tmp_path / 'pose.ckpt', 'posenet', state)
    with pytest.raises(CheckpointError, match=r'pose\.ckpt: 1 of .* infinite: out\.bias'):
        read_pose_network(tmp_path / 'pose.ckpt')


def test_a_published_pose_network_with_broken_values_is_refused() -> None:
    state = create_pose_network('poseresnet18').state_dict()
    official = {poseresnet_key(key): value.clone() for key, value in state.items()}
    key = 'encoder.encoder.conv1.weight'
    official[key].view(-1)[0] = float('nan')
    with pytest.raises(CheckpointError, match='for the pose network poseresnet18: 1 of'):
        convert_pose_state_dict('poseresnet18', official)
