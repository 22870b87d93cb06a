# SPDX-License-Identifier: Apache-2.0
"""Published weight files are read whole, and nothing they hold is run."""

from __future__ import annotations

import argparse
import builtins
import os
import pathlib
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from depth_core.errors import CheckpointError
from depth_core.weights.official_files import read_official_file

STATE = {
    'conv.weight': torch.arange(24.0).reshape(2, 3, 2, 2),
    'conv.bias': torch.tensor([0.5, -0.5]),
    'norm.num_batches_tracked': torch.tensor(7),
}
FORMATS = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


class _Call:
    """Pickles as a call of `function`, which happens when it is loaded carelessly."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], type]:
    """Make a class of a library that is not installed; it is gone again after `undo`."""

    def make(module: str, name: str) -> type:
        made = type(name, (dict,), {'__module__': module})
        for depth in range(1, len(module.split('.')) + 1):
            path = '.'.join(module.split('.')[:depth])
            monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
        setattr(sys.modules[module], name, made)
        return made

    return make


def _save(content: object, path: Path, *, zipped: bool = True, protocol: int = 2) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def _assert_is_state(path: Path) -> None:
    tensors = read_official_file(path).tensors
    assert tensors.keys() == STATE.keys()
    for key, value in STATE.items():
        assert torch.equal(tensors[key], value), key


# What is read


@FORMATS
@pytest.mark.parametrize('names', [(), ('model',), ('state_dict',), ('model_state_dict',)])
def test_a_state_dict_in_any_container(
    tmp_path: Path, zipped: bool, names: tuple[str, ...]
) -> None:
    content: object = STATE
    for name in names:
        content = {name: content, 'optimizer': None, 'epoch': 4}
    _assert_is_state(_save(content, tmp_path / 'weights.pth', zipped=zipped))


@FORMATS
def test_settings_and_numbers_beside_the_weights_are_left(
    tmp_path: Path,
    zipped: bool,
    foreign: Callable[[str, str], type],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = foreign('yacs.config', 'CfgNode')
    config = node(model=node(lr=0.1))
    config.__dict__['__immutable__'] = True
    config.__dict__['__deprecated_keys__'] = {'old'}
    easy = foreign('easydict', 'EasyDict')(get=4)
    easy.__dict__.update(get=4, keys=5)  # it makes each entry an attribute
    content = {
        'config': config,
        'options': argparse.Namespace(height=192, models=['encoder']),
        'p1': easy,
        'best_eval_steps': np.zeros(9, dtype=np.int32),
        'best': np.float64(0.316),
        'state_dict': STATE,
    }
    path = _save(content, tmp_path / 'model.ckpt', zipped=zipped)
    easy['state_dict'] = STATE
    with_attributes = _save(easy, tmp_path / 'attributes.ckpt', zipped=zipped)
    monkeypatch.undo()
    assert 'yacs' not in sys.modules
    _assert_is_state(path)
    _assert_is_state(with_attributes)


def test_arrays_that_were_written_by_numpy_1(tmp_path: Path) -> None:
    content = {'model': STATE, 'best_eval_steps': np.zeros(9), 'best': np.float64(0.3)}
    path = _save(content, tmp_path / 'old', zipped=False)
    written = path.read_bytes()
    modern = b'cnumpy._core.multiarray\n'
    if modern in written:
        path.write_bytes(written.replace(modern, b'cnumpy.core.multiarray\n'))
    _assert_is_state(path)


def test_safetensors_by_content_and_in_a_folder_of_the_hub(tmp_path: Path) -> None:
    for name in ('weights.bin', 'model.safetensors'):
        safetensors.torch.save_file(STATE, tmp_path / name)
        _assert_is_state(tmp_path / name)
    (tmp_path / 'config.json').write_text('{}')
    _assert_is_state(tmp_path)


def test_a_monodepth2_folder(tmp_path: Path) -> None:
    def write(name: str, state: dict[str, object]) -> None:
        torch.save(state, tmp_path / name)

    write('encoder.pth', {'encoder.conv1.weight': torch.ones(1), 'height': 192, 'width': 640})
    with pytest.raises(CheckpointError, match=r'folder without depth\.pth; give a weight file'):
        read_official_file(tmp_path)
    write('depth.pth', {'decoder.0.conv.conv.bias': torch.ones(2)})
    depth_only = read_official_file(tmp_path)
    assert set(depth_only.tensors) == {'encoder.conv1.weight', 'decoder.0.conv.conv.bias'}
    write('pose_encoder.pth', {'encoder.conv1.weight': torch.ones(3)})
    write('pose.pth', {'net.0.bias': torch.ones(4)})
    tensors = read_official_file(tmp_path).tensors
    assert {key: len(value) for key, value in tensors.items()} == {
        'encoder.conv1.weight': 1,
        'decoder.0.conv.conv.bias': 2,
        'pose_encoder.encoder.conv1.weight': 3,
        'pose.net.0.bias': 4,
    }


# What is refused


def _hostile(marker: Path) -> dict[str, tuple[object, str]]:
    """What a file may hold and would do when loaded, and the name it is refused by."""
    command = f'touch {marker}'
    return {
        'system': (_Call(os.system, command), f'{os.system.__module__}.system'),
        'eval': (_Call(builtins.eval, f'open({str(marker)!r}, "w")'), 'builtins.eval'),
        'exec': (_Call(builtins.exec, f'open({str(marker)!r}, "w")'), 'builtins.exec'),
        'getattr': (_Call(getattr, 'text', 'upper'), 'builtins.getattr'),
        'class': (pathlib.PurePosixPath('/'), 'pathlib.PurePosixPath'),
        'torch': (_Call(torch.hub.load, 'a/b', 'c'), 'torch.hub.load'),
    }


@pytest.mark.parametrize('what', ['system', 'eval', 'exec', 'getattr', 'class', 'torch'])
@pytest.mark.parametrize('written', ['zip', 'zip in protocol 4', 'legacy', 'legacy in protocol 4'])
@pytest.mark.parametrize('place', ['beside', 'among', 'config'])
def test_a_file_that_would_call_something_calls_nothing(
    tmp_path: Path,
    written: str,
    what: str,
    place: str,
    foreign: Callable[[str, str], type],
) -> None:
    marker = tmp_path / 'executed'
    payload, name = _hostile(marker)[what]
    content = {
        'beside': {'state_dict': STATE, 'extra': payload},
        'among': {**STATE, 'conv.weight': payload},
        'config': {'config': foreign('yacs.config', 'CfgNode')(a=payload), 'state_dict': STATE},
    }[place]
    protocol = 4 if written.endswith('4') else 2
    zipped = written.startswith('zip')
    path = _save(content, tmp_path / 'weights.pth', zipped=zipped, protocol=protocol)
    with pytest.raises(CheckpointError) as error:
        read_official_file(path)
    assert f'it calls {name}. Nothing of it was executed' in str(error.value)
    assert not marker.exists()


def test_the_hostile_files_would_act_when_loaded_carelessly(tmp_path: Path) -> None:
    marker = tmp_path / 'executed'
    path = _save(_hostile(marker)['system'][0], tmp_path / 'weights.pth')
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_plain_pickle_with_a_call_of_the_oldest_kind(tmp_path: Path) -> None:
    marker = tmp_path / 'executed'
    path = tmp_path / 'weights.pth'
    path.write_bytes(f"(S'touch {marker}'\nios\nsystem\n.".encode())
    with pytest.raises(CheckpointError, match=r'it calls os\.system\. Nothing'):
        read_official_file(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # noqa: S301  our own: it does act
    assert marker.exists()


def _written(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    safetensors.torch.save_file(STATE, folder / 'weights.safetensors')
    return {
        'zip': _save(STATE, folder / 'zip.pth'),
        'legacy': _save(STATE, folder / 'legacy.pth', zipped=False),
        'safetensors': folder / 'weights.safetensors',
    }


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
def test_a_truncated_file_of_any_length(tmp_path: Path, kind: str) -> None:
    whole = _written(tmp_path / 'whole')[kind]
    content = whole.read_bytes()
    path = tmp_path / f'cut{whole.suffix}'
    for length in sorted({0, 1, 2, 8, 9, 100, len(content) // 2, len(content) - 1}):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=rf'{path.name} \({length} bytes\).*complete'):
            read_official_file(path)


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    path = _save(STATE, tmp_path / 'weights.pth')
    content = path.read_bytes()
    value = STATE['conv.weight'].numpy().tobytes()
    assert content.count(value) == 1
    path.write_bytes(content.replace(value, bytes(len(value))))
    with pytest.raises(CheckpointError, match=r'corrupt: the checksum of \S+/data/\d is wrong'):
        read_official_file(path)


@pytest.mark.parametrize('content', [b'', b'a text\nof two lines\n', b'{"depth": 1}', b'\x80\x02'])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='no complete file of PyTorch'):
        read_official_file(path)


def test_an_archive_of_files_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / 'mono_640x192.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('mono_640x192/encoder.pth', b'')
    with pytest.raises(CheckpointError, match=r'holds mono_640x192/encoder\.pth\); unpack it'):
        read_official_file(path)


def test_a_zip_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', b'')
        archive.writestr('archive/data/0', bytes(2**20))
    with pytest.raises(CheckpointError, match='would unpack to 1048576 bytes'):
        read_official_file(path)


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n')
    with pytest.raises(CheckpointError, match='is a pointer of Git LFS; fetch'):
        read_official_file(path)


def test_a_file_may_hold_itself(tmp_path: Path) -> None:
    content: dict[str, object] = {'weight': torch.zeros(2)}
    content['model'] = content
    with pytest.raises(CheckpointError, match='holds no state dict'):
        read_official_file(_save(content, tmp_path / 'weights.pth'))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'without encoder\.pth and depth\.pth'):
        read_official_file(tmp_path)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ([1, 2], 'but none'),
        ({}, 'but none'),
        (torch.zeros(3), 'but none'),
        ({'a.weight': torch.zeros(1), 'b': {'c': [torch.ones(1)]}}, r'no tensors: b\.c'),
        ({'state_dict': {'a.weight': np.zeros(3)}}, r'entries that are no tensors: a\.weight'),
    ],
)
def test_a_pytorch_file_without_a_state_dict(tmp_path: Path, content: object, words: str) -> None:
    path = _save(content, tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match=f'holds no state dict.*{words}'):
        read_official_file(path)


def test_values_are_read_only_when_used(tmp_path: Path) -> None:
    """A mapped file costs memory for what is touched: moments of an optimizer are not."""
    state = {'weight': torch.zeros(2)}
    content = {'model': state, 'optimizer': {'moments': torch.zeros(2**20)}}
    tensors = read_official_file(_save(content, tmp_path / 'weights.pth')).tensors
    assert torch.equal(tensors['weight'], state['weight'])
    assert str(tmp_path / 'weights.pth') in Path('/proc/self/maps').read_text()
