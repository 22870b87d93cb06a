# SPDX-License-Identifier: Apache-2.0
"""Sigma in metres says what the predicted confidence means."""

from __future__ import annotations

import math

import pytest
import torch

from depth_core.losses import depth_confidence
from depth_core.models.urcdc.confidence import sigma_from_confidence

pytestmark = pytest.mark.numeric

SIGMA_OF_MEDIAN = math.sqrt(2.0) / math.log(2.0)
"""Standard deviation of a Laplace law as a multiple of its median absolute error."""


def test_by_hand() -> None:
    # With r = 0.1 at 9 m the truth is 9 * 1.1 / 0.9 = 11 m, 2 m off, or 9 * 0.9 / 1.1 = 7.36364 m,
    # 1.63636 m off: 1.81818 m on average.
    sigma = sigma_from_confidence(torch.tensor([math.exp(-0.5)]), torch.tensor([9.0]))
    assert sigma.item() == pytest.approx(1.8181818 * 1.4142136 / 0.6931472, rel=1e-5)


def test_both_truths_it_allows_have_the_confidence_that_was_inverted() -> None:
    depth = torch.tensor([0.5, 4.0, 60.0])
    ratio = torch.tensor([0.02, 0.1, 0.3])
    expected = torch.exp(-5.0 * ratio)
    for truth in (depth * (1 + ratio) / (1 - ratio), depth * (1 - ratio) / (1 + ratio)):
        torch.testing.assert_close(depth_confidence(depth, truth), expected)


@pytest.mark.parametrize(
    ('relative', 'tolerance'),
    # The mean of the two errors stands for their median, which it is for small errors only, and
    # the truth cannot be negative; a million draws are good to 0.2 %.
    [(0.01, 0.005), (0.05, 0.005), (0.1, 0.01), (0.2, 0.02), (0.3, 0.04)],
)
def test_of_laplace_errors_it_is_their_standard_deviation(
    relative: float, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(3)
    depth = torch.full((1_000_000,), 7.0)
    scale = 7.0 * relative / math.sqrt(2.0)
    uniform = torch.rand(depth.shape, generator=generator, dtype=torch.float64) - 0.5
    truth = depth - scale * uniform.sign() * torch.log1p(-2.0 * uniform.abs())
    truth = truth.clamp(min=0.0).float()
    # Mean |c - u| is least where u is the median of c.
    confidence = depth_confidence(depth, truth).median()
    sigma = sigma_from_confidence(confidence, torch.tensor(7.0)).item()
    assert sigma == pytest.approx(7.0 * relative, rel=tolerance)


@pytest.mark.parametrize('confidence', [0.0, 1.0, 1e-30, 1.0 - 1e-7, -0.5, 1.5])
def test_the_ends_give_a_bounded_sigma_and_a_finite_gradient(confidence: float) -> None:
    u = torch.tensor([confidence], requires_grad=True)
    sigma = sigma_from_confidence(u, torch.tensor([10.0]))
    expected = 0.02 if confidence > 0.5 else 10.0 * 2.0 * 0.5 / 0.75
    assert sigma.item() == pytest.approx(expected * SIGMA_OF_MEDIAN, rel=1e-3)
    sigma.sum().backward()
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()


def test_less_confidence_is_more_sigma_and_sigma_grows_with_depth() -> None:
    confidence = torch.linspace(0.09, 0.99, 50)
    sigma = sigma_from_confidence(confidence, torch.full((50,), 5.0))
    assert (sigma.diff() < 0.0).all()
    twice = sigma_from_confidence(confidence, torch.full((50,), 10.0))
    torch.testing.assert_close(twice, 2.0 * sigma)


def test_it_cannot_move_the_depth() -> None:
    depth = torch.tensor([3.0], requires_grad=True)
    confidence = torch.tensor([0.5], requires_grad=True)
    sigma_from_confidence(confidence, depth).sum().backward()
    assert depth.grad is None
    assert confidence.grad is not None
    assert confidence.grad.item() < 0.0


def test_half_precision_is_computed_in_float32() -> None:
    sigma = sigma_from_confidence(torch.tensor([0.5]).bfloat16(), torch.tensor([70.0]).bfloat16())
    assert sigma.dtype == torch.float32
