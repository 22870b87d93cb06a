# SPDX-License-Identifier: Apache-2.0
"""Losses that do not look at the scale, or at scale and shift: those of ZoeDepth and MiDaS.

Papers: R. Ranftl et al., Towards Robust Monocular Depth Estimation, arXiv 1907.01341 (alignment,
trimmed error, gradient matching); S. F. Bhat et al., ZoeDepth, arXiv 2302.12288 and its code
(SILog with an unbiased variance, gradient L1).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from depth_core.losses.masking import cleaned, masked_mean

Alignment: TypeAlias = Literal['median', 'least_squares']
"""median: both maps lose their median (of two middle values the lower, as torch has it) and their
mean absolute deviation from it; least_squares: the prediction is fitted to the target by a scale
and a shift."""
ALIGNMENTS: Final[tuple[Alignment, ...]] = get_args(Alignment)

_LOG_FLOOR: Final = 1e-7
_ANGLE_FLOOR: Final = 1e-10
_MIN_DEVIATION: Final = 1e-6
_PIXELS_FOR_A_VARIANCE: Final = 2


def silog_unbiased(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    beta: float = 0.15,
    scale: float = 10.0,
) -> Tensor:
    """Scale-invariant logarithmic error as ZoeDepth's code has it.

    scale * sqrt(var(g) + beta * mean(g)^2) with g = ln(prediction + 1e-7) - ln(target + 1e-7) over
    the valid pixels of the whole batch; the variance divides by n - 1. With n for n - 1 this is
    `silog` of variance_focus = 1 - beta.

    Args:
        prediction: Depth that is not negative, any shape.
        target: Positive depth where valid.
        valid: See the package.
        beta: Weight of the common factor; 0 ignores it.
        scale: Factor on the result.

    Returns:
        A scalar; 0 with zero gradients where the prediction is perfect or fewer than two pixels
        are valid.
    """
    prediction, target, mask = cleaned(prediction, target, valid, fill=1.0)
    difference = (prediction + _LOG_FLOOR).log() - (target + _LOG_FLOOR).log()
    count = difference.new_full((), difference.numel()) if mask is None else mask.sum()
    mean = masked_mean(difference, mask)
    deviation = (difference - mean).square()
    total = deviation.sum() if mask is None else torch.where(mask, deviation, 0.0).sum()
    spread = total / (count - 1).clamp(min=1) + beta * mean.square()
    nothing = (spread <= torch.finfo(spread.dtype).tiny) | (count < _PIXELS_FOR_A_VARIANCE)
    root = torch.where(nothing, 1.0, spread).sqrt()  # the slope of sqrt at 0 is infinite
    return scale * torch.where(nothing, 0.0, root)


def gradient_l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """L1 of squared length and of angle of the image gradient, as in ZoeDepth's code.

    The gradient of a pixel is its difference to the left and to the upper neighbour; its angle is
    atan(dy / (dx + 1e-10)). All three pixels must be valid. No released recipe uses it.

    Args:
        prediction: [..., H, W].
        target: The same shape.
        valid: See the package.
    """
    prediction, target, mask = cleaned(prediction, target, valid)
    counted = None
    if mask is not None:
        counted = mask[..., 1:, 1:] & mask[..., 1:, :-1] & mask[..., :-1, 1:]
    pairs = zip(_gradient(prediction), _gradient(target), strict=True)
    return torch.stack([masked_mean((p - t).abs(), counted) for p, t in pairs]).sum()


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    right = x[..., 1:, 1:] - x[..., 1:, :-1]
    down = x[..., 1:, 1:] - x[..., :-1, 1:]
    return right.square() + down.square(), torch.atan(down / (right + _ANGLE_FLOOR))


def scale_and_shift(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Fit scale * prediction + shift to the target of each image by least squares.

    Args:
        prediction: [B, H, W].
        target: The same shape.
        valid: See the package.

    Returns:
        Scale and shift, [B] each; both 0 where the prediction is constant or nothing is valid.
    """
    prediction, target, mask = cleaned(prediction, target, valid)
    weight = torch.ones_like(prediction) if mask is None else mask.to(prediction.dtype)
    # Around the mean the determinant is a variance, which does not cancel as the moments would.
    count = weight.sum(dim=(1, 2)).clamp(min=1.0)
    mean_p = (weight * prediction).sum(dim=(1, 2)) / count
    mean_t = (weight * target).sum(dim=(1, 2)) / count
    around_p = weight * (prediction - mean_p[:, None, None])
    variance = around_p.square().sum(dim=(1, 2)) / count
    covariance = (around_p * (target - mean_t[:, None, None])).sum(dim=(1, 2)) / count
    flat = variance <= torch.finfo(variance.dtype).tiny
    scale = torch.where(flat, 0.0, covariance / torch.where(flat, 1.0, variance))
    return scale, torch.where(flat, 0.0, mean_t - scale * mean_p)


def aligned(
    prediction: Tensor, target: Tensor, valid: Tensor | None, alignment: Alignment
) -> tuple[Tensor, Tensor]:
    """Bring both maps to a scale and shift they share.

    Args:
        prediction: [B, H, W].
        target: The same shape.
        valid: See the package.
        alignment: How; see `Alignment`.

    Returns:
        Prediction and target, [B, H, W], 0 where not valid.
    """
    prediction, target, mask = cleaned(prediction, target, valid)
    if alignment == 'least_squares':
        scale, shift = scale_and_shift(prediction, target, mask)
        prediction = scale[:, None, None] * prediction + shift[:, None, None]
    else:
        prediction, target = _normalised(prediction, mask), _normalised(target, mask)
    return cleaned(prediction, target, mask)[:2]


def _normalised(x: Tensor, mask: Tensor | None) -> Tensor:
    """Subtract the median of the valid pixels, divide by their mean distance to it."""
    seen = x if mask is None else torch.where(mask, x, torch.nan)
    median = seen.flatten(1).nanmedian(dim=1).values.nan_to_num(0.0)[:, None, None]
    distance = (x - median).abs()
    weight = torch.ones_like(x) if mask is None else mask.to(x.dtype)
    deviation = (weight * distance).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1.0)
    return (x - median) / deviation.clamp(min=_MIN_DEVIATION)[:, None, None]


def scale_shift_invariant(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    alignment: Alignment = 'least_squares',
) -> Tensor:
    """Mean |prediction - target| over the valid pixels of the batch, after alignment.

    With least squares this is the loss in ZoeDepth's file.

    Args:
        prediction: [B, H, W], any scale and shift.
        target: The same shape.
        valid: See the package.
        alignment: How the maps are brought together.
    """
    prediction, target = aligned(prediction, target, valid, alignment)
    return masked_mean((prediction - target).abs(), valid)


def trimmed_scale_shift_invariant(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    alignment: Alignment = 'median',
    trim: float = 0.2,
) -> Tensor:
    """The robust loss of MiDaS: the largest residuals of each image are left out.

    Of an image with M valid pixels, half the sum of the (1 - trim) M smallest |residual|, divided
    by M; the mean over the images that have a valid pixel.

    Args:
        prediction: [B, H, W], any scale and shift.
        target: The same shape.
        valid: See the package.
        alignment: How the maps are brought together.
        trim: Share of the pixels that is left out, 0.2 in the paper.
    """
    prediction, target = aligned(prediction, target, valid, alignment)
    residual = (prediction - target).abs().flatten(1)
    count = residual.new_full((len(residual), 1), residual.shape[1])
    if valid is not None:
        mask = valid.flatten(1)
        residual = torch.where(mask, residual, torch.inf)
        count = mask.sum(dim=1, keepdim=True).to(residual.dtype)
    ordered = residual.sort(dim=1).values
    rank = torch.arange(residual.shape[1], device=residual.device)
    kept = torch.where(rank < ((1.0 - trim) * count).ceil(), ordered, 0.0)
    of_each = kept.sum(dim=1) / (2.0 * count.squeeze(1).clamp(min=1.0))
    return masked_mean(of_each, count.squeeze(1) > 0.0)


def gradient_matching(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    alignment: Alignment = 'median',
    scales: int = 4,
) -> Tensor:
    """The edge term of MiDaS: gradients of the residual at several resolutions.

    The residual of the aligned maps is thinned to every 1st, 2nd, 4th, ... pixel; at each
    resolution its forward differences, counted where both pixels are valid, are divided by the
    number of valid pixels there, and the resolutions are summed.

    Args:
        prediction: [B, H, W], any scale and shift.
        target: The same shape.
        valid: See the package.
        alignment: How the maps are brought together.
        scales: Resolutions.
    """
    prediction, target = aligned(prediction, target, valid, alignment)
    return _gradients_of(prediction - target, valid, scales=scales)


def log_gradient_matching(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, scales: int = 4
) -> Tensor:
    """The edge term of MiDaS on the logarithm of metric depth, which needs no alignment.

    Gradients of ln prediction - ln target at several resolutions, counted as in
    `gradient_matching`. A common factor, and any error that changes slowly, costs little; an edge
    that is blurred or missing costs its whole height at each resolution.

    Args:
        prediction: [B, H, W] positive depth.
        target: The same shape, positive where valid.
        valid: See the package.
        scales: Resolutions.
    """
    prediction, target, mask = cleaned(prediction, target, valid, fill=1.0)
    return _gradients_of(prediction.log() - target.log(), mask, scales=scales)


def _gradients_of(residual: Tensor, valid: Tensor | None, *, scales: int) -> Tensor:
    mask = torch.ones_like(residual, dtype=torch.bool) if valid is None else valid
    total = residual.new_zeros(())
    for scale in range(scales):
        thin, seen = (x[:, :: 2**scale, :: 2**scale] for x in (residual, mask))
        count = seen.sum().clamp(min=1)
        for axis in (-2, -1):
            length = thin.shape[axis]
            if length == 1:
                continue
            both = seen.narrow(axis, 0, length - 1) & seen.narrow(axis, 1, length - 1)
            total = total + torch.where(both, thin.diff(dim=axis).abs(), 0.0).sum() / count
    return total
