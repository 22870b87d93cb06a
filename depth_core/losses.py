# SPDX-License-Identifier: Apache-2.0
"""Losses: pure functions of (prediction, target, valid).

`valid` is a bool map of the target's shape, True where the target may be trained on, or None where
all of it may. A masked loss counts only what lies wholly on valid pixels: a difference needs both
of its pixels, an SSIM window all of its pixels. What the target or the prediction holds elsewhere
(0, NaN, infinity) reaches neither the value nor a gradient. With an all-True mask a loss equals
its dense form, and with an empty one it is exactly 0 with zero gradients.

Maps are [B, 1, H, W] unless said otherwise; the losses without neighbours take any shape.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

_SSIM_WINDOW: Final = 11
_SSIM_SIGMA: Final = 1.5
_SSIM_K1: Final = 0.01
_SSIM_K2: Final = 0.03
_L1_WEIGHT: Final = 0.1


def reciprocal_target(
    depth_m: Tensor,
    valid: Tensor,
    *,
    max_depth: float,
    min_depth: float | None = None,
    factor: int = 2,
) -> tuple[Tensor, Tensor]:
    """Make the target y* = max_depth / depth at the resolution a network answers in.

    Each block of `factor` x `factor` pixels becomes the mean of its valid reciprocals, so that
    neither a hole nor the size of the block biases it.

    Args:
        depth_m: [B, H, W] metres, H and W multiples of `factor`.
        valid: [B, H, W] bool.
        max_depth: Metres.
        min_depth: Clip the depth to [min_depth, max_depth] first, as the original's PyTorch port
            does; None leaves it as it is, as the original itself does.
        factor: Pixels of the ground truth per pixel of the output, along each side.

    Returns:
        y* and its validity (True where the block has a valid pixel), [B, 1, H/factor, W/factor].
        y* is 0 where not valid.
    """
    usable = valid.unsqueeze(1)
    if min_depth is not None:
        depth_m = depth_m.clamp(min_depth, max_depth)
    reciprocal = torch.where(usable, max_depth / depth_m.unsqueeze(1), 0.0)
    share = F.avg_pool2d(usable.to(reciprocal.dtype), factor)
    mean = F.avg_pool2d(reciprocal, factor) / share.clamp(min=0.5 / factor**2)
    return mean, share > 0.0


def l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute difference over the valid pixels; any shape, in the unit of the target."""
    prediction, target, valid = _cleaned(prediction, target, valid)
    return _masked_mean((prediction - target).abs(), valid)


def log_l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean |ln prediction - ln target| over the valid pixels; both positive there, any shape."""
    prediction, target, valid = _cleaned(prediction, target, valid, fill=1.0)
    return _masked_mean((prediction.log() - target.log()).abs(), valid)


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
    prediction, target, valid = _cleaned(prediction, target, valid, fill=1.0)
    difference = prediction.log() - target.log()
    spread = _masked_mean(difference.square(), valid)
    spread = spread - variance_focus * _masked_mean(difference, valid).square()
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
    depth, target, mask = _cleaned(depth.detach(), target, valid)
    spread = sigma.float() if mask is None else torch.where(mask, sigma.float(), 1.0)
    b = spread / math.sqrt(2.0)
    return _masked_mean((target - depth).abs() / b + (2.0 * b).log(), mask)


def edge(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean difference of the image gradients: forward differences, |dy - dy*| + |dx - dx*|.

    The convention of tf.image.image_gradients, which DenseDepth was trained with: the last row
    has dy = 0, the last column dx = 0, and the mean runs over all pixels, those zeros included.
    Masked, the mean over the valid pairs takes the same factors (H - 1) / H and (W - 1) / W.

    Args:
        prediction: [B, C, H, W].
        target: The same shape.
        valid: See the module.
    """
    prediction, target, mask = _cleaned(prediction, target, valid)
    difference = prediction - target
    total = difference.new_zeros(())
    for axis in (-2, -1):
        length = difference.shape[axis]
        if length == 1:
            continue
        pairs = difference.diff(dim=axis).abs()
        both = None
        if mask is not None:
            both = mask.narrow(axis, 0, length - 1) & mask.narrow(axis, 1, length - 1)
        total = total + _masked_mean(pairs, both) * ((length - 1) / length)
    return total


def gaussian_window(size: int, sigma: float = _SSIM_SIGMA) -> Tensor:
    """Weights of one axis of the SSIM window, [size], sum 1; the peak is at index size // 2."""
    offset = torch.arange(size, dtype=torch.float32) - size // 2
    weights = torch.exp(-offset.square() / (2.0 * sigma**2))
    return weights / weights.sum()


def ssim(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    data_range: float,
    window: int = _SSIM_WINDOW,
) -> tuple[Tensor, Tensor]:
    """Structural similarity of each window that fits in the map and holds valid pixels only.

    Gaussian window of standard deviation 1.5 without padding, K1 = 0.01, K2 = 0.03, as
    tf.image.ssim. On a map smaller than the window, the window shrinks to the shorter side.
    Computed in float32 also under autocast: the variances are small differences of squares.

    Args:
        prediction: [B, 1, H, W].
        target: The same shape.
        valid: See the module.
        data_range: Largest minus smallest value the maps can take.
        window: Side of the window, pixels.

    Returns:
        The similarity of each window, [B, 1, H', W'], 1 where it may not be counted, and
        whether it may.
    """
    prediction, target, mask = _cleaned(prediction, target, valid)
    size = min(window, prediction.shape[-2], prediction.shape[-1])
    weights = gaussian_window(size).to(prediction.device)

    def local_mean(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))

    with torch.autocast(prediction.device.type, enabled=False):
        mean_p, mean_t = local_mean(prediction), local_mean(target)
        variance_p = local_mean(prediction.square()) - mean_p.square()
        variance_t = local_mean(target.square()) - mean_t.square()
        covariance = local_mean(prediction * target) - mean_p * mean_t
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    luminance = (2.0 * mean_p * mean_t + c1) / (mean_p.square() + mean_t.square() + c1)
    structure = (2.0 * covariance + c2) / (variance_p + variance_t + c2)
    similarity = luminance * structure
    if mask is None:
        return similarity, torch.ones_like(similarity, dtype=torch.bool)
    usable = F.max_pool2d((~mask).float(), size, stride=1) == 0.0
    return torch.where(usable, similarity, 1.0), usable


def densedepth_loss_keras(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, data_range: float = 100.0
) -> Tensor:
    """The loss the published DenseDepth was trained with: SSIM_i + edges + 0.1 L1.

    The SSIM term clip((1 - SSIM) / 2, 0, 1) is one of each image, the two others are means over
    the batch; Keras averages the vector. An image without a single valid window adds no SSIM term.

    Args:
        prediction: [B, 1, H, W] y = max_depth / depth.
        target: The same shape.
        valid: See the module.
        data_range: Range of y, max_depth / min_depth: 100 for NYU.

    Returns:
        [B] the loss of each image.
    """
    similarity, usable = ssim(prediction, target, valid, data_range=data_range)
    share = usable.to(similarity.dtype).mean(dim=(1, 2, 3)).clamp(min=1.0 / usable[0].numel())
    dissimilarity = torch.where(usable, 1.0 - similarity, 0.0).mean(dim=(1, 2, 3)) / share
    structure = (0.5 * dissimilarity).clamp(0.0, 1.0)
    return structure + edge(prediction, target, valid) + _L1_WEIGHT * l1(prediction, target, valid)


def densedepth_loss_pytorch(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, data_range: float = 100.0
) -> Tensor:
    """The loss of the original's PyTorch port: SSIM of the batch + 0.1 L1, no edge term.

    Here for comparison; the authors say that their port does not reach the published results.

    Args:
        prediction: [B, 1, H, W] y = max_depth / depth.
        target: The same shape.
        valid: See the module.
        data_range: Range of y, max_depth / min_depth: 100 for NYU.

    Returns:
        A scalar.
    """
    similarity, usable = ssim(prediction, target, valid, data_range=data_range)
    structure = (0.5 * _masked_mean(1.0 - similarity, usable)).clamp(0.0, 1.0)
    return structure + _L1_WEIGHT * l1(prediction, target, valid)


def _cleaned(
    prediction: Tensor, target: Tensor, valid: Tensor | None, *, fill: float = 0.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return both in float32, with `fill` for whatever is not valid.

    `torch.where` stops gradients as well as values: 0 * NaN would not.
    """
    prediction, target = prediction.float(), target.float()
    if valid is None:
        return prediction, target, None
    return torch.where(valid, prediction, fill), torch.where(valid, target, fill), valid


def _masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return values.mean()
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)
