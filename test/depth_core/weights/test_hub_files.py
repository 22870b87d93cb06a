# SPDX-License-Identifier: Apache-2.0
"""Weight files as people have them: hub folders and shards, wrappers, averages beside weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from depth_core.convert import convert_state_dict, main
from depth_core.errors import CheckpointError
from depth_core.models import NETWORKS, create_model
from depth_core.shipped import default_model
from depth_core.weights.checkpoint import read_checkpoint
from depth_core.weights.official_files import read_official_file

FIRST = {'a.weight': torch.arange(3.0)}
SECOND = {'b.weight': torch.arange(4.0), 'b.bias': torch.ones(1)}
BOTH = {**FIRST, **SECOND}
SHARDS = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')


def _hold(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return tensors.keys() == expected.keys() and all(
        torch.equal(tensors[key], value) for key, value in expected.items()
    )


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Two shards and their index."""
    for name, tensors in zip(SHARDS, (FIRST, SECOND), strict=True):
        safetensors.torch.save_file(tensors, tmp_path / name)
    placed = {'a.weight': SHARDS[0], 'b.weight': SHARDS[1], 'b.bias': SHARDS[1]}
    index = {'metadata': {'total_size': 32}, 'weight_map': placed}
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index), encoding='utf-8')
    return tmp_path


def test_shards_are_read_by_folder_by_index_and_without_one(hub: Path) -> None:
    index = hub / 'model.safetensors.index.json'
    for path in (hub, index):
        read = read_official_file(path)
        assert _hold(read.tensors, BOTH)
        assert [item.name for item in read.paths] == list(SHARDS)
    index.unlink()
    assert _hold(read_official_file(hub).tensors, BOTH)


def test_shards_of_torch_are_read(tmp_path: Path) -> None:
    for number, tensors in enumerate((FIRST, SECOND)):
        torch.save(tensors, tmp_path / f'pytorch_model-{number + 1:05d}-of-00002.bin')
    assert _hold(read_official_file(tmp_path).tensors, BOTH)


def test_a_folder_with_one_file_is_read(tmp_path: Path) -> None:
    torch.save(BOTH, tmp_path / 'pytorch_model.bin')
    assert _hold(read_official_file(tmp_path).tensors, BOTH)
    (tmp_path / 'pytorch_model.bin').unlink()
    only = tmp_path / 'model-00001-of-00001.safetensors'
    safetensors.torch.save_file(FIRST, only)
    assert _hold(read_official_file(tmp_path).tensors, FIRST)
    assert _hold(read_official_file(only).tensors, FIRST)


@pytest.mark.parametrize('with_index', [True, False])
def test_a_missing_shard_is_named(hub: Path, *, with_index: bool) -> None:
    (hub / SHARDS[1]).unlink()
    if not with_index:
        (hub / 'model.safetensors.index.json').unlink()
    with pytest.raises(CheckpointError, match=f'1 of 2 shards are missing in .*: {SHARDS[1]}'):
        read_official_file(hub)


def test_one_shard_of_several_is_refused_as_such(hub: Path) -> None:
    with pytest.raises(CheckpointError, match=r'is shard 2 of 2 of a network; give the folder'):
        read_official_file(hub / SHARDS[1])


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('{"weight_map": {"a": "../secret.bin"}}', r"names '\.\./secret\.bin' as a shard"),
        ('{"weight_map": {"a": 3}}', 'names 3 as a shard'),
        ('{"weight_map": {}}', 'has no weight_map'),
        ('[1]', 'has no weight_map'),
        ('{', 'is no JSON'),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / 'model.safetensors.index.json').write_text(text, encoding='utf-8')
    with pytest.raises(CheckpointError, match=said):
        read_official_file(tmp_path)


def test_an_index_that_is_not_there_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'index .*nowhere.index.json does not exist'):
        read_official_file(tmp_path / 'nowhere.index.json')


@pytest.mark.parametrize('name', ['net', 'params', 'params_ema', 'state_dict_ema', 'model_ema'])
def test_wrappers_are_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({name: BOTH, 'epoch': 3, 'optimizer': {'state': {}}}, path)
    read = read_official_file(path)
    assert _hold(read.tensors, BOTH)
    assert (read.entry, read.others) == (name, ())


@pytest.mark.parametrize(
    ('plain', 'average'), [('model', 'model_ema'), ('params', 'params_ema'), ('net', 'net_ema')]
)
def test_weights_are_read_and_their_average_is_offered(
    tmp_path: Path, plain: str, average: str
) -> None:
    path = tmp_path / 'weights.pth'
    moved = {key: value + 1.0 for key, value in BOTH.items()}
    torch.save({average: moved, plain: BOTH}, path)
    read = read_official_file(path)
    assert _hold(read.tensors, BOTH)
    assert (read.entry, read.others) == (plain, (average,))
    other = read_official_file(path, entry=average)
    assert _hold(other.tensors, moved)
    assert (other.entry, other.others) == (average, (plain,))
    with pytest.raises(CheckpointError, match=f'{average}'):
        read_official_file(path, entry='averaged')


def _official() -> dict[str, Tensor]:
    """A tiny cliffnet by the authors' names."""
    network = NETWORKS['cliffnet']
    model = create_model('cliffnet', **network.tiny)
    own = model.own_state()
    state = {key: value for key, value in model.state_dict().items() if key not in own}
    return {network.weights.official_key(key): value for key, value in state.items()}


def test_names_behind_wrappers_convert_and_the_command_says_what_it_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official = _official()
    options: dict[str, Any] = {'layers': (1, 1, 1, 1), 'channels': 16}
    expected = convert_state_dict('cliffnet', official, **options)
    for prefix in ('model.', '_orig_mod.model.', 'module.net.'):
        wrapped = {f'{prefix}{key}': value for key, value in official.items()}
        assert _hold(convert_state_dict('cliffnet', wrapped, **options), expected), prefix
    path, output = tmp_path / 'weights.pth', tmp_path / 'out.ckpt'
    torch.save({'model': official, 'model_ema': official}, path)
    main(['--family', 'cliffnet', '--source', str(path), '--output', str(output),
          '--layers', '[1,1,1,1]', '--channels', '16', '--entry', 'model_ema'])  # fmt: skip
    assert (read_checkpoint(output).provenance or {})['entry'] == 'model_ema'
    said = capsys.readouterr().out
    assert 'read from the entry model_ema of the file, which has model too' in said


def test_a_graph_given_for_weights_is_refused_as_one() -> None:
    for read in (read_official_file, read_checkpoint):
        with pytest.raises(CheckpointError, match='is an ONNX graph, made to be run'):
            read(default_model())
