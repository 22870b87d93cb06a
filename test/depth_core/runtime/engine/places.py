# SPDX-License-Identifier: Apache-2.0
"""A model and a cache of engines, for the tests of engines that are provided."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from depth_core.runtime.backends import BackendRequest
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.options import EngineOptions
from depth_core.runtime.engine.provide import open_engine
from depth_core.runtime.engine.session import EngineSession


@dataclasses.dataclass
class Place:
    """A model, a cache, and how often something was built."""

    model: Path
    folder: Path
    log: Path

    def open(self, flavour: Any = 'tensorrt', **options: Any) -> EngineSession:
        engine = EngineOptions(cache_dir=self.folder, **options)
        return open_engine(BackendRequest(path=self.model, engine=engine), flavour)

    @property
    def builds(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    @property
    def cache(self) -> EngineCache:
        return EngineCache(self.folder)

    @property
    def plans(self) -> list[Path]:
        return sorted(self.folder.glob('*.plan'))


def check_answer(session: EngineSession) -> None:
    """2 m for black, 12 m for white, sigma a tenth."""
    depth, sigma = session.run(np.full((1, 64, 96, 3), 51, np.uint8))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
    assert sigma is not None
    np.testing.assert_allclose(sigma, 0.4, rtol=1e-6)
