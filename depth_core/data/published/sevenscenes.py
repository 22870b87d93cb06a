# SPDX-License-Identifier: Apache-2.0
"""7-Scenes (Shotton et al., CVPR 2013): rooms seen by a Kinect.

    root/[chess/]seq-01/frame-000000.color.png, frame-000000.depth.png, frame-000000.pose.txt

Depth is in millimetres, 0 and 65535 = none. Colour and depth are not registered exactly: edges are
off by some pixels. Licence: Microsoft Research, not commercial.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.places import read_pose
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera, without
from depth_core.files import visible_paths


class SevenScenesDataset(PairDataset):
    """Frames of one or more scenes; see `PairDataset` for the options."""

    title = '7-Scenes'
    layout = 'seq-01/frame-000000.color.png'

    def find(self) -> Sequence[Pair]:
        """The frames of all sequences."""
        names = ('*.color.png', 'seq-*/*.color.png', '*/seq-*/*.color.png')
        images = [path for name in names for path in visible_paths(self.root, name)]
        return [
            Pair(
                image=path,
                depth=path.with_name(path.name.replace('.color.', '.depth.')),
                key=str(path.relative_to(self.root)).removesuffix('.color.png'),
            )
            for path in images
        ]

    def read_depth(self, pair: Pair) -> Float32Array:
        """Millimetres to metres."""
        return without(read_depth_png(pair.depth, unit_m=0.001), from_m=65.535)

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """The Kinect's, as the authors state it."""
        return fixed_camera((585.0, 585.0, 320.0, 240.0), height=height, width=width)

    def pose(self, pair: Pair) -> NDArray[np.float64] | None:
        """That of the tracking of the depth camera; None where it was lost."""
        return read_pose(pair.image.with_name(pair.image.name.replace('.color.png', '.pose.txt')))
