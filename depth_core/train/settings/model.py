# SPDX-License-Identifier: Apache-2.0
"""Settings of the network, and of the weights it starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The network."""

    name: str
    """Name in the registry of depth_core.models, as densedepth or densedepth_small; with recipe
    embedding: heg_s or heg_r."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword options of that model; on the command line --model.options.max_depth 10."""
    weights: Path | None = None
    """Checkpoint of the same model whose weights (only) the run starts from: fine-tuning."""
