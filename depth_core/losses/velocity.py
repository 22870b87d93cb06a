# SPDX-License-Identifier: Apache-2.0
"""Metric scale from the speed of the camera (Guizilini et al., PackNet, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_core.losses.masking import masked_mean
from depth_core.precision import at_least_float32


def velocity_loss(translation: Tensor, distance_m: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean | |t| - distance | over frames and their references: how far, not which way.

    Args:
        translation: [B, N, 3] predicted translation to each reference camera.
        distance_m: [B, N] how far that camera is away, metres: speed times |time between|.
        valid: [B, N] where the distance is known; everywhere when None.

    Returns:
        A scalar, metres.
    """
    translation, distance_m = at_least_float32(translation), at_least_float32(distance_m)
    # The slope of a norm at 0 is not a number; a pose network may well answer exactly 0.
    still = (translation == 0.0).all(dim=-1, keepdim=True)
    length = torch.where(still, 1.0, translation).norm(dim=-1)
    length = torch.where(still.squeeze(-1), 0.0, length)
    if valid is not None:
        distance_m = torch.where(valid, distance_m, 0.0)
    return masked_mean((length - distance_m).abs(), valid)
