# SPDX-License-Identifier: Apache-2.0
"""A training checkpoint in the authors' format becomes our network, and meets their numbers."""

from __future__ import annotations

import ast
import sys
import types
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.convert import convert_state_dict, main, mismatches
from depth_core.errors import CheckpointError
from depth_core.models import create_model
from depth_core.models.cliffnet.network import CliffNet, official_key, to_authors
from depth_core.weights.checkpoint import load_model
from test.rounding import assert_within_rounding, in_both_precisions

KEYS = Path(__file__).resolve().parents[2] / 'data' / 'cliff_state_dict_keys.txt'
SMALL: dict[str, Any] = {'layers': (1, 1, 1, 1), 'channels': 8}

Reference = Callable[[str], dict[str, Tensor]]


def _listed() -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Keys of the network, their shapes and whether they count; those of the HEG follow it."""
    for line in KEYS.read_text().splitlines():
        if line.startswith('#'):
            return
        key, shape, dtype = line.split('\t')
        yield key, ast.literal_eval(shape), dtype == 'torch.int64'


def _drawn(key: str, shape: tuple[int, ...]) -> Tensor:
    """The weight that the reference numbers were made with, from a seed made of its key."""
    values = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith('.weight') and len(shape) > 1:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif key.endswith('.weight'):
        values = 1.0 + 0.1 * values
    elif key.endswith('.running_var'):
        values = 1.0 + 0.25 * np.abs(values)
    else:
        values = 0.1 * values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@pytest.fixture(scope='module')
def official() -> Mapping[str, Tensor]:
    """The state dict of the authors' network, `module.` before each key; 150 MB."""
    return {
        f'module.{key}': torch.zeros((), dtype=torch.int64) if counter else _drawn(key, shape)
        for key, shape, counter in _listed()
    }


@pytest.fixture(scope='module')
def training_checkpoint(
    official: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """What their training writes: epoch, steps, both states, a metric, and an EasyDict."""
    easy = type('EasyDict', (dict,), {'__module__': 'easydict'})
    module = types.ModuleType('easydict')
    vars(module)['EasyDict'] = easy
    sys.modules['easydict'] = module
    path = tmp_path_factory.mktemp('official') / 'epoch-53-py3.pth'
    some = next(iter(official.values()))
    content = {
        'epoch': 53,
        'global_step': 265_000,
        'model_state_dict': dict(official),
        'optimizer_state_dict': {
            'state': {0: {'step': 265_000, 'exp_avg': torch.zeros_like(some)}},
            'param_groups': [{'lr': 1e-4, 'params': [0]}],
        },
        'p1': 0.844,
        'config': easy(network=easy(num_layers=50), train=easy(batch_size=8)),
    }
    try:
        torch.save(content, path)
    finally:
        del sys.modules['easydict']
    yield path
    path.unlink()


@pytest.mark.numeric
@torch.no_grad()
def test_the_authors_checkpoint_gives_the_authors_numbers(
    training_checkpoint: Path,
    reference: Reference,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / 'cliffnet.ckpt'
    main(['--family', 'cliffnet', '--source', str(training_checkpoint), '--output', str(output)])
    assert str(output) in capsys.readouterr().out
    model = load_model(output)
    output.unlink()
    assert isinstance(model, CliffNet)
    arrays = reference('cliff_full_network_formula_weights')
    img = arrays.pop('img')
    seen: dict[str, Any] = {}
    for name, part in {'res': model.encoder, 'p': model.pyramid}.items():
        part.register_forward_hook(lambda *given, name=name: seen.update({name: given[2]}))

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        found = {'out': model.official_forward(img.to(dtype))['out']}
        for name, maps in seen.items():
            for level, tap in zip((2, 3, 4, 5), maps, strict=True):
                height, width = arrays[f'{name}{level}_ch0_3'].shape[2:]
                found[f'{name}{level}_ch0_3'] = tap[:, :4, :height, :width]
                found[f'{name}{level}_meanstd'] = torch.stack((tap.mean(), tap.std()))
        return found

    found = in_both_precisions(model, run)
    assert found.float64.keys() == arrays.keys()
    # Relative to the largest output: float32 rounding through 60 layers.
    assert_within_rounding(found, arrays, ceiling=1e-4)
    prediction = model(torch.rand(1, 3, 64, 96))
    torch.testing.assert_close(prediction.sigma, 0.2 * prediction.depth, rtol=1e-4, atol=1e-4)


def test_our_keys_are_theirs_one_to_one() -> None:
    with torch.device('meta'):
        model = create_model('cliffnet')
    ours = [key for key in model.state_dict() if not key.startswith('sigma_head.')]
    theirs = {key for key, _, _ in _listed()}
    assert {official_key(key) for key in ours} == theirs
    assert len(ours) == len(theirs)


def test_every_key_and_shape_of_the_list_fits() -> None:
    listed = {key: torch.empty(shape, device='meta') for key, shape, _ in _listed()}
    assert mismatches('cliffnet', listed) == []


def test_another_size_of_the_network_is_an_option() -> None:
    model = create_model('cliffnet', **SMALL)
    theirs = {
        official_key(key): value
        for key, value in model.state_dict().items()
        if not key.startswith('sigma_head.')
    }
    converted = convert_state_dict('cliffnet', theirs, **SMALL)
    for key, value in model.state_dict().items():
        if not key.startswith('sigma_head.'):
            assert torch.equal(converted[key], value)
    with pytest.raises(CheckpointError, match='of another shape'):
        convert_state_dict('cliffnet', theirs, layers=(1, 1, 1, 1), channels=16)


def test_what_does_not_fit_is_named(official: Mapping[str, Tensor]) -> None:
    kept = {key: value for key, value in official.items() if '.comb' not in key}
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('cliffnet', {**kept, 'module.fcn.comb5.weight': torch.zeros(1)})
    assert '30 missing: fcn.comb2.conv1.0.weight' in str(error.value)
    assert ', and 20 more' in str(error.value)
    assert '1 surplus: fcn.comb5.weight' in str(error.value)


def _caffe_file(model: CliffNet) -> dict[str, Tensor]:
    """A ResNet with the names of torchvision, as old as to have no counters."""
    state = model.encoder.state_dict()
    old = {key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}
    return old | {'fc.weight': torch.zeros(1000, 2048), 'fc.bias': torch.zeros(1000)}


def test_a_caffe_resnet_is_a_part() -> None:
    torch.manual_seed(1)
    source = create_model('cliffnet', **SMALL)
    assert isinstance(source, CliffNet)
    file = _caffe_file(source)
    converted = convert_state_dict('cliffnet', file, part='backbone', **SMALL)
    model = create_model('cliffnet', **SMALL)
    model.load_state_dict(converted)
    assert isinstance(model, CliffNet)
    for key, value in source.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value), key
    again = convert_state_dict('cliffnet', file, part='backbone', **SMALL)
    assert all(torch.equal(value, again[key]) for key, value in converted.items())


def test_a_backbone_is_no_whole_network() -> None:
    source = create_model('cliffnet', **SMALL)
    assert isinstance(source, CliffNet)
    with pytest.raises(CheckpointError, match=r'missing: fpn\.fpn_p2_1x1'):
        convert_state_dict('cliffnet', _caffe_file(source), **SMALL)


def test_the_authors_own_names_stay_as_they_are() -> None:
    state = {key: torch.empty(shape, device='meta') for key, shape, _ in _listed()}
    assert to_authors(state) == state
