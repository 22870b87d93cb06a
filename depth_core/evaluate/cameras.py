# SPDX-License-Identifier: Apache-2.0
"""Data that do not say with which camera they were taken, and a command line that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from depth_core.contracts import Intrinsics
from depth_core.data.remarks import lost_of
from depth_core.data.sample import DepthDataset, Sample


class TakenWith:
    """A data set whose images were all taken with one camera."""

    def __init__(
        self, dataset: DepthDataset, camera_of_size: Callable[[int, int], Intrinsics]
    ) -> None:
        """Keep what to ask.

        Args:
            dataset: The images.
            camera_of_size: The camera, for images of a height and a width in pixels.
        """
        self._dataset = dataset
        self._camera_of_size = camera_of_size
        self.lost = lost_of(dataset)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index` with that camera, in place of one that the data state."""
        sample = self._dataset[index]
        height, width = sample.depth_m.shape
        camera = self._camera_of_size(height, width)
        matrix = [
            [camera.fx_px, 0.0, camera.cx_px],
            [0.0, camera.fy_px, camera.cy_px],
            [0.0, 0.0, 1.0],
        ]
        return replace(sample, intrinsics=torch.tensor(matrix, dtype=sample.intrinsics.dtype))
