# SPDX-License-Identifier: Apache-2.0
"""The image whose depth is brought to metres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from depth_core.contracts import Intrinsics, Uint8Array
from depth_ros.frames.rectify import View


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The image that depth belongs to."""

    header: Header
    image: Uint8Array
    """[H, W, 3] RGB, as the network sees it: rectified where there is a `view`."""
    view: View | None
    """How it was rectified; None when it was not."""
    camera: Callable[[], Intrinsics]
    """Pinhole camera of `image`; raises `FrameError` where it has none."""
    rotation: Callable[[], NDArray[np.float64]]
    """[3, 3] from the frame of `header` to the one that `camera` projects from; raises as it."""
