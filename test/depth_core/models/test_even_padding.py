# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's padding with no formula of the size in it, so that graphs of free size export."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from depth_core.models.backbones import EvenSameConv2d, TimmEncoder, pad_for_even_sizes
from depth_core.models.selfsup.semantic import SemanticNetwork

ENCODER = 'tf_efficientnet_lite0'


def dynamic(network: nn.Module) -> list[str]:
    return [name for name, layer in network.named_modules() if isinstance(layer, Conv2dSame)]


def test_the_odd_row_of_padding_comes_last() -> None:
    layer = EvenSameConv2d(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(layer.weight)
    found = layer(torch.arange(16.0).reshape(1, 1, 4, 4))
    # Windows start at rows and columns 0 and 2; what lies behind the last is zero.
    expected = torch.tensor([[[[45.0, 39.0], [66.0, 50.0]]]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('kernel', [3, 5])
@torch.no_grad()
def test_it_computes_what_timm_does(kernel: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Conv2dSame(4, 4, kernel, stride=2, groups=4), nn.ReLU())
    images = torch.randn(2, 4, 12, 20)
    expected, keys = network(images), list(network.state_dict())
    pad_for_even_sizes(network)
    assert isinstance(network[0], EvenSameConv2d)
    assert list(network.state_dict()) == keys
    torch.testing.assert_close(network(images), expected)


@torch.no_grad()
def test_the_whole_encoder_is_what_it_was_and_has_none_of_the_other_kind() -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(ENCODER, weights='none').eval()
    own = timm.create_model(ENCODER, features_only=True).eval()
    own.load_state_dict(encoder.network.state_dict())
    assert dynamic(own)
    assert not dynamic(encoder)
    images = torch.rand(1, 3, 64, 96)
    expected = own((images - encoder.mean) / encoder.std)
    for found, map_ in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(found, map_)


def test_the_semantic_network_has_none_either() -> None:
    network = SemanticNetwork(f'tu-{ENCODER}', channels=16, head_channels=32)
    assert not dynamic(network)
    assert any(isinstance(layer, EvenSameConv2d) for layer in network.modules())
