# SPDX-License-Identifier: Apache-2.0
"""Sparse depth beside the photometric loss: the authors' numbers and their oddities."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core.losses import inverse_depth_loss, silog
from depth_core.losses.selfsup_supervised import (
    INVERSE_DEPTH_LOSSES,
    InverseDepthLoss,
    abs_rel_of_prediction,
    berhu,
    mse,
)
from test.rounding import in_float64

pytestmark = pytest.mark.numeric


@pytest.fixture(scope='module')
def packnet(reference: Callable[[str], dict[str, Tensor]]) -> dict[str, Tensor]:
    return in_float64(reference('packnet_losses'))


@pytest.mark.parametrize('method', sorted(INVERSE_DEPTH_LOSSES))
def test_each_sparse_variant(packnet: dict[str, Tensor], method: InverseDepthLoss) -> None:
    inverse_depths = [packnet[f'inv_depth_native{scale}'] for scale in range(4)]
    depth_m = packnet['sup_gt_depth_sparse']
    found = inverse_depth_loss(inverse_depths, depth_m, depth_m > 0.0, method=method)
    torch.testing.assert_close(found.view(1), packnet[f'sup/sparse-{method}'], rtol=1e-6, atol=0.0)


def test_the_dense_variant(packnet: dict[str, Tensor]) -> None:
    inverse_depths = [packnet[f'inv_depth_native{scale}'] for scale in range(4)]
    found = inverse_depth_loss(inverse_depths, packnet['sup_gt_depth_sparse'])
    torch.testing.assert_close(found.view(1), packnet['sup/l1'], rtol=1e-6, atol=0.0)


def test_single_losses(packnet: dict[str, Tensor]) -> None:
    prediction, target = packnet['sup_pred'], packnet['sup_gt']
    for loss, name in ((berhu, 'berhu_packnet'), (silog, 'silog_packnet')):
        torch.testing.assert_close(loss(prediction, target), packnet[name], rtol=1e-6, atol=0.0)


def test_berhu_by_hand_and_masked() -> None:
    prediction, target = torch.tensor([1.0, 2.1, 0.0]), torch.tensor([0.0, 2.0, 2.0])
    # c = 0.2 * 1; |e| = 1, 0.1, 2; squares of 1 and 2 join: (3.1 + 1 + 4) / 5.
    assert berhu(prediction, target).item() == pytest.approx(8.1 / 5)
    valid = torch.tensor([False, True, True])  # c = 0.2 * 0.1: both errors are large
    found = berhu(torch.tensor([torch.nan, 2.1, 0.0]), target, valid)
    assert found.item() == pytest.approx((2.1 + 0.01 + 4.0) / 4, rel=1e-5)
    # All predictions too small: c is negative, as in the original, and all errors are large.
    small = torch.tensor([False, False, True])
    assert berhu(prediction, target, small).item() == pytest.approx((2.0 + 4.0) / 2)


def test_the_relative_error_divides_by_the_prediction() -> None:
    prediction, target = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 4.0])
    assert abs_rel_of_prediction(prediction, target).item() == pytest.approx((0.5 + 3.0) / 2)
    assert mse(prediction, target).item() == pytest.approx((1.0 + 9.0) / 2)


@pytest.mark.parametrize('method', sorted(INVERSE_DEPTH_LOSSES))
def test_no_depth_costs_nothing(method: InverseDepthLoss) -> None:
    inverse = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    depth_m = torch.full((1, 1, 4, 4), torch.nan)
    loss = inverse_depth_loss([inverse], depth_m, torch.isfinite(depth_m), method=method)
    loss.backward()
    assert loss.item() == 0.0
    assert inverse.grad is not None
    assert not inverse.grad.any()


@pytest.mark.parametrize('method', sorted(INVERSE_DEPTH_LOSSES))
def test_depth_that_is_not_finite_is_not_known_whatever_the_mask_says(
    method: InverseDepthLoss,
) -> None:
    inverse = torch.tensor([[[[0.5, 0.4, 0.3, 0.2]]]], requires_grad=True)
    depth_m = torch.tensor([[[[4.0, torch.inf, torch.nan, -torch.inf]]]])
    loss = inverse_depth_loss([inverse], depth_m, torch.ones_like(depth_m) > 0.0, method=method)
    alone = inverse_depth_loss([inverse[..., :1]], depth_m[..., :1], torch.ones(1, 1, 1, 1) > 0.0,
                               method=method)  # fmt: skip
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert inverse.grad is not None
    assert not inverse.grad[..., 1:].any()
