# SPDX-License-Identifier: Apache-2.0
"""Activation checkpoints change no number; a compile that fails changes only the speed."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depth_core.errors import ModelError
from depth_core.models import create_model
from depth_core.train.compiling import compile_network
from depth_core.train.memory import checkpoint_activations, peak_memory_gb
from depth_core.train.start import use_channels_last

TINY = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8)}


def _gradients(network: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], int]:
    """Gradients by name, and how many numbers were kept for them."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        depth = network(images).depth
    depth.mean().backward()
    found = {
        name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None
    }
    return found, kept


def test_the_same_gradients_and_statistics_with_fewer_numbers_kept() -> None:
    torch.manual_seed(0)
    plain = create_model('densedepth_small', **TINY)
    saving = copy.deepcopy(plain)
    names = list(saving.state_dict())
    assert checkpoint_activations(saving) > 5
    assert list(saving.state_dict()) == names
    images = torch.rand(2, 3, 64, 64)
    expected, kept = _gradients(plain, images)
    found, kept_of_fewer = _gradients(saving, images)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    for name, value in plain.state_dict().items():  # batch norm counted once
        assert torch.equal(saving.state_dict()[name], value), name
    assert kept_of_fewer < 0.5 * kept


def test_a_copy_computes_with_its_own_weights() -> None:
    network = create_model('densedepth_small', **TINY).eval()
    checkpoint_activations(network)
    other = copy.deepcopy(network)
    images = torch.rand(1, 3, 64, 64)
    before = network(images).depth
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert torch.equal(network(images).depth, before)
    assert not torch.equal(other(images).depth, before)


def test_the_peak_is_that_of_this_process() -> None:
    before = peak_memory_gb(torch.device('cpu'))
    block = torch.ones(150_000_000, dtype=torch.uint8)  # 0.15 GB, written
    assert 0.1 < peak_memory_gb(torch.device('cpu')) < 200.0
    assert peak_memory_gb(torch.device('cpu')) >= before
    del block


class _Doubles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 0:
            message = 'give a vector.'
            raise ModelError(message)
        return self.weight * x


def test_a_compiled_network_answers_the_same_and_keeps_its_names() -> None:
    network = _Doubles()
    compile_network(network, backend='eager')
    assert list(network.state_dict()) == ['weight']
    assert network(torch.ones(2)).tolist() == [2.0, 2.0]


def test_a_compile_that_fails_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> Any:
        message = 'no compiler on this machine'
        raise RuntimeError(message)

    network = _Doubles()
    compile_network(network, backend=broken)
    with caplog.at_level(logging.WARNING, 'depth_core'):
        answers = [network(torch.full((2,), value)) for value in (1.0, 3.0)]
    answers[1].sum().backward()
    assert [answer.tolist() for answer in answers] == [[2.0, 2.0], [6.0, 6.0]]
    assert network.weight.grad is not None
    assert network.weight.grad.item() == 6.0
    (record,) = caplog.records
    assert 'torch.compile failed' in record.getMessage()
    assert 'no compiler on this machine' in record.getMessage()
    with pytest.raises(ModelError, match='give a vector'):
        network(torch.tensor(1.0))


def test_gradients_have_the_strides_of_their_weights() -> None:
    """Or DDP warns; a kernel of one channel counts as contiguous in both orders."""
    block = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 2, 3, bias=False)
    )
    before = [weight.detach().clone() for weight in block.parameters()]
    use_channels_last(block)
    for weight, value in zip(block.parameters(), before, strict=True):
        assert torch.equal(weight, value)
    images = torch.rand(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    block(images).sum().backward()
    for weight in block.parameters():
        assert weight.grad is not None
        assert weight.grad.stride() == weight.stride()
