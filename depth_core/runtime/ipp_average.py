# SPDX-License-Identifier: Apache-2.0
"""Shrinking an image by averaging over the area of each pixel, with Intel's IPP.

OpenCV for x86 processors comes with IPP, whose average takes a seventh of the time of OpenCV's
own. Unasked OpenCV uses it only where all codes are those of its own loops, and here a few are
next to them. It is asked by a flag of the calling thread.
"""

from __future__ import annotations

import cv2

from depth_core.contracts import Uint8Array


def has_ipp() -> bool:
    """Whether OpenCV has IPP here: packages of Linux distributions and of ARM have none."""
    return bool(cv2.ipp.useIPP())


def average_with_ipp(image: Uint8Array, target: Uint8Array) -> None:
    """Write the average of [H, W, 3] `image` to smaller [h, w, 3] `target`, both C-contiguous.

    Each code is that of `INTER_AREA` or next to it.
    """
    allowed = cv2.ipp.useIPP_NotExact()
    cv2.ipp.setUseIPP_NotExact(True)
    try:
        size = target.shape[1], target.shape[0]
        cv2.resize(image, size, dst=target, interpolation=cv2.INTER_AREA)
    finally:
        cv2.ipp.setUseIPP_NotExact(allowed)  # other resizing of this thread stays exact
