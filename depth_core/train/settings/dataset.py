# SPDX-License-Identifier: Apache-2.0
"""Settings of one data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


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
    list of {name, root, split, options, height, width, augmentation, weight, domain}; weight = how
    often the turn of that data set comes, 1 where it is left out; domain = which of the heads of
    the network it is for, by name, that of its place where none of them says."""
    frames: Path | None = None
    """List of frames written by depth_core.train.infinite_depth; those it does not keep are left
    out."""


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(DatasetSettings):
    """Images held out, and how depth is scored on them."""

    protocol: str | None = None
    """Which pixels are scored, over which depths, as python -m depth_core.evaluate --help lists:
    kitti_eigen_garg_80m, kitti_eigen_garg_50m, kitti_eigen_crop_80m, kitti_window_garg_80m,
    nyu_eigen, nyu_densedepth, nyu_densedepth_official. The data then keep their native size, and
    depth is brought to it; none = every pixel whose depth the network can state, at the size it
    sees."""
    align: Literal['none', 'median', 'lower_median', 'affine_inverse'] | None = None
    """How each prediction is brought to metres first; none = as the kind of depth needs."""
    flip_average: Literal['none', 'mean', 'blended', 'blended_inverse'] = 'none'
    """Average with the mirrored image: mean (DenseDepth, ZoeDepth), blended towards each side
    (URCDC, BTS), blended_inverse = the same of inverse depths (monodepth2, PackNet)."""
    network_size: tuple[int, int] | None = None
    """Rows and columns the network sees in validation with a protocol, pixels; none = data.height
    and data.width."""
