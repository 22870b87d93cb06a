# SPDX-License-Identifier: Apache-2.0
"""Published weights of ZoeDepth in every naming become ours, whole, or a message says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from depth_core.convert import convert_state_dict, main, mismatches, read_official
from depth_core.errors import CheckpointError, ConfigError
from depth_core.models import create_model
from depth_core.models.zoedepth.keys import dropped, official_key, to_authors
from depth_core.weights.checkpoint import load_model
from test.depth_core.zoe_official import (
    DATA,
    NAMES,
    TINY,
    hugging_face_state,
    model_name,
    official_state,
)

PAPER_LISTS = {
    'ZoeD_N': 'zoedepth_n',
    'ZoeD_K': 'zoedepth_k',
    'ZoeD_NK': 'zoedepth_nk',
    'hf_zoedepth_n_hub_keys': 'zoedepth_n',
    'hf_zoedepth_nk_hub_keys': 'zoedepth_nk',
}
MIDAS_LISTS = {
    'midas_dpt_beitl16_384': 'beit_large_384',
    'midas_dpt_beitb16_384': 'beit_base_384',
    'midas_dpt_swin2l24_384': 'swin2_large_384',
    'midas_dpt_swin2b24_384': 'swin2_base_384',
    'midas_dpt_swin2t16_256': 'swin2_tiny_256',
    'midas_dpt_vitl16_384': 'vit_large_384',
}


def _published(name: str) -> dict[str, Tensor]:
    """Names and shapes of a published file, without memory for the numbers."""
    with np.load(DATA / 'zoe_keys.npz') as archive:
        lines = bytes(archive[name]).decode().splitlines()
    state = {}
    for line in lines:
        key, sides = line.split('\t')
        shape = [int(side) for side in sides.split(',') if side]
        state[key] = torch.empty(shape, device='meta')
    return state


def _assert_weights_of_the_reference(name: str, found: Mapping[str, Tensor]) -> None:
    """The weights whose answers test_zoedepth.py compares with those of the authors' code."""
    expected = convert_state_dict(model_name(name), official_state(name), **TINY[name])
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize(('listing', 'encoder'), MIDAS_LISTS.items())
def test_cores_of_midas_fit_the_cores_of_every_name(listing: str, encoder: str) -> None:
    published = _published(listing)
    assert mismatches('zoedepth_n', published, part='midas', encoder=encoder) == []
    assert any(key.startswith('pretrained.model.head.') for key in published)


@pytest.mark.parametrize('name', NAMES)
def test_the_command_reads_the_authors_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / f'ZoeD_{name}.pt', tmp_path / 'ours.ckpt'
    state = {f'module.{key}': value for key, value in official_state(name).items()}
    torch.save({'model': state, 'optimizer': None, 'epoch': 4}, source)
    main(
        ['--family', model_name(name), '--source', str(source), '--output', str(output)]
        + [f'--{key}={_argument(value)}' for key, value in TINY[name].items()]
    )
    assert 'calibration neutral until trained' in capsys.readouterr().out
    _assert_weights_of_the_reference(name, load_model(output).state_dict())


def _argument(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value).replace("'", '"')


@pytest.mark.parametrize('version', [4, 5])
@pytest.mark.parametrize('name', NAMES)
def test_the_port_of_hugging_face(name: str, version: Literal[4, 5], tmp_path: Path) -> None:
    path = tmp_path / 'model.safetensors'
    state = hugging_face_state(name, version)
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    official = read_official(model_name(name), path, **TINY[name])
    converted = convert_state_dict(model_name(name), official, **TINY[name])
    _assert_weights_of_the_reference(name, converted)


def test_a_core_of_midas_leaves_the_rest_as_it_is_built() -> None:
    official = official_state('N')
    midas = {key.removeprefix('core.core.'): value for key, value in official.items()
             if key.startswith('core.core.')}  # fmt: skip
    converted = convert_state_dict('zoedepth_n', midas, part='midas', **TINY['N'])
    whole = convert_state_dict('zoedepth_n', official, **TINY['N'])
    differ = {key for key in whole if not torch.equal(whole[key], converted[key])}
    assert differ
    assert not any(key.startswith('core.') for key in differ)
    again = convert_state_dict('zoedepth_n', midas, part='midas', **TINY['N'])
    assert all(torch.equal(converted[key], again[key]) for key in again)
    with pytest.raises(CheckpointError, match='missing'):
        convert_state_dict('zoedepth_n', midas, **TINY['N'])
    with pytest.raises(ConfigError, match='midas'):
        convert_state_dict('zoedepth_n', midas, part='midass', **TINY['N'])


def test_another_variant_is_refused_with_what_does_not_fit() -> None:
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('zoedepth_n', official_state('K'), **TINY['N'])
    assert 'not the official weights of zoedepth_n' in str(error.value)
    assert 'attractors.0._net.2.weight (given (32, 128, 1, 1), network (16, 128, 1, 1))' in str(
        error.value
    )
    with pytest.raises(CheckpointError, match=r'surplus: patch_transformer\.'):
        convert_state_dict('zoedepth_n', official_state('NK'), **TINY['N'])


def test_a_part_of_a_joint_projection_that_lacks_is_named() -> None:
    state = hugging_face_state('N', 4)
    del state['backbone.encoder.layer.2.attention.attention.key.weight']
    with pytest.raises(CheckpointError) as error:
        convert_state_dict('zoedepth_n', state, **TINY['N'])
    assert '1 missing: core.core.pretrained.model.blocks.2.attn.qkv.weight' in str(error.value)
    state = hugging_face_state('N', 4)
    state['backbone.encoder.layer.2.attention.attention.key.bias'] = torch.zeros(32)
    with pytest.raises(CheckpointError, match=r'1 surplus: .*key\.bias'):
        convert_state_dict('zoedepth_n', state, **TINY['N'])


def test_names_map_one_to_one_and_nothing_that_runs_is_dropped() -> None:
    for listing, name in PAPER_LISTS.items():
        with torch.device('meta'):
            model = create_model(name)
        ours = model.state_dict().keys() - model.own_state().keys()
        theirs = {official_key(key) for key in ours}
        assert len(theirs) == len(ours)
        assert not any(dropped(key) for key in theirs)
        left = to_authors(_published(listing)).keys() - theirs
        assert {key.split('.')[-2] if key.split('.')[-1] in ('weight', 'bias')
                else key.split('.')[-1] for key in left} <= {
            'fc_norm', 'head', 'conv1', 'conv2', 'relative_position_index', 'k_idx', 'K_minus_1'
        }  # fmt: skip


def test_what_is_the_authors_already_stays_as_it_is() -> None:
    state = official_state('NK')
    assert to_authors(state) is state
    other = {'encoder.conv.weight': torch.zeros(1)}
    assert to_authors(other) is other
