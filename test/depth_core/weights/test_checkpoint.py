# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is written is read back, and what is not one is refused in words."""

from __future__ import annotations

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from depth_core.errors import CheckpointError, ConfigError, DepthError
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.weights.checkpoint import load_model, load_weights, read_checkpoint, save_model

OPTIONS = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 16, 8, 8, 8)}


@pytest.fixture(scope='module')
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model('densedepth_small', **OPTIONS)


@pytest.fixture
def checkpoint(tmp_path: Path, model: DepthModel) -> Path:
    path = tmp_path / 'model.ckpt'
    save_model(path, model, training={'step': 3}, provenance={'command': 'by hand'})
    return path


def test_what_was_saved_is_loaded_in_eval_mode(checkpoint: Path, model: DepthModel) -> None:
    loaded = load_model(checkpoint)
    assert not loaded.training
    assert loaded.spec == model.spec
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.eval()(images)
        found = loaded(images)
    assert torch.equal(found.depth, expected.depth)
    assert torch.equal(found.sigma, expected.sigma)


def test_training_state_and_provenance_travel_along(checkpoint: Path) -> None:
    content = read_checkpoint(checkpoint)
    assert content.name == 'densedepth_small'
    assert content.options['encoder'] == OPTIONS['encoder']
    assert content.training == {'step': 3}
    assert content.provenance == {'command': 'by hand'}


def test_a_network_without_a_name_cannot_be_saved(tmp_path: Path) -> None:
    class Nameless(nn.Module):
        pass

    with pytest.raises(CheckpointError, match='create_model'):
        save_model(tmp_path / 'x.ckpt', Nameless())  # type: ignore[arg-type]  # the error under test
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, model: DepthModel) -> None:
    with pytest.raises(
        CheckpointError, match=r"provenance\['packages'\]\['torch'\].*TorchVersion"
    ):
        save_model(
            tmp_path / 'x.ckpt', model, provenance={'packages': {'torch': torch.__version__}}
        )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named_beside_those_that_exist(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r'other\.ckpt does not exist.*model\.ckpt'):
        load_model(checkpoint.with_name('other.ckpt'))


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match='is a folder'):
        load_model(tmp_path)


@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(checkpoint: Path, share: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r'model\.ckpt'):
        load_model(checkpoint)


@pytest.mark.parametrize('content', [b'no checkpoint', b'\x00' * 4096, b'PK\x03\x04' + b'x' * 999])
def test_a_file_of_another_kind_is_refused(checkpoint: Path, content: bytes) -> None:
    checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'model\.ckpt'):
        load_model(checkpoint)


def test_changed_bytes_inside_the_weights_are_noticed(checkpoint: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError, match='corrupt'):
        load_model(checkpoint)


def test_a_file_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / 'evil.ckpt'
    torch.save({'format': 'depth_ros.checkpoint', 'state': Path('harmless')}, path)
    with pytest.raises(CheckpointError, match='calls pathlib'):
        load_model(path)


def test_a_torch_file_of_somebody_else_is_sent_to_convert(tmp_path: Path) -> None:
    path = tmp_path / 'official.ckpt'
    torch.save({'state_dict': {'weight': torch.zeros(2)}}, path)
    with pytest.raises(CheckpointError, match=r'depth_core\.convert'):
        load_model(path)


def test_another_format_version_is_refused(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | {'version': 99}, checkpoint)
    with pytest.raises(CheckpointError, match='version 99'):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ('entry', 'value'),
    [
        ('state', 'text'),
        ('state', {'weight': 3}),
        ('options', None),
        ('name', 7),
        ('training', [1]),
        ('provenance', ...),
    ],
)
def test_an_entry_of_another_kind_is_refused(checkpoint: Path, entry: str, value: object) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content[entry] = value
    if value is ...:
        del content[entry]
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match=f'entries without their content: {entry}'):
        load_model(checkpoint)


def test_weights_of_a_type_that_none_has_are_refused(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    name = next(iter(content['state']))
    content['state'][name] = content['state'][name].to(torch.complex64)
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match=rf'{name} \(complex64\)'):
        load_model(checkpoint)


def test_an_unknown_model_name_is_answered_with_the_known_ones(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | {'name': 'densedepth_smal'}, checkpoint)
    with pytest.raises(ConfigError, match='did you mean'):
        load_model(checkpoint)


def test_weights_that_do_not_fit_are_listed_and_none_is_loaded(model: DepthModel) -> None:
    state = {key: value.clone() for key, value in model.state_dict().items()}
    before = {key: value.clone() for key, value in state.items()}
    removed = list(state)[:12]
    for key in removed:
        del state[key]
    state['stranger'] = torch.zeros(1)
    reshaped = next(key for key, value in state.items() if value.ndim == 4)
    state[reshaped] = torch.zeros(1, 1, 1, 1)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, state, source='a.ckpt')
    message = str(caught.value)
    assert '12 missing: ' in message
    assert removed[9] in message
    assert removed[10] not in message
    assert 'and 2 more' in message
    assert '1 surplus: stranger' in message
    assert f'1 of another shape: {reshaped}' in message
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_disk_that_fills_up_leaves_the_former_file(checkpoint: Path, model: DepthModel) -> None:
    """The kernel really refuses to write on after 100 kB of the file."""
    before = checkpoint.read_bytes()
    assert len(before) > 200_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DepthError) as caught:
            save_model(checkpoint, model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f'cannot write {checkpoint}: File too large.')
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_the_network_of_a_checkpoint_has_the_size_it_was_trained_at(tmp_path: Path) -> None:
    model = create_model('densedepth_small', encoder='mobilenetv3_small_050')
    path = tmp_path / 'a.ckpt'
    save_model(path, model, provenance={'height': 96, 'width': 128})
    assert load_model(path).spec.default_size == (96, 128)
    save_model(path, model, provenance={'height': 96})
    assert load_model(path).spec == model.spec


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'numpy', 'safetensors', 'keras', 'folder'])
def test_official_weights_are_sent_to_the_conversion(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'official'
    state = {'conv.weight': torch.zeros(2)}
    if kind == 'safetensors':
        safetensors.torch.save_file(state, path)
    elif kind == 'keras':
        with h5py.File(path, 'w') as file:
            file.create_group('model_weights')
    elif kind == 'folder':
        path.mkdir()
    else:
        content = {'model': state, 'steps': np.zeros(9)} if kind == 'numpy' else state
        torch.save(content, path, _use_new_zipfile_serialization=kind != 'legacy')
    with pytest.raises(CheckpointError, match=r'fficial weights .*by depth_core\.convert'):
        read_checkpoint(path)
