# SPDX-License-Identifier: Apache-2.0
"""Graphs of the networks of the registry, exported once for all tests that look at one."""

from __future__ import annotations

import fcntl
from pathlib import Path

import torch

from depth_core.export import export_onnx
from depth_core.models import NETWORKS, DepthModel, create_model, list_models
from test.conditioned import conditioned

SMALL = tuple(name for name in list_models() if name.endswith('_small'))
"""One of each family: their graphs leave the number of images free."""


def tiny_network(name: str) -> DepthModel:
    """The small form of a network, with the same conditioned weights each time."""
    torch.manual_seed(0)
    return conditioned(create_model(name, **NETWORKS[name].tiny))


def tiny_size(model: DepthModel) -> tuple[int, int]:
    """(height, width) of the smallest input at which every layer has more than a pixel."""
    return 2 * model.spec.divisor, 3 * model.spec.divisor


class Exports:
    """A folder of graphs that the processes of one test run share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        """Export the small form of a network, unless that was done; the path of its graph."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f'{name}.onnx'
        with (folder / 'lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be exporting it
            if not path.exists():
                model = tiny_network(name)
                height, width = tiny_size(model)
                batch = 0 if name in SMALL else 1
                export_onnx(model, path, height=height, width=width, batch=batch)
        return path
