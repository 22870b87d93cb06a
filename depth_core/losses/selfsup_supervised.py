# SPDX-License-Identifier: Apache-2.0
"""Sparse depth beside the photometric loss: the semi-supervised variants of packnet-sfm.

All work on inverse depth, at every scale of the network, with the ground truth resized to each
scale by taking the nearest pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.losses.masking import cleaned, masked_mean
from depth_core.losses.pointwise import l1, silog
from depth_core.precision import at_least_float32

InverseDepthLoss: TypeAlias = Literal['l1', 'mse', 'berhu', 'silog', 'abs_rel']

_BERHU_SHARE: Final = 0.2


def mse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared difference over the valid pixels; any shape."""
    prediction, target, valid = cleaned(prediction, target, valid)
    return masked_mean((prediction - target).square(), valid)


def berhu(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """The reverse Huber loss as packnet-sfm has it, which is not the usual formula.

    c = 0.2 max(prediction - target), signed; the mean is taken over |e| of all pixels together
    with e^2 of those where |e| > c: large errors count twice.
    """
    prediction, target, valid = cleaned(prediction, target, valid)
    counted = torch.ones_like(prediction, dtype=torch.bool) if valid is None else valid
    signed = prediction - target
    error = signed.abs()
    limit = _BERHU_SHARE * torch.where(counted, signed.detach(), -torch.inf).max()
    large = counted & (error.detach() > limit)
    total = error.sum() + torch.where(large, error.square(), 0.0).sum()
    return total / (counted.sum() + large.sum()).clamp(min=1)


def abs_rel_of_prediction(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Mean |prediction - target| / prediction: packnet-sfm hands the two over in that order.

    The slope also passes through the divisor, as there.
    """
    prediction, target, valid = cleaned(prediction, target, valid, fill=1.0)
    return masked_mean((prediction - target).abs() / prediction, valid)


INVERSE_DEPTH_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]]] = {
    'l1': l1,
    'mse': mse,
    'berhu': berhu,
    'silog': silog,
    'abs_rel': abs_rel_of_prediction,
}
"""Every choice by its name."""


def inverse_depth_loss(
    inverse_depths: Sequence[Tensor],
    depth_m: Tensor,
    valid: Tensor | None = None,
    *,
    method: InverseDepthLoss = 'l1',
) -> Tensor:
    """Mean over scales of a loss between inverse depths.

    Args:
        inverse_depths: [B, 1, H_i, W_i], 1 / metres.
        depth_m: [B, 1, H, W] true depth, metres.
        valid: [B, 1, H, W] where it is known. None compares all pixels (the authors' dense
            variants), with inverse depth 0 where the depth is not positive, or not finite.
        method: l1 (the default there, 'sparse-l1'), mse, berhu, silog or abs_rel.
    """
    depth_m = at_least_float32(depth_m)
    positive = torch.isfinite(depth_m) & (depth_m > 0.0)
    if valid is not None:
        positive = positive & valid
    inverse = torch.where(positive, 1.0 / torch.where(positive, depth_m, 1.0), 0.0)
    loss = INVERSE_DEPTH_LOSSES[method]
    terms = []
    for prediction in inverse_depths:
        size = prediction.shape[-2:]
        target = F.interpolate(inverse, size=size, mode='nearest')
        known = F.interpolate(positive.float(), size=size, mode='nearest') > 0.0
        terms.append(loss(prediction, target, None if valid is None else known))
    return torch.stack(terms).mean()
