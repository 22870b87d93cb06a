# SPDX-License-Identifier: Apache-2.0
"""Random weights whose answers can be compared.

Batch norms of fresh networks divide by 1, whatever reaches them: over fifty layers activations
grow or vanish, and every answer is clipped to one end of the range, or float32 and float64 differ
by a quarter. A trained network has activations near 1 everywhere. Here each norm is made to divide
by the size (root mean square) of what reaches it, measured on a few images in float64. It is not
made to subtract their mean: what is left would be the small differences between images, amplified
from layer to layer.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from depth_core.models import DepthModel

ModelT = TypeVar('ModelT', bound=DepthModel)

_IMAGES = 4


@torch.no_grad()
def conditioned(model: ModelT, *, seed: int = 1) -> ModelT:
    """Let the batch norms of `model` bring what reaches them to unit size; in eval mode then.

    Args:
        model: With weights as it was built, which are not changed.
        seed: Of the images.
    """
    model.eval()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return model
    hooks = [norm.register_forward_pre_hook(_take_size) for norm in norms]
    side = 2 * model.spec.divisor
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(_IMAGES, 3, 8, 8, generator=generator, dtype=torch.float64)
    model.double()
    model(nn.functional.interpolate(coarse, (side, side), mode='bilinear'))
    for hook in hooks:
        hook.remove()
    return model.float()


def _take_size(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    """Set the variance of a norm to the mean square of what it is given, before it computes."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var.fill_(given[0].square().mean())
