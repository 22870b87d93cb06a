# SPDX-License-Identifier: Apache-2.0
"""Photometric error between an image and its views from elsewhere (monodepth2, packnet-sfm)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.losses.masking import masked_mean
from depth_core.losses.view_synthesis import (
    Padding,
    inverse_to_depth,
    scale_camera,
    synthesised,
)
from depth_core.precision import at_least_float32

Reduction: TypeAlias = Literal['min', 'mean']
"""How the errors against several references become one: the smallest, or all alike."""

Upsampling: TypeAlias = Literal['none', 'nearest', 'bilinear']
"""How coarse inverse depths come to full size; none compares each scale at its own size."""

_C1: Final = 0.01**2
_C2: Final = 0.03**2


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity in plain 3x3 windows, borders reflected.

    Not the Gaussian one of `ssim`. In float32 also under autocast: the variances are small
    differences of squares.

    Args:
        first: [B, C, H, W] in [0, 1].
        second: The same shape.

    Returns:
        [B, C, H, W] in [-1, 1].
    """
    with torch.autocast(first.device.type, enabled=False):
        x = F.pad(at_least_float32(first), (1, 1, 1, 1), mode='reflect')
        y = F.pad(at_least_float32(second), (1, 1, 1, 1), mode='reflect')
        mean_x, mean_y = F.avg_pool2d(x, 3, 1), F.avg_pool2d(y, 3, 1)
        variance_x = F.avg_pool2d(x * x, 3, 1) - mean_x * mean_x
        variance_y = F.avg_pool2d(y * y, 3, 1) - mean_y * mean_y
        covariance = F.avg_pool2d(x * y, 3, 1) - mean_x * mean_y
        above = (2.0 * mean_x * mean_y + _C1) * (2.0 * covariance + _C2)
        below = (mean_x * mean_x + mean_y * mean_y + _C1) * (variance_x + variance_y + _C2)
        return above / below


def photometric_map(
    estimate: Tensor, image: Tensor, *, ssim_weight: float = 0.85, clip: float = 0.0
) -> Tensor:
    """Error of each pixel: a mixture of SSIM and L1, mean over the colours.

    w clip((1 - SSIM) / 2, 0, 1) + (1 - w) |difference|.

    Args:
        estimate: [B, 3, H, W] in [0, 1].
        image: The same shape.
        ssim_weight: w; 0 is L1 alone.
        clip: Errors above mean + clip * deviation of the whole map are cut there; 0 cuts none.

    Returns:
        [B, 1, H, W].
    """
    error = (at_least_float32(estimate) - at_least_float32(image)).abs().mean(dim=1, keepdim=True)
    if ssim_weight > 0.0:
        unlike = (0.5 - 0.5 * ssim_map(estimate, image)).clamp(0.0, 1.0)
        error = ssim_weight * unlike.mean(dim=1, keepdim=True) + (1.0 - ssim_weight) * error
    if clip > 0.0:
        limit = error.detach().mean() + clip * error.detach().std()
        error = torch.minimum(error, limit)
    return error


def least_error(
    maps: Sequence[Tensor],
    *,
    seen: Sequence[Tensor] | None = None,
    still: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """The smallest of the errors against several references, for each pixel.

    Args:
        maps: [B, 1, H, W] error of the view from each reference.
        seen: Where each view lies in its image: other pixels of it take no part. None lets them,
            as both original codes do.
        still: The automask: errors against the references as they are, without a warp. A pixel
            that none of the views explains better than these teaches nothing about depth. They
            enter the minimum, and so count in the mean, as in both codes.

    Returns:
        The error and whether any of the maps takes part, [B, 1, H, W] both; 0 where none does.
    """
    stacked = torch.cat([*maps, *still], dim=1)
    if seen is None:
        smallest = stacked.amin(dim=1, keepdim=True)
        return smallest, torch.ones_like(smallest, dtype=torch.bool)
    always = [torch.ones_like(item, dtype=torch.bool) for item in still]
    taking_part = torch.cat([*seen, *always], dim=1)
    usable = taking_part.any(dim=1, keepdim=True)
    smallest = torch.where(taking_part, stacked, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(usable, smallest, 0.0), usable


def reduced(
    maps: Sequence[Tensor],
    how: Reduction = 'min',
    *,
    seen: Sequence[Tensor] | None = None,
    still: Sequence[Tensor] = (),
) -> Tensor:
    """One number of the errors against several references at one scale.

    Args:
        maps: See `least_error`, as `seen` and `still`.
        how: The smallest error of each pixel, or the mean of all.
        seen: See there.
        still: See there.

    Returns:
        The mean over the pixels that take part, a scalar; 0 when none does.
    """
    if how == 'min':
        return masked_mean(*least_error(maps, seen=seen, still=still))
    mask = None if seen is None else torch.cat([*seen, *(item >= 0.0 for item in still)], dim=1)
    return masked_mean(torch.cat([*maps, *still], dim=1), mask)


def at_size(maps: Tensor, size: tuple[int, int], mode: Upsampling) -> Tensor:
    """Resize [B, C, H, W]; `none` leaves it as it is."""
    if mode == 'none' or maps.shape[-2:] == size:
        return maps
    if mode == 'nearest':
        return F.interpolate(maps, size=size, mode='nearest')
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


def shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image at the size of a coarser map: bilinear with aligned corners, as packnet-sfm."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size=size, mode='bilinear', align_corners=True)


def view_errors(
    image: Tensor,
    references: Tensor,
    inverse_depth: Tensor,
    camera: Tensor,
    poses: Tensor,
    *,
    padding: Padding = 'zeros',
    align_corners: bool = True,
    ssim_weight: float = 0.85,
    clip: float = 0.0,
) -> tuple[list[Tensor], list[Tensor]]:
    """Photometric error of the view from each reference, at the size of one inverse depth.

    Args:
        image: [B, 3, H, W] the target image at full size.
        references: [B, N, 3, H, W] the others.
        inverse_depth: [B, 1, h, w]; where it is smaller, images and cameras are scaled to it.
        camera: [B, 3, 3] matrix of all of them, in pixels of full size.
        poses: [B, N, 4, 4] target to reference camera.
        padding: See `depth_core.losses.view_synthesis`, as `align_corners`.
        align_corners: See there.
        ssim_weight: See `photometric_map`, as `clip`.
        clip: See there.

    Returns:
        For each reference the error and where the view lies in the reference, [B, 1, h, w].
    """
    height, width = image.shape[-2:]
    size = (inverse_depth.shape[-2], inverse_depth.shape[-1])
    # One factor for both axes, from the width, as packnet-sfm; sizes are multiples of 32 anyway.
    scaled = camera if size == (height, width) else scale_camera(camera, size[1] / width)
    depth = inverse_to_depth(inverse_depth)
    target = shrunk(image, size)
    maps, seen = [], []
    for index in range(references.shape[1]):
        view, inside = synthesised(
            shrunk(references[:, index], size),
            depth,
            scaled,
            poses[:, index],
            padding=padding,
            align_corners=align_corners,
        )
        maps.append(photometric_map(view, target, ssim_weight=ssim_weight, clip=clip))
        seen.append(inside)
    return maps, seen


def still_errors(
    image: Tensor,
    references: Tensor,
    size: tuple[int, int],
    *,
    ssim_weight: float = 0.85,
    clip: float = 0.0,
    tie_break: float = 0.0,
) -> list[Tensor]:
    """Photometric error against each reference as it is: what the automask compares with.

    Args:
        image: [B, 3, H, W].
        references: [B, N, 3, H, W].
        size: (height, width) to compare at.
        ssim_weight: See `photometric_map`, as `clip`.
        clip: See there.
        tie_break: Deviation of the noise added, so that where nothing moves neither always wins:
            1e-5 in monodepth2, none in packnet-sfm. Drawn from torch's own generator.
    """
    target = shrunk(image, size)
    maps = [
        photometric_map(shrunk(reference, size), target, ssim_weight=ssim_weight, clip=clip)
        for reference in references.unbind(1)
    ]
    return [item + tie_break * torch.randn_like(item) for item in maps] if tie_break else maps
