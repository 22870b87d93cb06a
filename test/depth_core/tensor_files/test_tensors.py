# SPDX-License-Identifier: Apache-2.0
"""Names and values of weights: what tools add is left out, what no weight can be is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.tensor_files.differences import differences
from depth_core.tensor_files.tensors import as_weights, cleaned, refuse_unusable, with_counters


def test_what_tools_put_before_names_is_left_out() -> None:
    given = {
        'module.encoder.weight': 1,
        '_orig_mod.encoder.bias': 2,
        'module._orig_mod.encoder.norm.weight': 3,
        'encoder.module.head.weight': 4,
        'submodule.weight': 5,
        'downsamp_modules.weight': 6,
    }
    found = cleaned({key: torch.tensor(float(value)) for key, value in given.items()})
    assert {key: int(value) for key, value in found.items()} == {
        'encoder.weight': 1,
        'encoder.bias': 2,
        'encoder.norm.weight': 3,
        'encoder.head.weight': 4,
        'submodule.weight': 5,
        'downsamp_modules.weight': 6,
    }


def test_counters_and_sizes_beside_the_weights_are_left_out() -> None:
    one = torch.zeros(1, dtype=torch.float64)
    beside = ('total_ops', 'encoder.conv1.total_params', 'height', 'width', 'use_stereo', 'epoch')
    found = cleaned(dict.fromkeys(beside, one) | {'conv.weight': torch.ones(2)})
    assert found.keys() == {'conv.weight'}
    # A weight of more values is one, whatever its name.
    assert cleaned({'patch.height': torch.ones(4)}).keys() == {'patch.height'}


def test_two_entries_for_one_weight_are_refused() -> None:
    given = {'a.weight': torch.zeros(1), 'module.a.weight': torch.ones(1)}
    with pytest.raises(CheckpointError, match=r'module\.a\.weight and another .* a\.weight; keep'):
        cleaned(given)


def test_arrays_are_taken_like_tensors() -> None:
    found = cleaned({'a.weight': np.ones(3, np.float16)})  # type: ignore[dict-item]  # npz files
    assert torch.equal(found['a.weight'], torch.ones(3, dtype=torch.float16))


def test_counters_that_old_files_lack_are_zero() -> None:
    expected = ('norm.weight', 'norm.num_batches_tracked', 'other.num_batches_tracked')
    given = {'norm.weight': torch.ones(2), 'other.num_batches_tracked': torch.tensor(7)}
    found = with_counters(given, expected)
    assert int(found['norm.num_batches_tracked']) == 0
    assert int(found['other.num_batches_tracked']) == 7
    assert 'norm.bias' not in found


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(kind: torch.dtype) -> None:
    like = {'weight': torch.empty(2, device='meta')}
    found = as_weights({'weight': torch.tensor([0.5, -2.0], dtype=kind)}, like, source='a.pth')
    assert found['weight'].dtype == torch.float32
    assert found['weight'].tolist() == [0.5, -2.0]


def test_the_copies_share_nothing_with_what_was_given() -> None:
    given = torch.zeros(2)
    found = as_weights({'weight': given}, {'weight': given}, source='a.pth')['weight']
    given.fill_(1.0)
    assert found.tolist() == [0.0, 0.0]


def quantised() -> Tensor:
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (torch.ones(2, dtype=torch.complex64), 'complex64'),
        (torch.ones(2, dtype=torch.int8), 'int8'),
        (torch.ones(2, dtype=torch.bool), 'bool'),
        (torch.ones(2).to(torch.float8_e4m3fn), 'float8_e4m3fn'),
        (torch.ones(2, device='meta'), 'without values, on the meta device'),
        (torch.ones(2).to_sparse(), 'not dense, torch.sparse_coo'),
    ],
)
def test_what_is_no_weight_is_refused_in_words(value: Tensor, reason: str) -> None:
    with pytest.raises(CheckpointError) as error:
        as_weights({'a.weight': value}, {'a.weight': torch.ones(2)}, source='a.pth')
    message = str(error.value)
    assert message.startswith('a.pth: 1 tensors are of a type')
    assert f'a.weight ({reason})' in message
    assert 'Save the state dict in float32' in message


@pytest.mark.filterwarnings('ignore:.*quantiz.*:DeprecationWarning', 'ignore::UserWarning')
def test_a_quantised_tensor_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r'weight \(quantised, torch\.qint8\)'):
        as_weights({'weight': quantised()}, {'weight': torch.ones(2)}, source='a.pth')


@pytest.mark.parametrize('wrong', [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(wrong: float) -> None:
    weights = {f'layer{index}.weight': torch.ones(3) for index in range(14)}
    broken = {f'layer{index}.weight': torch.tensor([0.0, wrong, 1.0]) for index in range(12)}
    with pytest.raises(CheckpointError) as error:
        refuse_unusable(weights | broken, weights, source='a.pth')
    message = str(error.value)
    assert message.startswith('a.pth: 12 of 14 tensors have values that are NaN or infinite')
    assert 'layer9.weight, and 2 more' in message
    refuse_unusable(weights, weights, source='a.pth')


def test_a_value_that_single_precision_cannot_hold_is_refused() -> None:
    given = {'weight': torch.tensor([1e300], dtype=torch.float64)}
    with pytest.raises(CheckpointError, match='NaN or infinite: weight'):
        as_weights(given, {'weight': torch.ones(1)}, source='a.pth')


def test_differences_are_listed_by_kind() -> None:
    given = {'a': torch.ones(2), 'b': torch.ones(3), 'c': torch.ones(1)}
    expected = {'a': torch.ones(2), 'b': torch.ones(4), 'd': torch.ones(1)}
    found = differences(given, expected)
    assert found.count == 3
    assert found.lines == [
        '1 missing: d',
        '1 surplus: c',
        '1 of another shape: b (given (3,), network (4,))',
    ]
    assert not differences(expected, expected)


def test_weights_of_another_network_are_told_by_a_few_names() -> None:
    given = {f'layer{index}': torch.ones(1) for index in range(101)}
    assert differences(given, {'head': torch.ones(1)}).lines == [
        '1 missing: head',
        '101 surplus: layer0, layer1, layer2, and 98 more',
    ]
    few = dict(list(given.items())[:12])
    assert differences(few, {}).lines[0].endswith('layer9, and 2 more')
