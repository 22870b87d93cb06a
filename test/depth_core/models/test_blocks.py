# SPDX-License-Identifier: Apache-2.0
"""Layers shared by the families."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core.models.blocks import LightDecoder, Sampling, SigmaHead, resize_bilinear
from test.rounding import in_float64

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize(
    ('sampling', 'name'),
    [
        ('align_corners', 'tf1_align_corners'),
        ('half_pixel', 'tf2_half_pixel'),
        ('tf1_legacy', 'tf1_legacy_asymmetric'),
    ],
)
def test_resize_samples_where_tensorflow_does(
    reference: Callable[[str], dict[str, Tensor]], sampling: Sampling, name: str
) -> None:
    arrays = in_float64(reference('dd_tf_resize'))
    resized = resize_bilinear(arrays['x_nhwc'].permute(0, 3, 1, 2), (6, 8), sampling)
    expected = arrays[name].permute(0, 3, 1, 2)
    # Theirs are of float32.
    torch.testing.assert_close(resized, expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(
    ('sampling', 'expected'),
    [
        ('align_corners', [0.0, 1.0, 2.0, 3.0]),
        ('half_pixel', [0.0, 0.75, 2.25, 3.0]),
        ('tf1_legacy', [0.0, 1.5, 3.0, 3.0]),
    ],
)
def test_resize_by_hand(sampling: Sampling, expected: list[float]) -> None:
    row = torch.tensor([0.0, 3.0]).reshape(1, 1, 1, 2)
    assert resize_bilinear(row, (1, 4), sampling).flatten().tolist() == pytest.approx(expected)


@torch.no_grad()
@pytest.mark.parametrize('size', [1e-6, 1.0, 1e6])
def test_sigma_stays_between_its_bounds(size: float) -> None:
    torch.manual_seed(0)
    head = SigmaHead(8)
    depth = torch.tensor([0.5, 80.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 6)
    sigma = head(torch.randn(2, 8, 4, 6) * size, depth)
    relative = sigma / depth
    assert (relative > 0.00499).all()
    assert (relative < 2.001).all()


@torch.no_grad()
def test_a_neutral_sigma_head_states_a_fifth_of_the_depth_and_is_always_the_same() -> None:
    head, again = SigmaHead(8).make_neutral(), SigmaHead(8).make_neutral()
    depth = torch.rand(2, 1, 4, 6) + 1.0
    torch.testing.assert_close(head(torch.randn(2, 8, 4, 6), depth), 0.2 * depth)
    for one, other in zip(head.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_neutral_sigma_head_can_be_trained() -> None:
    torch.manual_seed(0)
    head = SigmaHead(8).make_neutral()
    features, depth = torch.randn(2, 8, 4, 6), torch.ones(2, 1, 4, 6)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        head(features, depth).square().sum().backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())


@torch.no_grad()
def test_light_decoder_climbs_to_half_resolution_without_fine_maps() -> None:
    decoder = LightDecoder((6, 7), (8, 8, 6, 4, 4)).eval()
    out, features = decoder([torch.rand(1, 6, 4, 6), torch.rand(1, 7, 2, 3)])
    assert out.shape == (1, 1, 32, 48)
    assert features.shape == (1, 4, 32, 48)
