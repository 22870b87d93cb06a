# SPDX-License-Identifier: Apache-2.0
"""Official weights become ours, whole, or one message says why not."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.convert import convert_state_dict, main, read_official
from depth_core.errors import CheckpointError, ConfigError, run_command
from depth_core.models import create_model
from depth_core.weights.checkpoint import load_model, read_checkpoint, save_model

KERAS_ORDER = Path(__file__).resolve().parents[2] / 'data' / 'dd_keras_weight_order.txt'


def _write_keras_file(
    path: Path, official: Mapping[str, Tensor], *, stem: str = '/', whole_model: bool = True
) -> None:
    """Write an HDF5 file as Keras does, from weights of the PyTorch class.

    Both frameworks list their weights in the same order, so that this needs no map of names.
    """
    weights = [
        value
        for key, value in official.items()
        if not key.endswith('num_batches_tracked') and 'classifier' not in key
    ]
    layers: dict[str, list[tuple[str, np.ndarray]]] = {'input_1': []}
    lines = KERAS_ORDER.read_text().splitlines()
    for line, weight in zip(lines, weights, strict=True):
        layer, parameter, shape = line.split('\t')
        if layer in ('conv1_conv', 'conv1_bn'):
            layer = layer.replace('_', stem)
        array = weight.numpy()
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        assert array.shape == ast.literal_eval(shape)
        layers.setdefault(layer, []).append((parameter, array))
    with h5py.File(path, 'w') as file:
        root = file.create_group('model_weights') if whole_model else file
        root.attrs['layer_names'] = [layer.encode() for layer in layers]
        for layer, parameters in layers.items():
            group = root.create_group(layer)
            names = [f'{layer}/{parameter}:0'.encode() for parameter, _ in parameters]
            group.attrs['weight_names'] = np.array(names, dtype='S64')
            for name, (_, array) in zip(names, parameters, strict=True):
                group.create_dataset(name.decode(), data=array)


@pytest.fixture(scope='module')
def keras_file(
    densedepth_official: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A whole-model file with the layer names of 2018, as the published ones; 172 MB."""
    path = tmp_path_factory.mktemp('keras') / 'nyu.h5'
    _write_keras_file(path, densedepth_official)
    return path


def test_converted_official_weights_load_strictly(
    densedepth_official: Mapping[str, Tensor],
) -> None:
    converted = convert_state_dict('densedepth', densedepth_official)
    with torch.device('meta'):
        model = create_model('densedepth')
    model.load_state_dict(converted, assign=True)
    expected = densedepth_official['decoder.up2.convB.weight']
    assert torch.equal(model.get_parameter('decoder.blocks.1.conv_b.weight'), expected)
    # The same additions every time, and no tensor shared with the caller's.
    again = convert_state_dict('densedepth', densedepth_official)
    assert all(torch.equal(converted[key], again[key]) for key in converted)
    converted['decoder.conv3.bias'].fill_(7.0)
    assert not torch.equal(densedepth_official['decoder.conv3.bias'], torch.tensor([7.0]))


def test_a_data_parallel_prefix_is_understood(
    densedepth_official: Mapping[str, Tensor],
) -> None:
    prefixed = {f'module.{key}': value for key, value in densedepth_official.items()}
    with torch.device('meta'):
        expected = create_model('densedepth').state_dict()
    assert convert_state_dict('densedepth', prefixed).keys() == expected.keys()


@torch.no_grad()
def test_the_command_turns_a_keras_file_into_the_authors_network(
    keras_file: Path,
    tmp_path: Path,
    densedepth_official: Mapping[str, Tensor],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / 'nyu.ckpt'
    main(['--family', 'densedepth', '--source', str(keras_file), '--output', str(output)])
    assert str(output) in capsys.readouterr().out
    model = load_model(output)
    provenance = read_checkpoint(output).provenance
    output.unlink()  # 171 MB, and pytest keeps the folders of three runs
    assert provenance is not None
    assert provenance['converted_from'] == 'nyu.h5'
    # Whose numbers are the authors': test_densedepth.py compares them.
    expected = convert_state_dict('densedepth', densedepth_official)
    assert model.state_dict().keys() == expected.keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected[key]), key
    prediction = model(torch.rand(1, 3, 64, 96))
    torch.testing.assert_close(prediction.sigma, 0.2 * prediction.depth)


def test_a_file_of_keras_weights_alone_with_the_names_of_keras_3(
    densedepth_official: Mapping[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / 'weights.h5'
    _write_keras_file(path, densedepth_official, stem='_', whole_model=False)
    official = read_official('densedepth', path)
    path.unlink()
    dropped = {key for key in densedepth_official if 'classifier' in key}
    assert official.keys() == densedepth_official.keys() - dropped
    for key in official:
        assert torch.equal(official[key], densedepth_official[key]), key


def test_a_truncated_keras_file(keras_file: Path, tmp_path: Path) -> None:
    path = tmp_path / 'half.h5'
    with keras_file.open('rb') as file:
        path.write_bytes(file.read(1_000_000))
    with pytest.raises(CheckpointError, match=r'half\.h5 \(1000000 bytes\).*truncated'):
        read_official('densedepth', path)


def test_an_hdf5_file_that_is_no_keras_file(tmp_path: Path) -> None:
    path = tmp_path / 'other.h5'
    with h5py.File(path, 'w') as file:
        file.create_dataset('depth', data=np.zeros(3))
    with pytest.raises(CheckpointError, match='no complete file of Keras weights'):
        read_official('densedepth', path)


def test_a_keras_file_with_a_layer_too_many(
    densedepth_official: Mapping[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / 'more.h5'
    with h5py.File(path, 'w') as file:
        root = file.create_group('model_weights')
        root.attrs['layer_names'] = [b'conv4']
        root.create_group('conv4').attrs['weight_names'] = [b'conv4/bias:0']
        root['conv4'].create_dataset('conv4/bias:0', data=np.zeros(1, np.float32))
    surplus = read_official('densedepth', path)['conv4/bias']
    with pytest.raises(CheckpointError, match='1 surplus: conv4/bias'):
        convert_state_dict('densedepth', {**densedepth_official, 'conv4/bias': surplus})


def test_missing_and_surplus_keys_are_named_ten_at_most_with_their_count(
    densedepth_official: Mapping[str, Tensor],
) -> None:
    kept = {k: v for k, v in densedepth_official.items() if not k.startswith('decoder.up')}
    strange = {f'neck.{index}.weight': torch.zeros(1) for index in range(3)}
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('densedepth', {**kept, **strange})
    message = str(error.value)
    assert '16 missing: decoder.up1.convA.weight' in message
    assert 'decoder.up3.convA.bias, and 6 more' in message
    assert 'decoder.up4' not in message
    assert '3 surplus: neck.0.weight, neck.1.weight, neck.2.weight' in message


def test_weights_of_another_wiring_are_refused_with_both_shapes(
    densedepth_official: Mapping[str, Tensor],
) -> None:
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('densedepth', densedepth_official, decoder_width=0.5)
    assert 'decoder.conv2.weight (given (1664, 1664, 1, 1), network (832, 1664, 1, 1))' in str(
        error.value
    )


def test_a_pytorch_file_may_wrap_its_state_dict(tmp_path: Path) -> None:
    state = {'decoder.conv3.bias': torch.ones(1)}
    torch.save(state, tmp_path / 'plain.pth')
    torch.save({'state_dict': state, 'epoch': 3}, tmp_path / 'wrapped.pth')
    for name in ('plain.pth', 'wrapped.pth'):
        assert read_official('densedepth', tmp_path / name).keys() == state.keys()


@pytest.mark.parametrize('content', [b'', b'hello\n', b'PK\x03\x04' + bytes(100)])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'weights\.pth .*no complete file'):
        read_official('densedepth', path)


def test_a_pytorch_file_without_tensors(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='no state dict'):
        read_official('densedepth', tmp_path / 'list.pth')


def test_a_checkpoint_of_ours_needs_no_conversion(tmp_path: Path) -> None:
    path = tmp_path / 'ours.ckpt'
    save_model(path, create_model('densedepth_small', encoder='mobilenetv3_small_050'))
    with pytest.raises(CheckpointError, match='checkpoint of this package already'):
        read_official('densedepth', path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'absent\.h5'):
        read_official('densedepth', tmp_path / 'absent.h5')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--family', 'densdepth'], "did you mean 'densedepth'"),
        (['--family', 'densedepth', '--max_dept', '10'], "did you mean '--max_depth'"),
        (['--family', 'densedepth', '--source', 'nyu.h5'], 'output'),
        (['--family', 'densedepth', '--max_depth', 'ten'], 'max_depth'),
        ([], 'family'),
    ],
)
def test_wrong_arguments_are_answered(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        main(arguments)
    assert message in str(error.value)


def test_a_refused_file_leaves_no_output(tmp_path: Path) -> None:
    source, output = tmp_path / 'wrong.pth', tmp_path / 'out.ckpt'
    torch.save({'weight': torch.zeros(1)}, source)
    with pytest.raises(CheckpointError, match='1 surplus: weight'):
        main(['--family', 'densedepth', '--source', str(source), '--output', str(output)])
    assert list(tmp_path.iterdir()) == [source]


def test_the_command_ends_with_status_two_and_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ['convert', '--family', 'densedepth', '--source', 'absent.h5']
    monkeypatch.setattr(sys, 'argv', [*given, '--output', str(tmp_path / 'out.ckpt')])
    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith('error: weight file absent.h5')
    assert said.out == ''


def test_help_states_the_options_and_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(['--family', 'densedepth', '--help'])
    assert status.value.code == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert '--decoder_width' in text
    assert 'Largest depth, metres' in text
    assert '--pretrained' not in text
