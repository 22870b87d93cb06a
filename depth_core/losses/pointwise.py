# SPDX-License-Identifier: Apache-2.0
"""Losses of each pixel by itself: L1, log L1, SILog, Laplace likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from depth_core.losses.masking import cleaned, masked_mean
from depth_core.precision import at_least_float32


def l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute difference over the valid pixels; any shape, in the unit of the target."""
    prediction, target, valid = cleaned(prediction, target, valid)
    return masked_mean((prediction - target).abs(), valid)


def log_l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean |ln prediction - ln target| over the valid pixels; both positive there, any shape."""
    prediction, target, valid = cleaned(prediction, target, valid, fill=1.0)
    return masked_mean((prediction.log() - target.log()).abs(), valid)


def silog(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    variance_focus: float = 0.85,
    scale: float = 10.0,
) -> Tensor:
    """Scale-invariant logarithmic error of Eigen et al. 2014, in the square-root form of BTS.

    scale * sqrt(mean(d^2) - variance_focus * mean(d)^2) with d = ln prediction - ln target, over
    the valid pixels of the whole batch.

    Args:
        prediction: Positive depth, any shape.
        target: Positive depth where valid.
        valid: See the module.
        variance_focus: 1 ignores a common factor of the prediction, 0 is the plain log RMSE.
        scale: Factor on the result.

    Returns:
        A scalar; its gradient is zero where the prediction is perfect.
    """
    prediction, target, valid = cleaned(prediction, target, valid, fill=1.0)
    difference = prediction.log() - target.log()
    spread = masked_mean(difference.square(), valid)
    spread = spread - variance_focus * masked_mean(difference, valid).square()
    perfect = spread <= torch.finfo(spread.dtype).tiny
    root = torch.where(perfect, 1.0, spread).sqrt()  # the slope of sqrt at 0 is infinite
    return scale * torch.where(perfect, 0.0, root)


def laplace_nll(
    depth: Tensor, sigma: Tensor, target: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of the target under Laplace(depth, b = sigma / sqrt(2)).

    mean(|target - depth| / b + ln(2 b)) over the valid pixels. The depth is detached: this loss
    trains the sigma of a network and cannot move its depth.

    Args:
        depth: Predicted depth, any shape.
        sigma: Predicted standard deviation, positive, same unit.
        target: True depth where valid.
        valid: See the module.
    """
    depth, target, mask = cleaned(depth.detach(), target, valid)
    sigma = at_least_float32(sigma)
    spread = sigma if mask is None else torch.where(mask, sigma, 1.0)
    b = spread / math.sqrt(2.0)
    return masked_mean((target - depth).abs() / b + (2.0 * b).log(), mask)
