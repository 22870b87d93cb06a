# SPDX-License-Identifier: Apache-2.0
"""Files of URCDC-Depth and NeWCRFs become ours, whole, or are refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.convert import convert_state_dict, main, read_official
from depth_core.errors import CheckpointError, ConfigError
from depth_core.models import create_model
from depth_core.models.urcdc.network import official_key
from depth_core.weights.checkpoint import load_model, read_checkpoint
from test.depth_core.urcdc_official import TINY, fill, published_keys, tiny_official

OPTIONS = [
    f'--{key}={list(value) if isinstance(value, tuple) else value}' for key, value in TINY.items()
]


@pytest.fixture(scope='module')
def official() -> Mapping[str, Tensor]:
    return tiny_official()


@pytest.fixture(scope='module')
def file(official: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the authors' training writes it: no suffix, `module.`, arrays of NumPy."""
    path = tmp_path_factory.mktemp('urcdc') / 'model-85500-best_rms_0.31641'
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
    adam = torch.optim.Adam(weights, lr=2e-5)
    sum(weight.sum() for weight in weights).backward()  # type: ignore[union-attr]
    adam.step()
    content = {
        'global_step': 85500,
        'model': {f'module.{key}': value for key, value in official.items()},
        'optimizer': adam.state_dict(),
        'best_eval_measures_higher_better': torch.zeros(3),
        'best_eval_measures_lower_better': torch.full((6,), 1e3),
        'best_eval_steps': np.zeros(9, dtype=np.int32),
    }
    torch.save(content, path)
    return path


def test_names_are_those_of_the_published_file(official: Mapping[str, Tensor]) -> None:
    """The tiny network lacks repetition only: blocks of a stage, layers of a dense block."""

    def kinds(keys: Iterable[str]) -> set[str]:
        return {re.sub(r'(\.blocks\.|denselayer)\d+', r'\1', key) for key in keys}

    published = published_keys()
    assert set(official) < set(published)
    assert kinds(official) == kinds(published)


@torch.no_grad()
def test_the_command_turns_the_authors_file_into_their_network(
    file: Path, official: Mapping[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'nyu.ckpt'
    main(['--family', 'urcdc', '--source', str(file), '--output', str(output), *OPTIONS])
    assert str(output) in capsys.readouterr().out
    provenance = read_checkpoint(output).provenance
    assert provenance is not None
    assert provenance['converted_from'] == file.name
    converted = load_model(output)
    for key, value in converted.state_dict().items():
        assert torch.equal(value, official[official_key(key)]), key
    with torch.device('meta'):
        empty = create_model('urcdc', **TINY)
    drawn = fill(empty)
    x = torch.randn(1, 3, 64, 96)
    expected = drawn.official_forward(x)
    for name, found in converted.official_forward(x).items():
        assert torch.equal(found, expected[name])


def test_a_wrong_index_in_the_file_changes_nothing(official: Mapping[str, Tensor]) -> None:
    """The file's tables of relative positions follow from the window and are computed here."""
    indices = [key for key in official if key.endswith('.relative_position_index')]
    assert indices
    without = {key: value for key, value in official.items() if key not in indices}
    first = convert_state_dict('urcdc', official, **TINY)
    second = convert_state_dict('urcdc', without, **TINY)
    assert all(torch.equal(first[key], second[key]) for key in first)


def _newcrfs(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    others = ('backbone.base_model', 'backbone.fusion', 'decoder2', 'last_layer', 'uncer_head1')
    return {
        f'module.{key}': value for key, value in official.items() if not key.startswith(others)
    }


def test_newcrfs_is_the_transformer_branch(official: Mapping[str, Tensor]) -> None:
    given = _newcrfs(official)
    converted = convert_state_dict('urcdc', given, part='newcrfs', **TINY)
    model = create_model('urcdc', **TINY)
    model.load_state_dict(converted)
    taken = 0
    for key, value in converted.items():
        name = f'module.{official_key(key)}'
        if name in given:
            taken += 1
            assert torch.equal(value, given[name]), key
        else:
            assert key.startswith(('cnn.', 'confidence_head.')), key
    assert taken == sum(not key.endswith('_index') for key in given)
    again = convert_state_dict('urcdc', given, part='newcrfs', **TINY)
    assert all(torch.equal(converted[key], again[key]) for key in converted)


def test_newcrfs_is_not_taken_for_the_whole(official: Mapping[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r'missing: uncer_head1') as error:
        convert_state_dict('urcdc', _newcrfs(official), **TINY)
    assert 'surplus' not in str(error.value)
    with pytest.raises(CheckpointError, match='surplus: uncer_head1'):
        convert_state_dict('urcdc', official, part='newcrfs', **TINY)
    with pytest.raises(ConfigError, match='newcrfs'):
        convert_state_dict('urcdc', official, part='newcrf', **TINY)


def test_missing_and_surplus_names_are_told(official: Mapping[str, Tensor]) -> None:
    given = dict(official)
    gone = [key for key in official if key.startswith('crf3.')]
    for key in gone:
        del given[key]
    given['crf4.norm_crf.weight'] = torch.ones(8)
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('urcdc', given, **TINY)
    message = str(error.value)
    indices = sum(key.endswith('_index') for key in gone)
    assert f'{len(gone) - indices} missing: crf3.' in message
    assert '1 surplus: crf4.norm_crf.weight' in message


def test_weights_of_another_size_are_refused_with_both_shapes(
    official: Mapping[str, Tensor],
) -> None:
    other = dict(TINY) | {'pooled_channels': 8, 'pooled_groups': 4}
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('urcdc', official, **other)
    assert 'decoder.psp_modules.0.1.conv.weight (given (16, 96, 1, 1), network (8, 96' in str(
        error.value
    )


def test_a_truncated_file_is_refused(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / file.name
    broken.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match='100000 bytes'):
        read_official('urcdc', broken)
