# SPDX-License-Identifier: Apache-2.0
"""Recorded bags: opened by `opener` without torch, read as a data set by `dataset`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depth_core.data.bag.dataset import BagDataset

__all__ = ['BagDataset']


def __getattr__(name: str) -> Any:  # noqa: ANN401  the type is that of the name
    if name not in __all__:
        message = f'module {__name__!r} has no attribute {name!r}'
        raise AttributeError(message)
    return getattr(importlib.import_module('depth_core.data.bag.dataset'), name)
