# SPDX-License-Identifier: Apache-2.0
"""Losses: hand-worked numbers, the authors' numbers, what must not change them, empty, NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

from depth_core import losses
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference: TypeAlias = Callable[[str], dict[str, Tensor]]
Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]

DATA_RANGE = 100.0
ROUNDING = 3e-6
"""Relative: a few float32 roundings of the authors', the window applied by rows then columns."""
EXACT = 1e-9
"""Relative, of two computations of ours in float64."""


def _similarity(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    similarity, usable = losses.ssim(prediction, target, valid, data_range=DATA_RANGE)
    return (1.0 - similarity)[usable].sum()


def _keras(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    return losses.densedepth_loss_keras(prediction, target, valid, data_range=DATA_RANGE).mean()


def _pytorch(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    return losses.densedepth_loss_pytorch(prediction, target, valid, data_range=DATA_RANGE)


def _sigma(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    return losses.laplace_nll(torch.full_like(target, 2.0), prediction, target, valid)


LOSSES: dict[str, Loss] = {
    'l1': losses.l1,
    'log_l1': losses.log_l1,
    'silog': losses.silog,
    'edge': losses.edge,
    'ssim': _similarity,
    'keras': _keras,
    'pytorch': _pytorch,
    'laplace_nll': _sigma,
}
DENSE = [name for name in LOSSES if name != 'laplace_nll']
"""Losses that are zero for a perfect prediction."""


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> Loss:
    return LOSSES[request.param]


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(2, 2, 1, 24, 32, generator=generator).double()
    target = 1.0 + 50.0 * drawn[0]
    prediction = target * (0.5 + drawn[1])
    return prediction, target


def _gradient(loss: Tensor, prediction: Tensor) -> Tensor:
    gradient: Tensor = torch.autograd.grad(loss, prediction)[0]
    return gradient


# The authors' numbers


@pytest.mark.parametrize('masked', [False, True])
def test_keras_loss_of_the_authors(reference: Reference, *, masked: bool) -> None:
    arrays = in_float64(reference('dd_losses'))
    pred, gt = arrays['pred'], arrays['gt']
    valid = torch.ones_like(gt, dtype=torch.bool) if masked else None
    total = losses.densedepth_loss_keras(pred, gt, valid)
    torch.testing.assert_close(total, arrays['keras_total_per_image'], rtol=ROUNDING, atol=0.0)
    edges = losses.edge(pred, gt, valid)
    torch.testing.assert_close(edges, arrays['edges'], rtol=ROUNDING, atol=0.0)
    torch.testing.assert_close(losses.l1(pred, gt, valid), arrays['l1'], rtol=ROUNDING, atol=0.0)


@pytest.mark.parametrize('masked', [False, True])
def test_pytorch_loss_of_the_authors_and_its_gradient(
    reference: Reference, *, masked: bool
) -> None:
    arrays = in_float64(reference('dd_losses'))
    pred, gt = arrays['pred'].requires_grad_(), arrays['gt']
    valid = torch.ones_like(gt, dtype=torch.bool) if masked else None
    total = losses.densedepth_loss_pytorch(pred, gt, valid)
    torch.testing.assert_close(total, arrays['torch_total'], rtol=ROUNDING, atol=0.0)
    # Gradients are about 1e-4; the variances in them cancel squares of up to 1e4.
    gradient = _gradient(total, pred)
    torch.testing.assert_close(gradient, arrays['torch_total_grad'], rtol=0.0, atol=1e-8)


def test_similarity_of_the_authors(reference: Reference) -> None:
    arrays = in_float64(reference('dd_losses'))
    pred, gt = arrays['pred'], arrays['gt']
    similarity, usable = losses.ssim(pred, gt, data_range=DATA_RANGE)
    assert similarity.shape == (2, 1, 14, 22)
    assert usable.all()
    per_image = similarity.mean(dim=(1, 2, 3))
    torch.testing.assert_close(per_image, arrays['ssim_per_image'], rtol=ROUNDING, atol=0.0)
    mean = similarity.mean()
    torch.testing.assert_close(mean, arrays['ssim_mean'], rtol=ROUNDING, atol=0.0)


def test_similarity_of_a_patch_smaller_than_the_window(reference: Reference) -> None:
    arrays = in_float64(reference('dd_losses'))
    patch = (slice(None), slice(None), slice(8), slice(9))
    similarity, _ = losses.ssim(arrays['pred'][patch], arrays['gt'][patch], data_range=DATA_RANGE)
    assert similarity.shape == (2, 1, 1, 2)
    expected = arrays['ssim_small_8x9']
    torch.testing.assert_close(similarity.mean(), expected, rtol=ROUNDING, atol=0.0)


@pytest.mark.parametrize('size', [8, 11])
def test_windows_of_the_authors(reference: Reference, size: int) -> None:
    weights = losses.gaussian_window(size)
    expected = in_float64(reference('dd_losses'))[f'gauss{size}']
    torch.testing.assert_close(
        torch.outer(weights, weights).double(), expected, rtol=0.0, atol=1e-8
    )


def test_differences_of_the_authors(reference: Reference) -> None:
    arrays = in_float64(reference('dd_losses'))
    gt, flat = arrays['gt'], torch.zeros_like(arrays['gt'])
    expected = arrays['gt_dy'].abs().mean() + arrays['gt_dx'].abs().mean()
    torch.testing.assert_close(losses.edge(flat, gt), expected, rtol=ROUNDING, atol=0.0)


def test_training_targets_of_the_authors(reference: Reference) -> None:
    arrays = reference('dd_depth_conventions')
    depth_m = (arrays['u8'].double() * (10.0 / 255.0)).reshape(1, 1, -1)
    everywhere = torch.ones_like(depth_m, dtype=torch.bool)
    keras, _ = losses.reciprocal_target(depth_m, everywhere, max_depth=10.0, factor=1)
    torch.testing.assert_close(keras.flatten(), arrays['keras_train_target'])
    pytorch, _ = losses.reciprocal_target(
        depth_m, everywhere, max_depth=10.0, min_depth=0.1, factor=1
    )
    torch.testing.assert_close(pytorch.flatten().float(), arrays['torch_train_target'])
    # Code 0 is a hole in the ground truth; the authors' own target is infinite there.
    holes, valid = losses.reciprocal_target(depth_m, depth_m > 0.0, max_depth=10.0, factor=1)
    assert torch.isfinite(holes).all()
    assert not valid.flatten()[0]


# By hand


def test_target_at_half_resolution_by_hand() -> None:
    depth_m = torch.tensor([[[2.0, 4.0, 0.0, math.nan], [math.nan, 8.0, math.inf, 0.0]]])
    valid = torch.isfinite(depth_m) & (depth_m > 0.0)
    y, y_valid = losses.reciprocal_target(depth_m, valid, max_depth=8.0)
    assert y.flatten().tolist() == pytest.approx([(4.0 + 2.0 + 1.0) / 3.0, 0.0])
    assert y_valid.flatten().tolist() == [True, False]


def test_pointwise_losses_by_hand() -> None:
    prediction = torch.tensor([1.0, 2.0, 4.0, 9.0])
    target = torch.tensor([2.0, 2.0, 1.0, 9.0])
    valid = torch.tensor([True, True, True, False])
    assert losses.l1(prediction, target, valid).item() == pytest.approx(4.0 / 3.0)
    ln2 = math.log(2.0)
    assert losses.log_l1(prediction, target, valid).item() == pytest.approx(ln2)
    # d = -ln 2, 0, 2 ln 2: mean of squares 5/3, square of the mean 1/9, in units of ln^2 2.
    expected = 10.0 * ln2 * math.sqrt(5.0 / 3.0 - 0.85 / 9.0)
    assert losses.silog(prediction, target, valid).item() == pytest.approx(expected)


def test_laplace_likelihood_by_hand() -> None:
    sigma = torch.tensor([math.sqrt(2.0)])  # b = 1
    value = losses.laplace_nll(torch.tensor([3.0]), sigma, torch.tensor([5.0]))
    assert value.item() == pytest.approx(2.0 + math.log(2.0))


def test_laplace_likelihood_is_least_at_the_true_spread_and_leaves_depth_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(20000, generator=generator) - 0.5
    error = -0.5 * uniform.sign() * (1.0 - 1.998 * uniform.abs()).log()
    depth = torch.full_like(error, 4.0, requires_grad=True)
    sigma = (torch.ones(()) * 1.0).requires_grad_()
    optimizer = torch.optim.Adam([sigma], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        value = losses.laplace_nll(depth, sigma.expand_as(error), 4.0 + error)
        value.backward()
        optimizer.step()
    assert depth.grad is None
    assert sigma.item() == pytest.approx(math.sqrt(2.0) * error.abs().mean().item(), rel=0.01)


def test_edge_by_hand() -> None:
    target = torch.zeros(1, 1, 2, 2)
    prediction = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).reshape(1, 1, 2, 2)
    # |dy| = 3, 6, 0, 0 and |dx| = 1, 0, 4, 0: (9 + 5) / 4.
    assert losses.edge(prediction, target).item() == pytest.approx(3.5)
    valid = torch.tensor([[True, True], [True, False]]).reshape(1, 1, 2, 2)
    # One vertical pair of 3 and one horizontal of 1, each times (2 - 1) / 2.
    assert losses.edge(prediction, target, valid).item() == pytest.approx(2.0)
    assert losses.edge(prediction[..., :1], target[..., :1]).item() == pytest.approx(1.5)


def test_similarity_of_flat_maps_by_hand() -> None:
    prediction, target = torch.full((1, 1, 11, 11), 30.0), torch.full((1, 1, 11, 11), 10.0)
    similarity, _ = losses.ssim(prediction, target, data_range=DATA_RANGE)
    # No structure on either side: (2 * 30 * 10 + C1) / (30^2 + 10^2 + C1) with C1 = 1.
    assert similarity.item() == pytest.approx(601.0 / 1001.0, rel=1e-4)


def test_a_window_with_one_invalid_pixel_does_not_count() -> None:
    maps = torch.rand(1, 1, 12, 23)
    valid = torch.ones_like(maps, dtype=torch.bool)
    valid[0, 0, 0, 11] = False
    _, usable = losses.ssim(maps, maps, valid, data_range=1.0)
    assert usable.shape == (1, 1, 2, 13)
    # The windows of the first row that begin at columns 1 to 11 hold the pixel.
    assert usable[0, 0, 0].tolist() == [True] + [False] * 11 + [True]
    assert usable[0, 0, 1].all()


# What must not change them


@pytest.mark.parametrize('name', DENSE)
def test_a_perfect_prediction_costs_nothing(name: str, maps: tuple[Tensor, Tensor]) -> None:
    _, target = maps
    prediction = target.clone().requires_grad_()
    value = LOSSES[name](prediction, target, None)
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(_gradient(value, prediction)).all()


def test_an_all_true_mask_is_the_dense_loss(loss: Loss, maps: tuple[Tensor, Tensor]) -> None:
    prediction, target = maps
    everywhere = torch.ones_like(target, dtype=torch.bool)
    dense, masked = loss(prediction, target, None), loss(prediction, target, everywhere)
    torch.testing.assert_close(masked, dense, rtol=EXACT, atol=0.0)


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('junk', [0.0, -7.0, math.nan, math.inf, -math.inf])
def test_what_is_not_valid_reaches_neither_value_nor_gradient(
    name: str, maps: tuple[Tensor, Tensor], junk: float
) -> None:
    prediction, target = maps
    # A block of holes and single ones, and most windows left whole.
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, :4, :5] = False
    valid[0, 0, 20, 30] = False
    clean = prediction.clone().requires_grad_()
    expected = LOSSES[name](clean, target, valid)
    dirty = torch.where(valid, prediction, junk).requires_grad_()
    found = LOSSES[name](dirty, torch.where(valid, target, junk), valid)
    assert torch.equal(found, expected)
    gradient = _gradient(found, dirty)
    torch.testing.assert_close(gradient, _gradient(expected, clean), rtol=0.0, atol=0.0)
    assert not gradient[~valid].any()
    assert gradient[valid].any()


def test_an_empty_mask_costs_exactly_nothing(loss: Loss, maps: tuple[Tensor, Tensor]) -> None:
    prediction = maps[0].requires_grad_()
    nowhere = torch.zeros_like(maps[1], dtype=torch.bool)
    value = loss(prediction, torch.full_like(maps[1], math.nan), nowhere)
    assert value.item() == 0.0
    assert torch.equal(_gradient(value, prediction), torch.zeros_like(prediction))


def test_an_image_without_ground_truth_does_not_change_that_of_the_others(
    maps: tuple[Tensor, Tensor],
) -> None:
    prediction, target = maps
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[1] = False
    both = losses.densedepth_loss_keras(prediction, target, valid)
    alone = losses.densedepth_loss_keras(prediction[:1], target[:1])
    torch.testing.assert_close(both[:1], alone, rtol=EXACT, atol=0.0)


def test_sparse_points_without_neighbours_leave_only_l1(maps: tuple[Tensor, Tensor]) -> None:
    prediction, target = maps
    valid = torch.zeros_like(target, dtype=torch.bool)
    valid[:, :, ::3, ::3] = True
    value = losses.densedepth_loss_keras(prediction, target, valid)
    expected = 0.1 * (prediction - target)[valid].abs().mean()
    torch.testing.assert_close(value, expected.expand(2), rtol=EXACT, atol=0.0)


def test_silog_with_full_focus_ignores_a_common_factor(maps: tuple[Tensor, Tensor]) -> None:
    prediction, target = maps
    value = losses.silog(prediction, target, variance_focus=1.0)
    scaled = losses.silog(3.0 * prediction, target, variance_focus=1.0)
    torch.testing.assert_close(scaled, value, rtol=EXACT, atol=0.0)
    assert losses.silog(3.0 * prediction, target) > losses.silog(prediction, target)


def test_edge_ignores_an_offset(maps: tuple[Tensor, Tensor]) -> None:
    prediction, target = maps
    shifted, value = losses.edge(prediction + 4.0, target), losses.edge(prediction, target)
    torch.testing.assert_close(shifted, value, rtol=EXACT, atol=0.0)


def test_mirroring_both_changes_no_loss(loss: Loss, maps: tuple[Tensor, Tensor]) -> None:
    prediction, target = maps
    mirrored = loss(prediction.flip(-1), target.flip(-1), None)
    torch.testing.assert_close(mirrored, loss(prediction, target, None), rtol=EXACT, atol=0.0)


def test_half_precision_under_autocast_is_computed_in_float32(
    maps: tuple[Tensor, Tensor],
) -> None:
    prediction, target = (tensor.bfloat16() for tensor in maps)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = _keras(prediction, target, None)
    expected = _keras(prediction.float(), target.float(), None)
    torch.testing.assert_close(value, expected, rtol=ROUNDING, atol=0.0)
