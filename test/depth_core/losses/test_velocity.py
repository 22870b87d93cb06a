# SPDX-License-Identifier: Apache-2.0
"""Velocity supervision: how far the camera went, not which way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core.losses import velocity_loss
from test.rounding import in_float64

pytestmark = pytest.mark.numeric


def test_the_number_of_packnet_sfm(reference: Callable[[str], dict[str, Tensor]]) -> None:
    packnet = in_float64(reference('packnet_losses'))
    distances = [packnet[f'gt_pose_mat{index}'][:, :3, 3].norm(dim=-1) for index in (0, 1)]
    found = velocity_loss(packnet['pose_vec'][..., :3], torch.stack(distances, dim=1))
    torch.testing.assert_close(found.view(1), packnet['velocity_loss'], rtol=1e-6, atol=0.0)


def test_only_the_length_counts() -> None:
    translation = torch.tensor([[[3.0, 0.0, -4.0], [0.0, 1.0, 0.0]]])
    distance_m = torch.tensor([[4.0, 1.5]])
    assert velocity_loss(translation, distance_m).item() == pytest.approx((1.0 + 0.5) / 2)
    assert velocity_loss(-translation, distance_m).item() == pytest.approx((1.0 + 0.5) / 2)


def test_an_unknown_speed_takes_no_part() -> None:
    translation = torch.tensor([[[3.0, 0.0, -4.0], [0.0, 1.0, 0.0]]], requires_grad=True)
    distance_m = torch.tensor([[torch.nan, 1.5]])
    loss = velocity_loss(translation, distance_m, torch.tensor([[False, True]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert translation.grad is not None
    assert translation.grad[0, 0].tolist() == [0.0, 0.0, 0.0]
    nothing = velocity_loss(translation, distance_m, torch.tensor([[False, False]]))
    assert nothing.item() == 0.0


def test_standing_still_has_a_finite_slope() -> None:
    translation = torch.zeros(1, 1, 3, requires_grad=True)
    velocity_loss(translation, torch.ones(1, 1)).backward()
    assert translation.grad is not None
    assert torch.isfinite(translation.grad).all()
