# SPDX-License-Identifier: Apache-2.0
"""What every masked loss begins and ends with."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_core.precision import at_least_float32


def cleaned(
    prediction: Tensor, target: Tensor, valid: Tensor | None, *, fill: float = 0.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return both in float32, with `fill` for whatever is not valid.

    `torch.where` stops gradients as well as values: 0 * NaN would not.
    """
    prediction, target = at_least_float32(prediction), at_least_float32(target)
    if valid is None:
        return prediction, target, None
    return torch.where(valid, prediction, fill), torch.where(valid, target, fill), valid


def masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the valid values; 0 with zero gradients where there are none."""
    if valid is None:
        return values.mean()
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)
