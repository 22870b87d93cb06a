# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: synthetic scenes, KITTI, NYU, folders and bags, and transforms.

`open_dataset` opens any of them by name; the modules behind it are imported only then. Importing
this room loads no torch, so that a player of bags works where there is none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from depth_core.data.registry import DATASETS, detect_dataset, open_dataset

if TYPE_CHECKING:
    from depth_core.data.sample import DepthDataset, Sample, collate

__all__ = ['DATASETS', 'DepthDataset', 'Sample', 'collate', 'detect_dataset', 'open_dataset']

_OF_TORCH: Final = ('DepthDataset', 'Sample', 'collate')


def __getattr__(name: str) -> Any:  # noqa: ANN401  the type is that of the name
    if name not in _OF_TORCH:
        message = f'module {__name__!r} has no attribute {name!r}'
        raise AttributeError(message)
    return getattr(importlib.import_module('depth_core.data.sample'), name)
