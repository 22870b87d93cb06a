# SPDX-License-Identifier: Apache-2.0
"""The losses of DenseDepth: SSIM, edges and L1 on reciprocal depth."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.losses.masking import cleaned, masked_mean
from depth_core.losses.pointwise import l1

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
    prediction, target, mask = cleaned(prediction, target, valid)
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
        total = total + masked_mean(pairs, both) * ((length - 1) / length)
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
    prediction, target, mask = cleaned(prediction, target, valid)
    size = min(window, prediction.shape[-2], prediction.shape[-1])
    weights = gaussian_window(size).to(prediction)

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
    structure = (0.5 * masked_mean(1.0 - similarity, usable)).clamp(0.0, 1.0)
    return structure + _L1_WEIGHT * l1(prediction, target, valid)
