# SPDX-License-Identifier: Apache-2.0
"""Memory of answers, used again once nobody holds them.

The kernel maps a new plane page by page as it is first written to, which for a camera image takes
longer than to fill it. An answer still owns its planes: one is given out again only when neither
it nor a view of it is referred to any more.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from depth_core.contracts import Float32Array

_MOST_BYTES: Final = 64 * 2**20
"""What is kept for later, in use or not."""


class PlanePool:
    """Gives out planes, to any thread."""

    def __init__(self) -> None:
        self._kept: list[Float32Array] = []
        self._lock = threading.Lock()

    def take(self, height: int, width: int) -> Float32Array:
        """Return [height, width] float32 that nobody else holds, with any content."""
        with self._lock:
            for place in range(len(self._kept)):
                if self._kept[place].shape != (height, width):
                    continue
                if _holders(self._kept, place) == _UNUSED:
                    return self._kept[place]
            fresh = np.empty((height, width), np.float32)
            self._kept.append(fresh)
            while sum(plane.nbytes for plane in self._kept) > _MOST_BYTES:
                del self._kept[0]
            return fresh


def _holders(planes: Sequence[Float32Array], place: int) -> int:
    return sys.getrefcount(planes[place])


_UNUSED: Final = _holders([np.empty((1, 1), np.float32)], 0)
"""As many as there are for a plane in a list alone."""
