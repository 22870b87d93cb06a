# SPDX-License-Identifier: Apache-2.0
"""The semantic network takes weights of many kinds of file, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from depth_core.errors import CheckpointError
from depth_core.models import NETWORKS, create_model
from depth_core.models.selfsup.inverse_depth import InverseDepthModel
from depth_core.models.selfsup.semantic import SemanticNetwork
from depth_core.models.selfsup.semantic_file import load_semantic_weights
from depth_core.weights.checkpoint import load_model, save_model

ENCODER = 'tu-mobilenetv3_small_050'
NETWORK: dict[str, Any] = {'channels': 16, 'head_channels': 32}


def _network(**options: Any) -> SemanticNetwork:
    torch.manual_seed(0)
    return SemanticNetwork(ENCODER, **{**NETWORK, **options}).eval()


def _guided(name: str, **options: Any) -> InverseDepthModel:
    torch.manual_seed(0)
    model = create_model(name, **{**NETWORKS[name].tiny, **options})
    assert isinstance(model, InverseDepthModel)
    return model


def _differs(model: InverseDepthModel, network: SemanticNetwork) -> bool:
    own = model.get_submodule('semantics.network').state_dict()
    return any(not torch.equal(own[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize('form', ['.pth', '.pth in a container', '.safetensors', 'folder'])
def test_weights_of_the_library_are_taken(form: str, tmp_path: Path) -> None:
    library = smp.FPN(
        ENCODER, encoder_weights=None, classes=19,
        decoder_pyramid_channels=16, decoder_segmentation_channels=32,
    )  # fmt: skip
    path = tmp_path / 'weights.pth'
    if form in {'.safetensors', 'folder'}:
        library.save_pretrained(tmp_path / 'saved')
        path = tmp_path / 'saved'
        path = path / 'model.safetensors' if form == '.safetensors' else path
    elif form == '.pth':
        torch.save(library.state_dict(), path)
    else:
        state = {f'model.{key}': value for key, value in library.state_dict().items()}
        torch.save({'state_dict': state, 'epoch': 3}, path)
    model = _guided('semantic_resnet18', semantic_weights=str(path))
    expected = _network()
    expected.network.load_state_dict(library.state_dict())
    assert not _differs(model, expected)
    assert _differs(_guided('semantic_resnet18'), expected)


def test_a_checkpoint_of_another_guided_network_is_taken(tmp_path: Path) -> None:
    source = _guided('semantic_packnet')
    for weight in source.get_submodule('semantics').parameters():
        nn.init.normal_(weight)
    path = tmp_path / 'semantic.ckpt'
    save_model(path, source)
    model = _guided('semantic_resnet18', semantic_weights=str(path))
    network = source.get_submodule('semantics.network')
    assert isinstance(network, SemanticNetwork)
    assert not _differs(model, network)
    # The checkpoint of the new network does not depend on the file.
    save_model(tmp_path / 'depth.ckpt', model)
    path.unlink()
    assert model.options['semantic_weights'] is None
    again = load_model(tmp_path / 'depth.ckpt')
    assert isinstance(again, InverseDepthModel)
    assert not _differs(again, network)


@pytest.mark.parametrize(
    ('encoder', 'classifier', 'prefix'),
    [
        ('resnet50', True, ''),
        ('resnet18', False, 'module.'),
        ('resnet18', True, 'model.'),
        ('tu-resnet18', True, 'module.model.'),
        ('tu-resnet18', False, 'encoder.'),
        ('tu-mobilenetv3_small_050', True, ''),
        ('tu-convnext_atto', True, ''),  # timm calls its stages stages_0 in pyramids
    ],
)
def test_an_encoder_alone_is_taken_and_the_rest_stays(
    encoder: str, classifier: bool, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    # As published: the whole network of timm, whose names torchvision shares for ResNets.
    source = timm.create_model(encoder.removeprefix('tu-'), pretrained=False)
    state = {
        key: value for key, value in source.state_dict().items()
        if classifier or not key.startswith('fc.')
    }  # fmt: skip
    path = tmp_path / 'encoder.pth'
    torch.save({'state_dict': {f'{prefix}{key}': value for key, value in state.items()}}, path)
    torch.manual_seed(0)
    network = SemanticNetwork(encoder, **NETWORK)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_semantic_weights(network, path)
    path.unlink()
    plain = {key.replace('_', '.'): value for key, value in state.items()}
    for key, value in network.state_dict().items():
        place = key.removeprefix('network.encoder.').removeprefix('model.').replace('_', '.')
        inside = key.startswith('network.encoder.')
        assert torch.equal(value, plain[place] if inside else before[key]), key
    assert any(not torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert 'holds an encoder alone: the feature pyramid and the head keep' in caplog.text


def test_an_encoder_that_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    network = SemanticNetwork('resnet18', **NETWORK)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fitting = timm.create_model('resnet18', pretrained=False).state_dict()
    old = {key: value for key, value in fitting.items() if not key.endswith('tracked')}
    path = tmp_path / 'encoder.pth'
    short = {key: value for key, value in fitting.items() if key != 'layer4.1.bn2.bias'}
    for wrong, words in (
        (short, '1 missing: network.encoder.layer4.1.bn2.bias'),
        (fitting | {'layer5.weight': torch.zeros(1)}, '1 surplus: network.layer5'),
        (fitting | {'conv1.weight': torch.zeros(64, 1, 7, 7)}, r'1 of another shape: .*conv1'),
        (timm.create_model('resnet34', pretrained=False).state_dict(), 'network.layer1.2.conv1'),
        ({'fc.weight': torch.zeros(1)}, 'and 90 more'),
    ):
        torch.save(wrong, path)
        with pytest.raises(CheckpointError, match=words) as error:
            load_semantic_weights(network, path)
        assert 'it was taken for an encoder alone' in str(error.value)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
    torch.save(old, path)  # of before there was a counter of batches
    load_semantic_weights(network, path)
    assert torch.equal(network.state_dict()['network.encoder.conv1.weight'], old['conv1.weight'])
    path.unlink()


def test_extras_of_tools_do_no_harm_and_broken_values_are_refused(tmp_path: Path) -> None:
    network, path = _network(), tmp_path / 'fpn.pth'
    other = _network().network.state_dict()
    wrapped = {
        f'module._orig_mod.{key}': value.double()
        for key, value in other.items()
        if not key.endswith('num_batches_tracked')
    }
    torch.save({'model': wrapped | {'total_params': torch.ones(1)}, 'epoch': 7}, path)
    load_semantic_weights(network, path)
    assert torch.equal(network.network.state_dict()['decoder.p5.bias'], other['decoder.p5.bias'])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    broken = torch.full_like(other['decoder.p5.bias'], float('nan'))
    torch.save(other | {'decoder.p5.bias': broken}, path)
    with pytest.raises(CheckpointError, match=r'fpn\.pth: 1 of .* infinite: network\.decoder\.p5'):
        load_semantic_weights(network, path)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_weights_that_do_not_fit_are_refused_whole(tmp_path: Path) -> None:
    network = _network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    other = _network(classes=5).network.state_dict()
    del other['decoder.p5.bias']
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError) as error:
        load_semantic_weights(network, tmp_path / 'other.pth')
    assert '1 missing: network.decoder.p5.bias' in str(error.value)
    assert 'network.segmentation_head.0.weight (given (5, 32, 1, 1), network (19, 32' in str(
        error.value
    )
    assert 'semantic_classes' in str(error.value)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    network = _network()
    with pytest.raises(CheckpointError, match=r'none\.pth does not exist'):
        load_semantic_weights(network, tmp_path / 'none.pth')
    for name, content in (('broken.pth', b'PK\x03\x04'), ('broken.safetensors', b'12345678{')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match='no complete'):
            load_semantic_weights(network, tmp_path / name)
    torch.save({'epoch': 3}, tmp_path / 'no_state.pth')
    with pytest.raises(CheckpointError, match='holds no state dict'):
        load_semantic_weights(network, tmp_path / 'no_state.pth')
    plain = create_model('packnet01', **NETWORKS['packnet01'].tiny)
    save_model(tmp_path / 'plain.ckpt', plain)
    with pytest.raises(CheckpointError, match='without semantic guidance'):
        load_semantic_weights(network, tmp_path / 'plain.ckpt')
