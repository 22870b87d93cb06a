# SPDX-License-Identifier: Apache-2.0
"""The size of the network's input that the images of a camera ask for.

A model whose input follows the shape of the camera is opened at that size when its first image
is there. That takes moments, or minutes where an engine is built; meanwhile newer images take
the place of older ones.
"""

from __future__ import annotations

import time

from depth_core.errors import DepthError
from depth_core.runtime import Predictor
from depth_core.runtime.engine import BuildProgress


class OpenedSize:
    """Opens a model for the images of one camera, once for each size they have."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._image = (0, 0)
        self._failed: dict[tuple[int, int], DepthError] = {}
        self._opening: tuple[str, float] | None = None
        self.network = ''
        """Columns and rows of what the network sees of an image; empty before the first."""

    @property
    def progress(self) -> BuildProgress | None:
        """How far the opening is; None when none is going on."""
        if (opening := self._opening) is None:
            return None
        phase, begun_s = opening
        elapsed_s = time.monotonic() - begun_s
        return BuildProgress(phase=phase, fraction=None, elapsed_s=elapsed_s)

    def prepare(self, height: int, width: int) -> None:
        """Open the model for images of `height` x `width`, unless it is.

        Raises:
            DepthError: It cannot be opened at that size; it is not tried again.
        """
        image = height, width
        if image == self._image:
            return
        if image in self._failed:
            raise self._failed[image]
        self._opening = f'opening for images of {width}x{height}', time.monotonic()
        try:
            rows, columns = self._predictor.prepare(height, width).network
        except DepthError as error:
            self._failed[image] = error
            raise
        finally:
            self._opening = None
        self._image = image
        self.network = f'{columns}x{rows}'

    def seen(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of images of `height` x `width` as the network sees them.

        Raises:
            DepthError: The model cannot be opened for them.
        """
        self.prepare(height, width)
        return self._predictor.prepare(height, width).answered_at(None).image
