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
    """Where the weights come from that the run starts from (fine-tuning): a checkpoint of the same
    model, or the name of a shipped model. Options that are not given here are those of the
    checkpoint."""
    weights_part: str | None = None
    """The part of the network that the checkpoint holds, as core: its encoder.* are then the
    network's core.encoder.*, and so in the two lists below. None = names are the same."""
    weights_missing: list[str] = field(default_factory=list)
    """Patterns of weights of the network that the checkpoint may lack, or have in another shape,
    and that start as they are built, as ['decoder.*'] for a new decoder; * is any run of
    characters. Everything else must be there."""
    weights_left_over: list[str] = field(default_factory=list)
    """Patterns of weights of the checkpoint that the network may have no place for. What both
    lists name starts as it is built, even where the weights of the checkpoint would fit."""
    weights_other_options: list[str] = field(default_factory=list)
    """Options that may differ from those of the checkpoint although they change what its weights
    mean, as max_depth; the first steps then learn the difference."""
