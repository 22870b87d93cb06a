# SPDX-License-Identifier: Apache-2.0
"""What the kernels of depth_core compute, for the fake GPU to run them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

KERNELS: Mapping[str, Callable[[tuple[int, int], tuple[int, ...], Sequence[Any], int], None]] = {}
"""By name: a function of the grid, the block, the arguments and the stream."""
