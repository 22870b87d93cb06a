# SPDX-License-Identifier: Apache-2.0
"""The losses of ZoeDepth and MiDaS: the authors' numbers, hand-worked ones, and what is masked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core import losses
from depth_core.losses.scale_invariant import Alignment
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]
Loss = Callable[..., Tensor]

OF_MAPS: tuple[Loss, ...] = (
    losses.silog_unbiased,
    losses.gradient_l1,
    losses.scale_shift_invariant,
    losses.trimmed_scale_shift_invariant,
    losses.gradient_matching,
)
ALIGNED = OF_MAPS[2:]


@pytest.fixture
def arrays(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('zoe_losses'))


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = 0.5 + torch.rand(2, 2, 9, 12, generator=generator).double()
    return prediction, target


def test_the_authors_numbers(arrays: dict[str, Tensor]) -> None:
    target, mask = arrays['gt'], arrays['mask']
    prediction = F.interpolate(arrays['pred'], size=(24, 32), mode='bilinear', align_corners=True)
    torch.testing.assert_close(
        prediction, arrays['pred_interp_bilinear_alignTrue'], rtol=0.0, atol=1e-5
    )
    torch.testing.assert_close(
        losses.silog_unbiased(prediction, target, mask),
        arrays['silog(beta=.15)'],
        rtol=1e-6,
        atol=0.0,
    )
    torch.testing.assert_close(
        losses.silog_unbiased(1.1 * target + 0.05, target),
        arrays['silog_nomask_sameshape'],
        rtol=1e-5,  # a difference of logarithms of nearly equal numbers
        atol=1e-5,
    )
    torch.testing.assert_close(
        losses.gradient_l1(prediction, target, mask), arrays['grad_l1'], rtol=1e-5, atol=1e-5
    )


def test_the_authors_alignment(arrays: dict[str, Tensor]) -> None:
    prediction, target, mask = (arrays[f'ssi/{name}'] for name in ('pred', 'target', 'mask'))
    scale, shift = losses.scale_and_shift(prediction, target, mask)
    torch.testing.assert_close(scale, arrays['ssi/scale'], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shift, arrays['ssi/shift'], rtol=1e-4, atol=1e-5)
    loss = losses.scale_shift_invariant(prediction, target, mask)
    torch.testing.assert_close(loss, arrays['ssi/loss'], rtol=1e-5, atol=1e-6)


def test_silog_by_hand() -> None:
    # g = ln 2, ln 4: mean 1.5 ln 2, unbiased variance 0.5 ln^2 2.
    prediction, target = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0])
    by_hand = 10.0 * math.log(2.0) * math.sqrt(0.5 + 0.15 * 2.25)
    assert losses.silog_unbiased(prediction, target).item() == pytest.approx(by_hand, rel=1e-5)
    assert losses.silog_unbiased(prediction[:1], target[:1]) == 0.0, 'one pixel has no variance'


def test_silog_is_the_one_of_bts_but_for_one_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (1.0 + torch.rand(2, 200_000, generator=generator).double()).unbind()
    torch.testing.assert_close(
        losses.silog_unbiased(prediction, target),
        losses.silog(prediction, target, variance_focus=0.85),
        rtol=3e-6,  # of 200,000 pixels, one less in a variance
        atol=0.0,
    )


def test_gradient_l1_by_hand() -> None:
    # One pixel has a left and an upper neighbour: prediction dx = 1, dy = 0; target dx = dy = 1.
    prediction = torch.tensor([[5.0, 2.0], [1.0, 2.0]])
    target = torch.tensor([[5.0, 1.0], [1.0, 2.0]])
    by_hand = abs(1.0 - 2.0) + abs(0.0 - math.pi / 4.0)
    assert losses.gradient_l1(prediction, target).item() == pytest.approx(by_hand)


def test_trimming_by_hand() -> None:
    # Median 0 and mean |distance| 1 of the target; the prediction is the target but for 1 pixel.
    target = torch.tensor([[[-2.0, -1.0, 0.0, 0.0, 2.0]]])
    aligned = losses.aligned(target, 3.0 * target + 7.0, None, 'median')
    torch.testing.assert_close(aligned[0], target)
    torch.testing.assert_close(aligned[1], target)
    prediction = torch.tensor([[[-2.0, -1.0, 0.0, 0.0, 7.0]]])  # median 0, distance 2
    residual = torch.tensor([-1.0, -0.5, 0.0, 0.0, 3.5]) - target.flatten()
    by_hand = residual.abs().sort().values[:4].sum() / 10.0
    found = losses.trimmed_scale_shift_invariant(prediction, target)
    torch.testing.assert_close(found, by_hand)
    whole = losses.trimmed_scale_shift_invariant(prediction, target, trim=0.0)
    torch.testing.assert_close(whole, residual.abs().sum() / 10.0)


def test_gradient_matching_by_hand() -> None:
    # Residual of the normalised maps: one step of 1 between columns 2 and 3 of each of 2 rows.
    target = torch.tensor([[[-1.0, -1.0, 1.0, 1.0], [-1.0, -1.0, 1.0, 1.0]]])
    scale, shift = losses.scale_and_shift(target, target)
    assert scale.item() == pytest.approx(1.0)
    assert shift.item() == pytest.approx(0.0)
    flat = torch.zeros_like(target).requires_grad_()
    full = losses.gradient_matching(flat, target, alignment='least_squares', scales=1)
    assert full.item() == pytest.approx(2 * 2.0 / 8.0)  # two steps of 2, eight pixels
    both = losses.gradient_matching(flat, target, alignment='least_squares', scales=2)
    assert both.item() == pytest.approx(0.5 + 2.0 / 2.0)  # columns 0 and 2 of row 0


def test_log_gradient_matching_by_hand() -> None:
    # The logarithmic error is 0 in columns 0 and 1 and ln 2 in columns 2 and 3 of each of 2 rows.
    target = torch.tensor([[[4.0, 4.0, 8.0, 8.0], [4.0, 4.0, 8.0, 8.0]]])
    flat = torch.full_like(target, 4.0)
    full = losses.log_gradient_matching(flat, target, scales=1)
    assert full.item() == pytest.approx(2 * math.log(2.0) / 8.0)  # two steps, eight pixels
    both = losses.log_gradient_matching(flat, target, scales=2)
    assert both.item() == pytest.approx(full.item() + math.log(2.0) / 2.0)  # columns 0, 2 of row 0


def test_log_gradients_ignore_a_common_factor_and_what_is_not_valid() -> None:
    target = 1.0 + torch.arange(32.0).reshape(1, 4, 8)
    assert losses.log_gradient_matching(3.0 * target, target).item() == pytest.approx(0, abs=1e-5)
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, 1, 2:5] = False
    prediction = torch.where(valid, 3.0 * target, 0.0).requires_grad_()
    holes = torch.where(valid, target, float('nan'))
    loss = losses.log_gradient_matching(prediction, holes, valid)
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    (2.0 * loss).backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize('alignment', get_args(Alignment))
@pytest.mark.parametrize('loss', ALIGNED)
def test_scale_and_shift_change_nothing(
    loss: Loss, alignment: Alignment, maps: tuple[Tensor, Tensor]
) -> None:
    prediction, target = maps
    before = loss(prediction, target, alignment=alignment)
    after = loss(5.0 * prediction - 40.0, target, alignment=alignment)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=0.0)
    perfect = loss(0.3 * target + 2.0, target, alignment=alignment)
    assert perfect.item() == pytest.approx(0.0, abs=1e-5)
    assert before > 0.05


@pytest.mark.parametrize('loss', OF_MAPS)
@pytest.mark.parametrize('unknown', [math.nan, math.inf, 0.0])
def test_what_is_not_valid_changes_nothing(
    loss: Loss, unknown: float, maps: tuple[Tensor, Tensor]
) -> None:
    prediction, target = maps
    valid = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    known = loss(prediction, target, valid)
    prediction = torch.where(valid, prediction, unknown).requires_grad_()
    masked = loss(prediction, torch.where(valid, target, unknown), valid)
    torch.testing.assert_close(masked, known)
    masked.backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert not prediction.grad[~valid].any()


@pytest.mark.parametrize('loss', OF_MAPS)
def test_a_full_mask_is_none_and_an_empty_one_is_zero(
    loss: Loss, maps: tuple[Tensor, Tensor]
) -> None:
    prediction, target = maps
    everywhere = torch.ones_like(target, dtype=torch.bool)
    torch.testing.assert_close(loss(prediction, target, everywhere), loss(prediction, target))
    prediction = prediction.clone().requires_grad_()
    nothing = loss(prediction, target, ~everywhere)
    assert nothing == 0.0
    nothing.backward()
    assert prediction.grad is not None
    assert not prediction.grad.any()


@pytest.mark.parametrize('loss', ALIGNED)
def test_a_constant_prediction_has_finite_gradients(
    loss: Loss, maps: tuple[Tensor, Tensor]
) -> None:
    for alignment in get_args(Alignment):
        prediction = torch.ones(2, 9, 12, dtype=torch.float64, requires_grad=True)
        loss(prediction, maps[1], alignment=alignment).backward()
        assert prediction.grad is not None
        assert torch.isfinite(prediction.grad).all()


def test_an_image_without_truth_does_not_count(maps: tuple[Tensor, Tensor]) -> None:
    prediction, target = maps
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[1] = False
    both = losses.trimmed_scale_shift_invariant(prediction, target, valid)
    alone = losses.trimmed_scale_shift_invariant(prediction[:1], target[:1])
    torch.testing.assert_close(both, alone)
