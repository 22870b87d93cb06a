# SPDX-License-Identifier: Apache-2.0
"""Images that networks, graphs and engines are compared on, drawn anew on every machine."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from depth_core.contracts import Uint8Array

SEED: Final = 20240229

_CELLS: Final = (4, 12, 40)
"""Cells along the shorter side of the random pictures, from broad to fine."""


def parity_images(*, seed: int, height: int, width: int) -> Uint8Array:
    """Draw the images that networks and graphs are compared on.

    Broad and fine colour fields, pixel noise, and a black-to-white ramp: together they reach
    saturated and unsaturated parts of a network.

    Returns:
        [N, height, width, 3] uint8 RGB, a pure function of the arguments, the same on every
        machine.
    """
    generator = np.random.default_rng(seed)
    images = []
    for cells in _CELLS:
        step = max(1.0, min(height, width) / cells)
        rows, columns = max(2, round(height / step)), max(2, round(width / step))
        field = generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        # Rounded alike on every processor, which the faster INTER_LINEAR is not.
        images.append(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR_EXACT))
    images.append(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    ramp = np.linspace(0.0, 255.0, width).astype(np.uint8)
    images.append(np.broadcast_to(ramp[None, :, None], (height, width, 3)))
    return np.ascontiguousarray(np.stack(images).astype(np.uint8))
