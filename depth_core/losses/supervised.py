# SPDX-License-Identifier: Apache-2.0
"""Textbook losses of supervised depth: berHu, gradients, surface normals, centres of bins.

Papers: I. Laina et al., arXiv 1606.00373 (berHu); J. Hu et al., arXiv 1803.08673 (gradients and
normals, here without the logarithm of each difference, and normals in space, not of the picture);
S. F. Bhat et al., AdaBins, arXiv 2011.14141 (Chamfer distance of bins).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from depth_core.losses.masking import cleaned, masked_mean
from depth_core.precision import at_least_float32

_FLAT: Final = 1e-12


def berhu(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, share: float = 0.2
) -> Tensor:
    """Reverse Huber loss: |d| up to c, (d^2 + c^2) / (2 c) beyond it.

    c is `share` of the largest |d| among the valid pixels of the batch, without a gradient.

    Args:
        prediction: Any shape.
        target: The same shape and unit.
        valid: See the package.
        share: 0.2 in the paper; 1 is plain L1.

    Returns:
        The mean over the valid pixels.
    """
    prediction, target, valid = cleaned(prediction, target, valid)
    distance = (prediction - target).abs()
    c = share * distance.detach().max()
    divisor = torch.where(c > 0.0, 2.0 * c, 1.0)
    return masked_mean(torch.where(distance <= c, distance, (distance**2 + c**2) / divisor), valid)


def gradient_difference(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean |d/dx of the error| + mean |d/dy of the error|, forward differences of one pixel.

    Args:
        prediction: [B, H, W] metres.
        target: The same shape.
        valid: See the package; both pixels of a difference have to be valid.
    """
    prediction, target, valid = cleaned(prediction, target, valid)
    error = prediction - target
    total = error.new_zeros(())
    for axis in (-2, -1):
        both = None
        if valid is not None:
            length = valid.shape[axis]
            both = valid.narrow(axis, 1, length - 1) & valid.narrow(axis, 0, length - 1)
        total = total + masked_mean(error.diff(dim=axis).abs(), both)
    return total


def surface_normal(
    prediction: Tensor, target: Tensor, intrinsics: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Mean 1 - cos of the angle between the normals of predicted and true surface.

    A normal is the cross product of the steps to the right and to the lower neighbour in space;
    all three pixels have to be valid. Images whose camera is not known count nothing.

    Args:
        prediction: [B, H, W] z-depth, metres.
        target: The same shape.
        intrinsics: [B, 3, 3] cameras, pixels.
        valid: See the package.
    """
    known = torch.isfinite(intrinsics).all(dim=(1, 2)) & (intrinsics[:, 0, 0] > 0.0)
    mask = known[:, None, None].expand_as(target)
    if valid is not None:
        mask = mask & valid
    prediction, target, _ = cleaned(prediction, target, mask, fill=1.0)
    camera = torch.where(
        known[:, None, None], at_least_float32(intrinsics), torch.eye(3, device=target.device)
    )
    ours, theirs = _normals(prediction, camera), _normals(target, camera)
    cosine = (ours * theirs).sum(dim=-1)
    three = mask[:, :-1, :-1] & mask[:, :-1, 1:] & mask[:, 1:, :-1]
    return masked_mean(1.0 - cosine, three)


def _normals(depth: Tensor, camera: Tensor) -> Tensor:
    """[B, H - 1, W - 1, 3] unit normals of [B, H, W] depth."""
    rows = torch.arange(depth.shape[1], device=depth.device, dtype=depth.dtype)
    columns = torch.arange(depth.shape[2], device=depth.device, dtype=depth.dtype)
    fx, fy, cx, cy = (
        camera[:, row, column, None, None] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    x = (columns - cx) / fx * depth
    y = (rows[:, None] - cy) / fy * depth
    points = torch.stack((x, y, depth), dim=-1)  # [B, H, W, 3]
    right = points[:, :-1, 1:] - points[:, :-1, :-1]
    down = points[:, 1:, :-1] - points[:, :-1, :-1]
    normal: Tensor = torch.linalg.cross(down, right)
    return normal / (normal.square().sum(dim=-1, keepdim=True) + _FLAT).sqrt()


def bins_chamfer(centres: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Chamfer distance between the centres of the bins of an image and its true depths.

    The mean over the centres of the squared distance to the nearest true depth, plus the mean over
    the valid pixels of that to the nearest centre; the mean over the images that have a valid
    pixel.

    Args:
        centres: [B, K] metres, in any order.
        target: [B, H, W] metres.
        valid: See the package.
    """
    centres = at_least_float32(centres)
    found = []
    for own, depth_m, mask in zip(
        centres, target, [None] * len(target) if valid is None else valid, strict=True
    ):
        truth = (depth_m.flatten() if mask is None else depth_m[mask]).to(own.dtype)
        if truth.numel():
            found.append(_nearest(own, truth).mean() + _nearest(truth, own).mean())
    return torch.stack(found).mean() if found else 0.0 * centres.sum()


def _nearest(values: Tensor, others: Tensor) -> Tensor:
    """Squared distance of each of [N] to the nearest of [M]."""
    ordered = others.sort().values
    above = torch.searchsorted(ordered.detach(), values.detach().contiguous())
    above = above.clamp(max=len(ordered) - 1)
    below = (above - 1).clamp(min=0)
    return torch.minimum((values - ordered[above]).square(), (values - ordered[below]).square())
