# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from depth_core.contracts import DepthMap, Intrinsics, Uint8Array
from depth_core.data.sample import Sample
from depth_core.evaluate import evaluate_dataset
from depth_core.metrics import PROTOCOLS


class TwoMetres:
    """A predictor that answers 2 m everywhere, and keeps the cameras that it is told."""

    def __init__(self) -> None:
        self.cameras: list[Intrinsics | None] = []

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        self.cameras.append(intrinsics)
        depth_m = np.full(image.shape[:2], 2.0, np.float32)
        return DepthMap(depth_m=depth_m, sigma_m=0.1 * depth_m)


class OneKnown:
    """Two images of 24 x 32 pixels; the camera of the first is known."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        known = torch.tensor([[9.0, 0.0, 20.0], [0.0, 8.0, 10.0], [0.0, 0.0, 1.0]])
        return Sample(
            image=torch.zeros(3, 24, 32),
            depth_m=torch.full((24, 32), 2.0),
            valid=torch.ones(24, 32, dtype=torch.bool),
            intrinsics=known if index == 0 else torch.full((3, 3), torch.nan),
            key=str(index),
        )


def test_the_predictor_is_told_the_camera_of_what_it_sees() -> None:
    """That of the window a protocol cuts out, of the mirror image, or none where none is known."""
    window = replace(PROTOCOLS['none'], window=(20, 30))  # rows 4 to 23, columns 1 to 30
    predictor = TwoMetres()
    evaluate_dataset(predictor, OneKnown(), protocol=window, flip_average='mean', panels=0)
    seen = Intrinsics(fx_px=9.0, fy_px=8.0, cx_px=19.0, cy_px=6.0, height=20, width=30)
    assert predictor.cameras == [seen, replace(seen, cx_px=10.0), None, None]
