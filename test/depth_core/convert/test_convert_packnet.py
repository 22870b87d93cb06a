# SPDX-License-Identifier: Apache-2.0
"""Published files of the self-supervised family become ours, whichever tool wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depth_core.convert import convert_state_dict, main, mismatches, read_official
from depth_core.errors import CheckpointError, ModelError
from depth_core.models import create_model
from depth_core.models.selfsup.keys import packnet_key, posecnn_key, posenet_key
from depth_core.models.selfsup.pose import PoseCnn, PoseNet, PoseResNet
from depth_core.weights.checkpoint import load_model
from depth_core.weights.pose_file import (
    convert_pose_state_dict,
    identify_pose_network,
    read_pose_network,
    save_pose_network,
)
from test.depth_core.packnet_official import (
    depth_resnet,
    key_list,
    monodepth2_depth,
    monodepth2_pose_decoder,
    pose_net,
    pose_resnet,
    prefixed,
    write_training_file,
)

State = dict[str, Tensor]


def _vidar_resnet(depth: Mapping[str, Tensor]) -> State:
    return {
        key.replace('encoder.encoder.', 'networks.mono_encoder.encoder.').replace(
            'decoder.decoder.', 'networks.mono_depth.decoder.'
        ): value
        for key, value in depth.items()
    }


def _vidar_pose(pose: Mapping[str, Tensor]) -> State:
    return {
        key.replace('encoder.encoder.', 'networks.pose_encoder.encoder.').replace(
            'decoder.net.', 'networks.pose.net.'
        ): value
        for key, value in pose.items()
    }


# Files


NAMINGS: dict[str, Callable[[State, State], State]] = {
    'packnet-sfm': lambda depth, pose: (
        prefixed('model.depth_net.', depth) | prefixed('model.pose_net.', pose)
    ),
    'packnet-sfm of old': lambda depth, pose: (
        prefixed('disp_network.', depth) | prefixed('pose_network.', pose)
    ),
    'vidar': lambda depth, pose: (
        prefixed('networks.depth.', _vidar_resnet(depth))
        | prefixed('networks.pose.', _vidar_pose(pose))
    ),
    'the class alone': lambda depth, _: depth,
}


def _assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Weights whose answers test_selfsup_resnet.py and test_pose.py compare with the authors'."""
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize('naming', NAMINGS)
def test_a_training_file_becomes_the_depth_network(
    naming: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / 'ResNet18_MR_selfsup_K.ckpt', tmp_path / 'converted.ckpt'
    state = NAMINGS[naming](depth_resnet(), pose_resnet())
    write_training_file(source, state, zipped=naming != 'packnet-sfm of old')
    main(['--family', 'packnet', '--source', str(source), '--output', str(output)])
    expected = convert_state_dict('selfsup_resnet18', depth_resnet())
    _assert_equal(load_model(output).state_dict(), expected)
    assert 'selfsup_resnet18, 14.3 M parameters' in capsys.readouterr().out
    source.unlink()  # 100 MB, and pytest keeps the folders of three runs
    output.unlink()


def test_a_folder_of_monodepth2_becomes_both_networks(tmp_path: Path) -> None:
    encoder, decoder = monodepth2_depth()
    pose_encoder = {
        key.removeprefix('encoder.'): value
        for key, value in pose_resnet().items()
        if key.startswith('encoder.')
    }
    beside = {'height': 192, 'width': 640, 'use_stereo': False}
    torch.save(encoder | beside, tmp_path / 'encoder.pth')
    torch.save(decoder, tmp_path / 'depth.pth')
    torch.save(pose_encoder, tmp_path / 'pose_encoder.pth')
    torch.save(monodepth2_pose_decoder(), tmp_path / 'pose.pth')
    official = read_official('packnet', tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()

    expected = convert_state_dict('selfsup_resnet18', encoder | decoder)
    _assert_equal(convert_state_dict('packnet', official), expected)
    name = identify_pose_network(official)
    assert name == 'monodepth2_resnet18'
    pose = convert_pose_state_dict(name, official)
    PoseResNet(ordered=True).load_state_dict(pose)
    expected = pose_encoder | monodepth2_pose_decoder()
    kept = [value for key, value in expected.items() if '.fc.' not in f'.{key}']
    for value, theirs in zip(pose.values(), kept, strict=True):
        assert torch.equal(value, theirs)


# Names and shapes


def _meta(lines: list[str]) -> State:
    """Weights of no memory by lines `key (shape)`."""
    state = {}
    for line in lines:
        key, _, shape = line.partition(' ')
        sides = [int(side) for side in re.findall(r'\d+', shape)]
        state[key] = torch.empty(sides, device='meta')
    return state


@pytest.mark.usefixtures('built_once')
@pytest.mark.parametrize('around', ['', 'module.', 'model.', 'models.', 'module.model.'])
@pytest.mark.parametrize(
    ('encoder', 'decoder', 'pose'),
    [('encoder.', 'depth.', 'pose.'), ('depth_encoder.', 'depth_decoder.', 'pose_decoder.')],
)
def test_monodepth2_saved_in_one_file(around: str, encoder: str, decoder: str, pose: str) -> None:
    name = 'monodepth2_nets_procedural'
    pose_lines = key_list('packnet_resnet18_procedural', 'poseresnet18/keys')
    own_pose = _meta([line.removeprefix('encoder.') for line in pose_lines])
    parts = {
        encoder: _meta(key_list(name, 'enc_keys')),
        decoder: _meta(key_list(name, 'dec_keys')),
        'pose_encoder.': {key: own_pose[key] for key in own_pose if key.startswith('encoder.')},
        pose: _meta(key_list(name, 'posedec_keys')),
    }
    official = {
        f'{around}{part}{key}': value for part, state in parts.items()
        for key, value in state.items()
    }  # fmt: skip
    assert mismatches('packnet', official) == []
    assert identify_pose_network(official) == 'monodepth2_resnet18'
    with pytest.raises(CheckpointError) as error:  # nothing missing: these have no memory
        convert_pose_state_dict('posenet', official)
    assert 'surplus: encoder.encoder.conv1.weight' in str(error.value)
    # Each part is needed, and none is taken for another.
    for part, state in parts.items():
        without = {key: official[key] for key in official if key.removeprefix(around) not in
                   {f'{part}{inside}' for inside in state}}  # fmt: skip
        assert (mismatches('packnet', without) == []) == (part in {'pose_encoder.', pose})


@pytest.mark.parametrize(
    ('encoder', 'decoder'),
    [('pose_encoder.', 'pose_decoder.'), ('models.pose_encoder.', 'models.pose.')],
)
def test_the_pose_network_of_monodepth2_saved_in_one_file(encoder: str, decoder: str) -> None:
    weights = pose_resnet()
    official = {
        (encoder + key.removeprefix('encoder.') if key.startswith('encoder.')
         else decoder + key.removeprefix('decoder.')): value
        for key, value in weights.items()
    }  # fmt: skip
    name = identify_pose_network(official)
    assert name == 'monodepth2_resnet18'
    converted = convert_pose_state_dict(name, official)
    kept = [value for key, value in weights.items() if '.fc.' not in key]
    for value, expected in zip(converted.values(), kept, strict=True):
        assert torch.equal(value, expected)


@pytest.mark.usefixtures('built_once')
@pytest.mark.parametrize('version', ['1A', '1B'])
@pytest.mark.parametrize(
    'rename',
    [
        lambda key: key,
        lambda key: f'model.depth_net.{key}',
        lambda key: f'module.model.depth_net.{key}',
        lambda key: f'networks.depth.{key}',
        # Dropout made the shortcut the first layer of two.
        lambda key: 'disp_network.' + re.sub(r'(conv\d\.\d\.conv3)\.', r'\1.0.', key),
    ],
)
def test_every_published_naming_of_packnet(version: str, rename: Callable[[str], str]) -> None:
    lines = key_list('packnet_nets_procedural', f'packnet01_{version}/keys')
    official = {rename(key): value for key, value in _meta(lines).items()}
    assert mismatches('packnet01', official, version=version) == []
    assert mismatches('packnet01', official) == []  # the shapes tell the version
    assert mismatches('packnet', official) == []
    other = {'1A': '1B', '1B': '1A'}[version]
    assert 'of another shape: unpack5.conv.conv_base.weight' in ' '.join(
        mismatches('packnet01', official, version=other)
    )


@pytest.mark.usefixtures('built_once')
def test_a_slim_network_is_told_from_a_wide_one() -> None:
    with torch.device('meta'):
        slim = create_model('packnet_slim', version='1B')
    own = slim.own_state()
    official = {
        packnet_key(key): value for key, value in slim.state_dict().items() if key not in own
    }
    assert len(official) == 216
    assert mismatches('packnet', official) == []
    assert mismatches('packnet01', official) != []


def test_what_is_missing_or_surplus_is_named() -> None:
    official = prefixed('model.depth_net.', depth_resnet())
    del official['model.depth_net.decoder.decoder.13.conv.bias']
    official['model.depth_net.decoder.decoder.14.conv.bias'] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('selfsup_resnet18', official)
    assert '1 missing: decoder.decoder.13.conv.bias' in str(error.value)
    assert '1 surplus: decoder.decoder.14.conv.bias' in str(error.value)


# Pose networks


@pytest.mark.parametrize(
    ('naming', 'pose', 'name'),
    [
        ('packnet-sfm', pose_net, 'posenet'),
        ('packnet-sfm', pose_resnet, 'poseresnet18'),
        ('packnet-sfm of old', pose_net, 'posenet'),
        ('vidar', pose_net, 'posenet'),
        ('vidar', pose_resnet, 'monodepth2_resnet18'),
    ],
)
def test_the_pose_network_of_a_training_file(
    naming: str, pose: Callable[[], State], name: str, tmp_path: Path
) -> None:
    weights = pose()
    official = NAMINGS[naming]({'encoder.encoder.conv1.weight': torch.zeros(1)}, weights)
    assert identify_pose_network(official) == name
    converted = convert_pose_state_dict(name, official)
    path = tmp_path / 'pose.ckpt'
    save_pose_network(path, name, converted, provenance={'converted_from': naming})
    found, network = read_pose_network(path)
    path.unlink()
    assert found == name
    kept = [value for key, value in weights.items() if '.fc.' not in key]
    for value, expected in zip(network.state_dict().values(), kept, strict=True):
        assert torch.equal(value, expected)


def test_the_convolutional_pose_network_of_monodepth2() -> None:
    own = PoseCnn().state_dict()
    official = {f'pose.{posecnn_key(key)}': value for key, value in own.items()}
    assert identify_pose_network(official) == 'monodepth2_posecnn'
    converted = convert_pose_state_dict('monodepth2_posecnn', official)
    assert all(torch.equal(converted[key], value) for key, value in own.items())


def test_a_posenet_says_itself_how_many_neighbours_it_has() -> None:
    own = PoseNet(neighbours=1).state_dict()
    official = {posenet_key(key): value for key, value in own.items()}
    assert convert_pose_state_dict('posenet', official).keys() == own.keys()


def test_what_is_no_pose_network_is_refused(tmp_path: Path) -> None:
    depth = prefixed('model.depth_net.', {'pre_calc.conv_base.bias': torch.zeros(1)})
    assert identify_pose_network(depth) is None
    with pytest.raises(CheckpointError, match='of a depth network alone'):
        convert_pose_state_dict('posenet', depth)
    with pytest.raises(ModelError, match="did you mean 'posenet'"):
        convert_pose_state_dict('posnet', depth)
    pose = pose_net()
    del pose['pose_pred.bias']
    with pytest.raises(CheckpointError, match=r'1 missing: pose_pred\.bias'):
        convert_pose_state_dict('posenet', prefixed('model.pose_net.', pose))
    with pytest.raises(CheckpointError, match='does not exist'):
        read_pose_network(tmp_path / 'none.ckpt')
    torch.save({'state_dict': pose}, tmp_path / 'other.ckpt')
    with pytest.raises(CheckpointError, match='no pose network of this package'):
        read_pose_network(tmp_path / 'other.ckpt')
    (tmp_path / 'broken.ckpt').write_bytes(b'PK\x03\x04')
    with pytest.raises(CheckpointError, match='4 bytes'):
        read_pose_network(tmp_path / 'broken.ckpt')
