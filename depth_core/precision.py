# SPDX-License-Identifier: Apache-2.0
"""The precision in which metres and losses are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Raise half precision, in which metres do not fit, to float32 and leave the rest."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
