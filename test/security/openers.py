# SPDX-License-Identifier: Apache-2.0
"""How the package opens a file of each format: what a command or the node would do with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from depth_core.weights.checkpoint import load_model

OPENERS: Final[Mapping[str, Callable[[Path], object]]] = {'checkpoint': load_model}
"""By format; each reads the file to its end."""
