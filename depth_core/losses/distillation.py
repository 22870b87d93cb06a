# SPDX-License-Identifier: Apache-2.0
"""Two branches that teach each other: the losses of URCDC-Depth beside SILog."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from depth_core.losses.masking import cleaned, masked_mean
from depth_core.precision import at_least_float32

_EPSILON: Final = 1e-7
_STEEPNESS: Final = 5.0


def depth_confidence(depth: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """How right a depth is: exp(-5 |g - d| / (g + d)), 1 where it is perfect.

    The paper calls it an uncertainty. exp(-5) = 0.0067 is reached where one of the two is 0; a
    factor of 1.25 between them is 0.57. Detached: it is a target and a weight.

    Args:
        depth: Predicted depth d, any shape, not negative.
        target: True depth g where valid.
        valid: See the module `depth_core.losses`.

    Returns:
        The confidence, the shape of `depth`, 0 where not valid.
    """
    depth, target, mask = cleaned(depth.detach(), target, valid)
    ratio = (target - depth).abs() / (target + depth + _EPSILON)
    confidence = torch.exp(-_STEEPNESS * ratio)
    return confidence if mask is None else torch.where(mask, confidence, 0.0)


def cross_distillation(
    student: Tensor, teacher: Tensor, confidence: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Mean |teacher - student| in metres, weighed by how far the teacher is to be trusted.

    sum(|t - s| w) / sum(w + 1e-7), w = confidence where valid and 0 elsewhere. The authors take
    the teacher's confidence from the ground truth (`depth_confidence`), so that nothing is taught
    where there is none.

    Args:
        student: Depth that learns, any shape.
        teacher: Depth it learns from; detached.
        confidence: Trust in each pixel of the teacher, in [0, 1]; detached.
        valid: See the module `depth_core.losses`.
    """
    student, teacher, mask = cleaned(student, teacher.detach(), valid)
    weight = at_least_float32(confidence.detach())
    if mask is not None:
        weight = torch.where(mask, weight, 0.0)
    return ((teacher - student).abs() * weight).sum() / (weight + _EPSILON).sum()


def relative_distillation(student: Tensor, teacher: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean |t - s| / (t + s) over the valid pixels: what the authors use without a confidence.

    Args:
        student: Positive depth that learns, any shape.
        teacher: Positive depth it learns from; detached.
        valid: See the module `depth_core.losses`.
    """
    student, teacher, mask = cleaned(student, teacher.detach(), valid, fill=1.0)
    return masked_mean((teacher - student).abs() / (teacher + student), mask)
