# SPDX-License-Identifier: Apache-2.0
"""Virtual KITTI 2 (Cabon et al., 2020): rendered streets.

    root/Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg
    root/Scene01/clone/frames/depth/Camera_0/depth_00000.png    16-bit centimetres, 65535 = sky

Licence: CC BY-NC-SA 3.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.files import visible_paths

_SKY_M = 655.345
"""Beyond it is the code of the sky, 65535 centimetres."""


class VirtualKittiDataset(PairDataset):
    """Frames of one or more scenes; see `PairDataset` for the options."""

    title = 'Virtual KITTI 2'
    layout = 'Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg'

    def find(self) -> Sequence[Pair]:
        """The images of all scenes, variations and cameras."""
        images = [
            path
            for above in ('Scene*/*/', '*/', '')
            for path in visible_paths(self.root, f'{above}frames/rgb/Camera_*/rgb_*.jpg')
        ]
        return [
            Pair(
                image=path,
                depth=path.parents[2]
                / 'depth'
                / path.parent.name
                / f'{path.stem.replace("rgb_", "depth_")}.png',
                key=str(path.relative_to(self.root).with_suffix('')),
            )
            for path in images
        ]

    def read_depth(self, pair: Pair) -> Float32Array:
        """Centimetres to metres; the sky is infinitely far."""
        depth_m = read_depth_png(pair.depth, unit_m=0.01)
        with np.errstate(invalid='ignore'):
            far: Float32Array = np.where(depth_m > _SKY_M, np.float32(np.inf), depth_m)
        return far

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """The one camera of the data set, as its intrinsic.txt states it."""
        return fixed_camera((725.0087, 725.0087, 620.5, 187.0), height=height, width=width)
