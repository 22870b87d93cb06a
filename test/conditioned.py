# SPDX-License-Identifier: Apache-2.0
"""Random weights whose answers can be compared.

Fresh networks multiply: over fifty layers activations grow or vanish, every answer is clipped to
one end of the range or jumps from one end to the other between two pixels, and float32 differs
from float64 by a quarter. A trained network has activations near 1 everywhere. Here each batch
norm is made to divide by the size (root mean square) of what reaches it, and each convolution and
linear layer is scaled so that its answers have a size between 0.3 and 1, measured layer after
layer on a few images in float64. The mean is not subtracted: what is left would be the small
differences between images, amplified from layer to layer.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from depth_core.models import DepthModel
from depth_core.models.cliffnet.network import CliffNet
from depth_core.models.densedepth import DenseDepth

ModelT = TypeVar('ModelT', bound=DepthModel)

_SMALLEST = 0.3
"""Layers of transformers start so small that whatever the image is, the answer is the same."""

_SIDE = 128
"""Of the images, pixels: at a few pixels a side, convolutions see the border alone."""

_CENTRE = 4.0
"""Added to the last layer of networks that answer numbers as they are, most of them out of range
otherwise."""

_CELLS = (4, 16, 64)
"""Images of this many cells a side, from a gradient to noise: a layer that answers edges would be
scaled up without end by images that have none."""


@torch.no_grad()
def conditioned(model: ModelT, *, seed: int = 1) -> ModelT:
    """Bring the activations of `model` to unit size, in place; in eval mode then.

    Args:
        model: With weights as it was built.
        seed: Of the images.
    """
    model.eval()
    side = model.spec.divisor * math.ceil(_SIDE / model.spec.divisor)
    generator = torch.Generator().manual_seed(seed)
    hooks = [hook for layer in model.modules() if (hook := _hook(layer)) is not None]
    model.double()
    model(_images(side, generator))
    for hook in hooks:
        hook.remove()
    if isinstance(model, CliffNet):  # answers metres
        model.decoder.score.get_parameter('3.bias').fill_(_CENTRE)
    if isinstance(model, DenseDepth):  # answers the largest depth over depth
        model.decoder.conv3.get_parameter('bias').fill_(_CENTRE)
    return model.float()


def _images(side: int, generator: torch.Generator) -> Tensor:
    random = [torch.rand(2, 3, n, n, generator=generator, dtype=torch.float64) for n in _CELLS]
    return torch.cat([nn.functional.interpolate(cells, (side, side)) for cells in random])


def _hook(layer: nn.Module) -> RemovableHandle | None:
    if isinstance(layer, nn.BatchNorm2d):
        return layer.register_forward_pre_hook(_take_size)
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        return layer.register_forward_hook(_Limited())
    return None


def _take_size(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    """Set the variance of a norm to the mean square of what it is given, before it computes."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var.fill_(_rounded(float(given[0].square().mean())))


def _rounded(number: float) -> float:
    """To 12 bits: another order of sums, by another number of threads, gives the same weights."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(mantissa * 4096), exponent - 12)


class _Limited:
    """Scales a layer down to answers of unit size, at its first call; it may be called again."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        del given
        size = float(answer.square().mean().sqrt())
        scale = _rounded(min(max(size, _SMALLEST), 1.0) / size) if size else 1.0
        if self.seen or scale == 1.0:
            self.seen = True
            return answer
        self.seen = True
        for weights in layer.parameters():
            weights.mul_(scale)
        return answer * scale
