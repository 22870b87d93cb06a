# SPDX-License-Identifier: Apache-2.0
"""The hierarchical embedding loss: the authors' numbers, holes in the ground truth, Sobel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core.losses import (
    embedding_l1,
    embedding_warm_up,
    hierarchical_embedding,
    l1,
    sobel_l1,
)
from depth_core.losses.embedding import EMBEDDING_MASKS, EmbeddingMask
from depth_core.models.cliffnet.embedding import EmbeddingTrunk, frozen, random_trunk, sobel_trunk
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

TOLERANCE = 1e-5
"""Absolute, on values of about 1: the authors' float32 means of up to 25,000 values; ours are of
float64."""


@pytest.fixture
def arrays(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('cliff_heg_and_loss'))


@pytest.fixture
def trunk(arrays: dict[str, Tensor]) -> EmbeddingTrunk:
    official = {key[3:]: value for key, value in arrays.items() if key.startswith('sd.')}
    network = EmbeddingTrunk().double()
    network.load_state_dict(official)
    return frozen(network)


def _maps(height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    """A prediction that wants a gradient, and ground truth."""
    generator = torch.Generator().manual_seed(0)
    drawn = 1.0 + 8.0 * torch.rand(2, 2, 1, height, width, generator=generator).double()
    return drawn[0].clone().requires_grad_(), drawn[1]


def _gradient(loss: Tensor, prediction: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, prediction)
    return gradient


def test_the_loss_of_the_authors_and_its_gradient(
    arrays: dict[str, Tensor], trunk: EmbeddingTrunk
) -> None:
    prediction = arrays['pred'].clone().requires_grad_()
    target = arrays['gt']
    valid = target >= 0.0
    depth = l1(prediction, target, valid)
    first, second = embedding_l1(trunk, prediction, target, valid, masking='dense')
    assert float(depth.detach()) == pytest.approx(float(arrays['l1_depth']), abs=TOLERANCE)
    assert float(first.detach()) == pytest.approx(float(arrays['l1_embed1']), abs=TOLERANCE)
    assert float(second.detach()) == pytest.approx(float(arrays['l1_embed2']), abs=TOLERANCE)
    embedded = hierarchical_embedding(trunk, prediction, target, valid, masking='dense')
    for step, name in ((25, 'total_step25_warmup'), (100, 'total_full_weight')):
        total = depth + embedding_warm_up(step) * embedded
        # Sums of about 17: the tolerance is relative to them.
        torch.testing.assert_close(total, arrays[name], rtol=TOLERANCE, atol=0.0)
    torch.testing.assert_close(
        _gradient(depth + embedded, prediction), arrays['grad_total_wrt_pred'],
        rtol=0.0, atol=1e-7,  # on values of at most 0.01
    )  # fmt: skip


def test_warm_up_rises_over_its_steps() -> None:
    assert [embedding_warm_up(step) for step in (0, 1, 50, 100, 5000)] == [0, 0.01, 0.5, 1, 1]
    assert embedding_warm_up(1, steps=4) == 0.25
    assert embedding_warm_up(0, steps=0) == 1.0


@pytest.mark.parametrize('masking', EMBEDDING_MASKS)
def test_with_everything_valid_it_is_the_dense_loss(
    trunk: EmbeddingTrunk, masking: EmbeddingMask
) -> None:
    prediction, target = _maps()
    everything = torch.ones_like(target, dtype=torch.bool)
    dense = hierarchical_embedding(trunk, prediction, target)
    masked = hierarchical_embedding(trunk, prediction, target, everything, masking=masking)
    torch.testing.assert_close(masked, dense)
    torch.testing.assert_close(_gradient(masked, prediction), _gradient(dense, prediction))


@pytest.mark.parametrize('masking', ['whole', 'fill'])
@pytest.mark.parametrize('unknown', [0.0, float('nan'), float('inf'), -1e30])
def test_what_is_not_valid_reaches_neither_value_nor_gradient(
    trunk: EmbeddingTrunk, masking: EmbeddingMask, unknown: float
) -> None:
    prediction, target = _maps()
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, 5:9, 10:20] = False
    valid[0, :, 20, 3] = False
    loss = hierarchical_embedding(trunk, prediction, target, valid, masking=masking)
    gradient = _gradient(loss, prediction)
    assert torch.isfinite(gradient).all()
    assert not gradient[~valid].any()
    assert gradient[valid].any()
    hidden = hierarchical_embedding(
        trunk, prediction, torch.where(valid, target, unknown), valid, masking=masking
    )
    assert torch.equal(hidden, loss)
    assert torch.equal(_gradient(hidden, prediction), gradient)


def test_whole_does_not_see_the_prediction_in_a_hole_either(trunk: EmbeddingTrunk) -> None:
    prediction, target = _maps()
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, :, 12:14] = False
    other = torch.where(valid, prediction.detach(), float('nan')).requires_grad_()
    loss = hierarchical_embedding(trunk, prediction, target, valid)
    assert torch.equal(hierarchical_embedding(trunk, other, target, valid), loss)
    broken = hierarchical_embedding(trunk, other, target, valid, masking='fill')
    assert torch.isfinite(broken)
    assert torch.isfinite(_gradient(broken, other)).all()


@pytest.mark.parametrize('masking', ['whole', 'fill'])
def test_no_valid_pixel_is_exactly_nothing(trunk: EmbeddingTrunk, masking: EmbeddingMask) -> None:
    prediction, target = _maps()
    nothing = torch.zeros_like(target, dtype=torch.bool)
    loss = hierarchical_embedding(
        trunk, prediction, target * float('nan'), nothing, masking=masking
    )
    assert float(loss.detach()) == 0.0
    assert not _gradient(loss, prediction).any()


def test_whole_counts_each_pixel_at_its_dense_value(trunk: EmbeddingTrunk) -> None:
    """A hole in a corner takes away the pixels that see it, and changes no other."""
    prediction, target = _maps()
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, :4, :4] = False
    with torch.no_grad():
        for level, (e, e_true) in enumerate(zip(trunk(prediction), trunk(target), strict=True)):
            # Window radii 2 and 5; pixel i of the second is centred on pixel 2 i.
            seen = 4 + 2 if level == 0 else (4 + 5 + 1) // 2
            kept = torch.ones_like(e, dtype=torch.bool)
            kept[..., :seen, :seen] = False
            expected = (e - e_true).abs()[kept].mean()
            found = embedding_l1(trunk, prediction, target, valid)[level]
            torch.testing.assert_close(found, expected)


def test_lidar_leaves_nothing_whole_and_something_to_fill(trunk: EmbeddingTrunk) -> None:
    prediction, target = _maps()
    valid = torch.zeros_like(target, dtype=torch.bool)
    valid[:, :, ::3, ::4] = True
    assert float(hierarchical_embedding(trunk, prediction, target, valid).detach()) == 0.0
    filled = hierarchical_embedding(trunk, prediction, target, valid, masking='fill')
    gradient = _gradient(filled, prediction)
    assert float(filled.detach()) > 0.0
    assert gradient[valid].ne(0.0).float().mean() > 0.9
    assert not gradient[~valid].any()


def test_fill_is_nothing_for_a_prediction_right_where_it_is_known(trunk: EmbeddingTrunk) -> None:
    prediction, target = _maps()
    valid = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    right = torch.where(valid, target, prediction.detach()).requires_grad_()
    loss = hierarchical_embedding(trunk, right, target, valid, masking='fill')
    assert float(loss.detach()) == 0.0
    assert not _gradient(loss, right).any()


def test_fill_of_a_linear_embedding_is_that_of_the_error_map() -> None:
    """By hand: one known pixel, wrong by 2; Sobel answers 1 2 1 around it, twice."""
    prediction = torch.full((1, 1, 7, 7), 5.0)
    valid = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    valid[..., 3, 3] = True
    (distance,) = embedding_l1(
        frozen(sobel_trunk()), prediction, prediction - 2.0, valid, masking='fill'
    )
    # Eight pixels see it, over two gradients: 2 * (2 * (1 + 2 + 1)) * 2 in all.
    assert float(distance) == pytest.approx(2.0 * 16.0 / (8 * 2), abs=TOLERANCE)


def test_a_fill_that_is_not_stopped_would_move_what_is_unknown(trunk: EmbeddingTrunk) -> None:
    """Why the prediction is stopped in the holes: an unknown pixel would hide a known error."""
    prediction, target = _maps()
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, :, 16:] = False
    filled = torch.where(valid, target, prediction.detach())
    loss = hierarchical_embedding(trunk, prediction, filled)
    assert _gradient(loss, prediction)[~valid].any()


def test_only_the_prediction_gets_a_gradient(trunk: EmbeddingTrunk) -> None:
    prediction, target = _maps()
    target = target.requires_grad_()
    hierarchical_embedding(trunk, prediction, target).backward()
    assert prediction.grad is not None
    assert target.grad is None
    assert all(weight.grad is None for weight in trunk.parameters())


def test_autocast_does_not_touch_metres(trunk: EmbeddingTrunk) -> None:
    prediction, target = (values.detach().float() for values in _maps())
    trunk.float()
    expected = hierarchical_embedding(trunk, prediction, target)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = hierarchical_embedding(trunk, prediction, target)
    assert torch.equal(found, expected)


def test_sobel_by_hand() -> None:
    """A step of 1 between two columns: 1 + 2 + 1 on both sides of it, nothing down."""
    prediction = torch.zeros(1, 1, 6, 8)
    prediction[..., 4:] = 1.0
    mask = torch.ones_like(prediction, dtype=torch.bool)
    mask[:, :, (0, -1)] = False
    mask[:, :, :, (0, -1)] = False
    # With a rim that is not valid, rows 2 and 3 of columns 2 to 5 count: 2 * 4 pixels, two
    # gradients; columns 3 and 4 have 4 across.
    found = sobel_l1(prediction, torch.zeros_like(prediction), mask)
    assert float(found) == pytest.approx(2 * 2 * 4.0 / (2 * 4 * 2))


def test_sobel_of_the_authors(arrays: dict[str, Tensor]) -> None:
    target, prediction = arrays['gt'], arrays['pred']
    zero = torch.zeros_like(target)
    expected = arrays['sobel_gt'].abs().mean()
    torch.testing.assert_close(sobel_l1(target, zero), expected, rtol=TOLERANCE, atol=0.0)
    # Theirs leaves out a pixel when its own depth is missing, though no gradient of its own is
    # made of it, and keeps its neighbours: dense, it is the same loss.
    across = target.new_tensor(((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)))
    kernels = torch.stack((across, across.T)).unsqueeze(1)
    gradients = torch.nn.functional.conv2d(prediction, kernels, padding=1)
    difference = (gradients - arrays['sobel_gt']).abs()
    own = (target >= 0.0).expand_as(difference)
    torch.testing.assert_close(
        2.0 * difference[own].mean(), arrays['sobel_loss_x2_unused'], rtol=TOLERANCE, atol=0.0
    )
    torch.testing.assert_close(
        sobel_l1(prediction, target), difference.mean(), rtol=TOLERANCE, atol=0.0
    )


@pytest.mark.parametrize('holes', [False, True])
def test_the_sobel_loss_is_an_embedding_loss(*, holes: bool) -> None:
    """A HEG whose first layer holds Sobel kernels gives the loss of the gradients exactly."""
    prediction, target = _maps()
    valid = None
    if holes:
        valid = torch.ones_like(target, dtype=torch.bool)
        valid[:, :, 8:11, 5:20] = False
        target = torch.where(valid, target, float('nan'))
    loss = hierarchical_embedding(
        frozen(sobel_trunk().double()), prediction, target, valid, weights=(1.0,)
    )
    expected = sobel_l1(prediction, target, valid)
    # The scale of its norm is of float32; the same signs everywhere, or gradients would differ.
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(
        _gradient(loss, prediction), _gradient(expected, prediction), rtol=1e-6, atol=1e-9
    )


def test_any_other_fixed_network_is_not_it() -> None:
    prediction, target = _maps()
    random = hierarchical_embedding(
        frozen(random_trunk().double()), prediction, target, weights=(1.0, 0.0)
    )
    assert not torch.isclose(random, sobel_l1(prediction, target), rtol=0.1)


def test_as_many_weights_as_embeddings(trunk: EmbeddingTrunk) -> None:
    prediction, target = _maps()
    with pytest.raises(ValueError, match='zip'):
        hierarchical_embedding(trunk, prediction, target, weights=(1.0,))
