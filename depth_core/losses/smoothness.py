# SPDX-License-Identifier: Apache-2.0
"""Edge-aware smoothness of inverse depth (Godard et al., monodepth2; packnet-sfm alike)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from depth_core.precision import at_least_float32

MeanGuard: TypeAlias = Literal['floor', 'added']
"""What keeps a mean of zero from being divided by: floor = at least 1e-6 (packnet-sfm);
added = 1e-7 more (monodepth2)."""


def mean_normalised(inverse_depth: Tensor, guard: MeanGuard = 'floor') -> Tensor:
    """Divide each map [B, 1, H, W] by its mean, so that shrinking the scene gains nothing."""
    inverse_depth = at_least_float32(inverse_depth)
    mean = inverse_depth.mean(dim=(2, 3), keepdim=True)
    return inverse_depth / (mean.clamp(min=1e-6) if guard == 'floor' else mean + 1e-7)


def edge_aware_differences(values: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours, damped where the image changes.

    d(x) - d(x + 1) times exp(-mean_c |I(x) - I(x + 1)|), and the same along y.

    Args:
        values: [B, 1, H, W].
        image: [B, 3, H, W] of the same size, in [0, 1].

    Returns:
        Along x [B, 1, H, W - 1] and along y [B, 1, H - 1, W], signed.
    """
    found = []
    for axis in (-1, -2):
        weight = torch.exp(-at_least_float32(image).diff(dim=axis).abs().mean(dim=1, keepdim=True))
        found.append(-values.diff(dim=axis) * weight)
    return found[0], found[1]


def smoothness(inverse_depth: Tensor, image: Tensor) -> Tensor:
    """Mean |damped difference| along x plus that along y, of one map as it is; a scalar."""
    along_x, along_y = edge_aware_differences(at_least_float32(inverse_depth), image)
    return along_x.abs().mean() + along_y.abs().mean()


def multi_scale_smoothness(
    inverse_depths: Sequence[Tensor], images: Sequence[Tensor], *, guard: MeanGuard = 'floor'
) -> Tensor:
    """Mean over scales of the smoothness of mean-normalised maps, halved at each coarser one.

    Args:
        inverse_depths: [B, 1, H_i, W_i], finest first; of full size when they were upsampled.
        images: For each the image of the same size, not blurred beyond its resizing.
        guard: See `MeanGuard`.

    Returns:
        A scalar, not yet multiplied by the weight of the term (1e-3 in both recipes).
    """
    terms = [
        smoothness(mean_normalised(inverse_depth, guard), image) / 2.0**scale
        for scale, (inverse_depth, image) in enumerate(zip(inverse_depths, images, strict=True))
    ]
    return torch.stack(terms).mean()
