# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: synthetic scenes, KITTI, NYU, folders and bags, and transforms.

`open_dataset` opens any of them by name; the modules behind it are imported only then.
"""

from __future__ import annotations

from depth_core.data.registry import DATASETS, detect_dataset, open_dataset
from depth_core.data.sample import DepthDataset, Sample, collate

__all__ = ['DATASETS', 'DepthDataset', 'Sample', 'collate', 'detect_dataset', 'open_dataset']
