# SPDX-License-Identifier: Apache-2.0
"""Settings of one data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """Where samples come from."""

    name: str | None = None
    """Dataset: synthetic, kitti, nyu, folder, bag; mix = several, each batch from one in turn."""
    root: Path | None = None
    """Folder or bag it is read from; none for synthetic and mix."""
    split: str | None = None
    """Split of the dataset, where it has several."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword options of that dataset, as seed and length of synthetic; of mix datasets, a
    list of {name, root, split, options, height, width, augmentation}."""
    frames: Path | None = None
    """List of frames written by depth_core.train.infinite_depth; those it does not keep are left
    out."""
