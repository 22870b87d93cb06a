# SPDX-License-Identifier: Apache-2.0
"""The command when a name stands for several models, a file for a part, or for something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.convert import main, mismatches, read_official
from depth_core.errors import CheckpointError, ConfigError
from depth_core.models import create_model
from depth_core.models.cliffnet.network import official_key as cliffnet_key
from depth_core.models.selfsup.keys import packnet_key, posenet_key
from depth_core.models.selfsup.pose import PoseNet
from depth_core.models.zoedepth.keys import official_key
from depth_core.weights.checkpoint import load_model, read_checkpoint
from depth_core.weights.pose_file import read_pose_network

TINY = {
    'encoder_options': {'img_size': 64, 'embed_dim': 32, 'depth': 4, 'num_heads': 2},
    'hooks': [0, 1, 2, 3],
    'neck_channels': [16, 24, 32, 32],
    'features': 32,
    'n_bins': 16,
    'bin_embedding_dim': 32,
}
TINY_PACKNET: dict[str, Any] = {
    'channels': [16, 16, 16, 32, 32],
    'blocks': [1, 1, 1, 1],
    'features_3d': 2,
}


def _arguments(options: Mapping[str, object]) -> list[str]:
    return [f'--{key}={value}'.replace("'", '"') for key, value in options.items()]


def _zoedepth(name: str) -> dict[str, Tensor]:
    torch.manual_seed(3)
    model = create_model(name, **TINY)
    own = model.own_state()
    return {
        official_key(key): value for key, value in model.state_dict().items() if key not in own
    }


@pytest.fixture(scope='module')
def zoedepth_k() -> dict[str, Tensor]:
    return _zoedepth('zoedepth_k')


def test_a_family_becomes_the_model_that_the_weights_are_of(
    zoedepth_k: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / 'ZoeD_M12_K.pt', tmp_path / 'k.ckpt'
    torch.save({'model': zoedepth_k, 'optimizer': None, 'epoch': 4}, source)
    files = ['--source', str(source), '--output', str(output)]
    main(['--family', 'zoedepth', *files, *_arguments(TINY)])
    assert 'zoedepth_k, ' in capsys.readouterr().out
    model = load_model(output)
    assert model.spec.name == 'zoedepth_k'
    assert model.spec.max_depth == 80.0
    provenance = read_checkpoint(output).provenance
    assert provenance is not None
    assert provenance['part'] is None
    assert provenance['family'] == 'zoedepth'


def test_a_part_is_said_to_be_one(
    zoedepth_k: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    core = {
        key.removeprefix('core.core.'): value
        for key, value in zoedepth_k.items()
        if key.startswith('core.core.')
    }
    source, output = tmp_path / 'dpt_beit.pt', tmp_path / 'n.ckpt'
    torch.save(core, source)
    command = ['--source', str(source), '--output', str(output), *_arguments(TINY)]
    # What is missing when the part is not asked for, and the remedy.
    with pytest.raises(CheckpointError, match=r'(?s)missing: .*the part midas of it alone'):
        main(['--family', 'zoedepth_n', *command])
    # A core tells nothing of the head that will be trained on it.
    with pytest.raises(ConfigError, match='fit zoedepth_n, zoedepth_k, zoedepth_nk equally; name'):
        main(['--family', 'zoedepth', '--part', 'midas', *command])
    with pytest.raises(ConfigError, match=r"did you mean 'midas'"):
        main(['--family', 'zoedepth_n', '--part', 'midsa', *command])
    assert not output.exists()
    main(['--family', 'zoedepth_n', '--part', 'midas', *command])
    said = capsys.readouterr().out
    assert f'only {len(core)} tensors of the part midas come from the file' in said
    assert 'the rest is untrained' in said
    provenance = read_checkpoint(output).provenance
    assert provenance is not None
    assert provenance['part'] == 'midas'
    first = load_model(output).state_dict()
    main(['--family', 'zoedepth_n', '--part', 'midas', *command])
    again = load_model(output).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize('version', ['1A', '1B'])
def test_an_option_in_which_published_networks_differ_is_found(
    version: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = create_model('packnet01', version=version, **TINY_PACKNET)
    own = model.own_state()
    official = {
        f'model.depth_net.{packnet_key(key)}': value
        for key, value in model.state_dict().items()
        if key not in own
    }
    source, output = tmp_path / 'PackNet01.ckpt', tmp_path / 'ours.ckpt'
    torch.save({'state_dict': official, 'epoch': 49}, source)
    command = ['--source', str(source), '--output', str(output), *_arguments(TINY_PACKNET)]
    # Sizes given by name are those of both PackNets here: the name must be the model's.
    with pytest.raises(ConfigError, match='packnet01, packnet_slim equally'):
        main(['--family', 'packnet', *command])
    main(['--family', 'packnet01', '--version', version, *command])
    assert load_model(output).options['version'] == version
    assert mismatches('packnet01', official, version=version, **TINY_PACKNET) == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--family', 'zoedeph'], "did you mean 'zoedepth'"),
        (['--family', 'packnet', '--hooks', '[1]'], "unknown option '--hooks'"),
        (['--family', 'packnet', '--dropout=0.1', '--encoder', 'x'], 'no single model of packnet'),
        (['--family', 'cliffnet', '--encoder.depth', '3'], "unknown option '--encoder'"),
        (['--family', 'cliffnet', '--pose_output', 'b'], "unknown option '--pose_output'"),
    ],
)
def test_what_no_model_of_a_family_takes(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        main([*arguments, '--source', 'a.pt', '--output', 'a.ckpt'])
    assert message in str(error.value)


def test_the_official_file_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / 'official.pth'
    torch.save({'weight': torch.zeros(1)}, source)
    written = source.read_bytes()
    with pytest.raises(ConfigError, match='is the official file itself'):
        main(['--family', 'cliffnet', '--source', str(source), '--output', str(source)])
    assert source.read_bytes() == written


@pytest.mark.parametrize('family', ['packnet', 'zoedepth', 'urcdc', 'cliffnet', 'densedepth'])
def test_weights_of_nobody_are_refused_by_every_family(family: str, tmp_path: Path) -> None:
    source, output = tmp_path / 'strange.pth', tmp_path / 'ours.ckpt'
    torch.save({f'layer{index}.weight': torch.zeros(1) for index in range(12)}, source)
    with pytest.raises(CheckpointError) as error:
        main(['--family', family, '--source', str(source), '--output', str(output)])
    message = str(error.value)
    assert 'missing: ' in message
    assert '12 surplus: layer0.weight, ' in message
    assert 'layer2.weight, and 9 more' in message, 'three names say which, where hundreds differ'
    assert not output.exists()


def test_parts_of_a_weight_that_do_not_go_together() -> None:
    """The port of Hugging Face parts the projection of attention in three."""
    layer = 'backbone.encoder.layer.0.attention.attention.'
    official = {
        f'{layer}query.weight': torch.zeros(4, 4),
        f'{layer}key.weight': torch.zeros(4, 5),
        f'{layer}value.weight': torch.zeros(4, 4),
    }
    with pytest.raises(CheckpointError, match=r'key\.weight \(4, 5\)'):
        mismatches('zoedepth_n', official)


def test_a_keras_file_for_a_family_that_has_none(tmp_path: Path) -> None:
    source = tmp_path / 'weights.h5'
    with h5py.File(source, 'w') as file:
        file.create_group('model_weights').attrs['layer_names'] = [b'conv']
        file['model_weights'].create_group('conv').attrs['weight_names'] = np.array([], 'S8')
    with pytest.raises(CheckpointError, match='zoedepth_n are published for PyTorch'):
        read_official('zoedepth', source)


def test_the_pose_network_of_a_training_file_is_written_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    model, pose = create_model('packnet01', **TINY_PACKNET), PoseNet(neighbours=2)
    own = model.own_state()
    official = {
        f'model.depth_net.{packnet_key(key)}': value
        for key, value in model.state_dict().items()
        if key not in own
    }
    of_pose = {
        f'model.pose_net.{posenet_key(key)}': value for key, value in pose.state_dict().items()
    }
    source, output, pose_output = (tmp_path / name for name in ('a.ckpt', 'b.ckpt', 'pose.ckpt'))
    command = ['--family', 'packnet01', '--source', str(source), '--output', str(output)]
    command += ['--pose_output', str(pose_output), *_arguments(TINY_PACKNET)]
    torch.save({'state_dict': official}, source)
    with pytest.raises(CheckpointError, match='holds no pose network; leave out --pose_output'):
        main(command)
    assert not output.exists()
    torch.save({'state_dict': official | of_pose}, source)
    main(command)
    assert f'{pose_output}: pose network posenet' in capsys.readouterr().out
    name, network = read_pose_network(pose_output)
    assert name == 'posenet'
    for key, value in pose.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key


def test_arrays_are_taken_like_tensors() -> None:
    with torch.device('meta'):
        state = create_model('cliffnet').state_dict()
    own = {key for key in state if key.startswith('sigma_head.')}
    tensors = {
        cliffnet_key(key): torch.ones(value.shape, dtype=value.dtype)
        for key, value in state.items()
        if key not in own
    }
    arrays = {key: value.numpy() for key, value in tensors.items()}
    assert mismatches('cliffnet', arrays) == []  # type: ignore[arg-type]  # what npz files give
