# SPDX-License-Identifier: Apache-2.0
"""Sessions on the fakes, for the tests of sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_core.manifest import read_manifest
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.device import open_device
from depth_core.runtime.engine.options import EngineOptions
from depth_core.runtime.engine.session import EngineSession
from test.fakes.plans import fake_plan


def session_of(
    path: Path, *, largest: int = 0, plan: bytes | None = None, options: Any = EngineOptions()
) -> EngineSession:
    """A session on a plan of the graph at `path`; `largest` images where its batch is free."""
    manifest = read_manifest(path)
    size = (manifest.input.height, manifest.input.width, 3)
    shapes = {'image': [(1, *size), (largest, *size), (largest, *size)]} if largest else None
    plan = fake_plan(path, shapes) if plan is None else plan
    device = open_device()
    return EngineSession(load_tensorrt('tensorrt'), plan, device, manifest, options, path=path)


def grey(code: int, images: int = 1) -> NDArray[np.uint8]:
    return np.full((images, 64, 96, 3), code, np.uint8)


def depth_of(code: float) -> float:
    return 2.0 + 10.0 * code / 255.0
