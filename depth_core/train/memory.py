# SPDX-License-Identifier: Apache-2.0
"""Memory of a training: how much it took at most, and how to do with less."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_CONTAINERS: Final = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_KIBIBYTE: Final = 1024


def peak_memory_gb(device: torch.device) -> float:
    """The most memory that was taken so far, GB: of the GPU, or of this process on the CPU."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 1e9
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == 'darwin' else _KIBIBYTE) / 1e9


def checkpoint_activations(module: nn.Module) -> int:
    """Let the blocks of a network keep only their input, and compute them again for the gradient.

    A block is an element of a list of layers that is no single layer; of nested lists those
    innermost. Names of weights do not change. The second computation draws the same dropout and
    leaves the statistics of batch norm alone.

    Returns:
        How many blocks there are.
    """
    blocks = _blocks(module)
    for block in blocks:
        again = partial(
            checkpoint,
            block.forward,
            use_reentrant=False,
            context_fn=partial(_contexts, block),
        )
        setattr(block, 'forward', again)  # noqa: B010  nn.Module calls what its object holds
    return len(blocks)


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_held(block)


@contextmanager
def _statistics_held(block: nn.Module) -> Iterator[None]:
    """Let batch norm normalise by its batch as before, and move its statistics by nothing."""
    layers = [
        layer for layer in block.modules() if isinstance(layer, _BatchNorm) and layer.training
    ]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked = layer.num_batches_tracked.clone()
    try:
        yield
    finally:
        for layer, (momentum, counter) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, counter


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The innermost lists' elements that have several weighted layers."""
    found: list[nn.Module] = []
    for child in module.children():
        inner = _blocks(child)
        listed = isinstance(module, _CONTAINERS) and not isinstance(child, _CONTAINERS)
        if inner:
            found += inner
        elif listed and _weighted_layers(child) > 1:
            found.append(child)
    return found


def _weighted_layers(module: nn.Module) -> int:
    return sum(any(True for _ in layer.parameters(recurse=False)) for layer in module.modules())
