# SPDX-License-Identifier: Apache-2.0
"""The bound that follows from rounding lets another kernel pass and a wrong network not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from test.rounding import BothPrecisions, assert_within_rounding, in_both_precisions

pytestmark = pytest.mark.numeric


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ELU(), nn.Conv2d(32, 8, 3)]
    return nn.Sequential(*layers).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))


def _outputs(network: nn.Sequential, images: Tensor) -> BothPrecisions:
    return in_both_precisions(network, lambda dtype: {'out': network(images.to(dtype))})


@torch.no_grad()
def _added_otherwise(network: nn.Sequential, images: Tensor) -> Tensor:
    """What the network gives where the last sums are made channel by channel, backwards."""
    features, weight = network[:-1](images), network.get_parameter('3.weight')
    parts = [F.conv2d(features[:, [place]], weight[:, [place]]) for place in range(32)]
    summed = torch.stack(parts[::-1]).cumsum(dim=0)[-1]
    return summed + network.get_parameter('3.bias')[:, None, None]


def test_the_same_network_in_another_order_of_sums_passes(
    network: nn.Sequential, images: Tensor
) -> None:
    expected = _added_otherwise(network, images)
    found = _outputs(network, images)
    assert not torch.equal(found.float32['out'], expected)
    assert_within_rounding(found, {'out': expected}, ceiling=1e-4)


def test_weights_are_the_same_afterwards(network: nn.Sequential, images: Tensor) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    _outputs(network, images)
    for key, value in network.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])


@pytest.mark.parametrize('size', [1e-2, 1e-4])
def test_one_weight_that_differs_is_found(
    network: nn.Sequential, images: Tensor, size: float
) -> None:
    expected = _added_otherwise(network, images)
    with torch.no_grad():
        network.get_parameter('0.weight')[0, 0, 0, 0] += size
    with pytest.raises(AssertionError, match=r'out: (a value differs|differs by more)'):
        assert_within_rounding(_outputs(network, images), {'out': expected}, ceiling=1e-4)


def test_another_epsilon_is_found(network: nn.Sequential, images: Tensor) -> None:
    expected = _added_otherwise(network, images)
    network.get_submodule('1').eps = 2e-5  # type: ignore[assignment]  # was 1e-5
    with pytest.raises(AssertionError, match='out: differs by more than rounding'):
        assert_within_rounding(_outputs(network, images), {'out': expected}, ceiling=1e-4)


def test_a_network_that_rounds_too_much_does_not_widen_its_bound(
    network: nn.Sequential, images: Tensor
) -> None:
    found = _outputs(network, images)
    rough = {'out': found.float64['out'] * (1.0 + 2e-4)}
    with pytest.raises(AssertionError, match='float32 differs from float64'):
        assert_within_rounding(
            BothPrecisions(float32=rough, float64=found.float64), rough, ceiling=1e-4
        )


def test_a_single_value_that_differs_is_found(network: nn.Sequential, images: Tensor) -> None:
    found = _outputs(network, images)
    expected = found.float32['out'].clone()
    expected[0, 0, 0, 0] += 1e-2
    with pytest.raises(AssertionError, match='out: a value differs'):
        assert_within_rounding(found, {'out': expected}, ceiling=1e-4)
