# SPDX-License-Identifier: Apache-2.0
"""Edge-aware smoothness, velocity and sparse depth: the authors' numbers and hand-worked ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core.losses import smoothness
from depth_core.losses.photometric import shrunk
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]


def test_the_terms_of_packnet_sfm_at_each_scale(reference: Reference) -> None:
    packnet = in_float64(reference('packnet_losses'))
    for scale in range(4):
        inverse = packnet[f'inv_depth_native{scale}']
        image = shrunk(packnet['image'], (inverse.shape[-2], inverse.shape[-1]))
        normalised = smoothness.mean_normalised(inverse)
        along_x, along_y = smoothness.edge_aware_differences(normalised, image)
        torch.testing.assert_close(along_x, packnet[f'smooth_x{scale}'], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(along_y, packnet[f'smooth_y{scale}'], rtol=1e-5, atol=1e-5)
    normalised = smoothness.mean_normalised(packnet['inv_depth_native0'])
    torch.testing.assert_close(normalised, packnet['inv_norm0'], rtol=1e-5, atol=1e-5)


def test_the_numbers_of_monodepth2(reference: Reference) -> None:
    monodepth2 = in_float64(reference('monodepth2_layers'))
    raw = smoothness.smoothness(monodepth2['disp'], monodepth2['image'])
    torch.testing.assert_close(raw, monodepth2['smooth_raw'], rtol=1e-5, atol=0.0)
    normalised = smoothness.mean_normalised(monodepth2['disp'], 'added')
    found = smoothness.smoothness(normalised, monodepth2['image'])
    torch.testing.assert_close(found, monodepth2['smooth_meannorm'], rtol=1e-5, atol=0.0)


def test_an_edge_in_the_image_allows_an_edge_in_depth() -> None:
    inverse = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]])
    flat, edge = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    edge[..., 1] = 1.0
    assert smoothness.smoothness(inverse, flat).item() == pytest.approx(2.0)
    assert smoothness.smoothness(inverse, edge).item() == pytest.approx(2.0 * math.exp(-1.0))


def test_coarser_scales_count_half_and_depth_has_no_scale() -> None:
    inverse = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]])  # mean 2: a difference of 1
    flat = torch.zeros(1, 3, 2, 2)
    both = smoothness.multi_scale_smoothness([inverse, inverse], [flat, flat])
    assert both.item() == pytest.approx((1.0 + 0.5) / 2)
    scaled = smoothness.multi_scale_smoothness([7.0 * inverse], [flat])
    assert scaled.item() == pytest.approx(1.0)


@pytest.mark.parametrize('guard', ['floor', 'added'])
def test_a_map_of_zeros_is_finite(guard: smoothness.MeanGuard) -> None:
    inverse = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = smoothness.multi_scale_smoothness([inverse], [torch.zeros(1, 3, 2, 2)], guard=guard)
    loss.backward()
    assert loss.item() == 0.0
    assert inverse.grad is not None
    assert torch.isfinite(inverse.grad).all()
