# SPDX-License-Identifier: Apache-2.0
"""7-Scenes (Shotton et al., CVPR 2013): rooms seen by a Kinect.

    root/[chess/]seq-01/frame-000000.color.png, frame-000000.depth.png, frame-000000.pose.txt

Depth is in millimetres, 0 and 65535 = none, as the depth camera saw it: 585 px, 25 mm beside the
colour camera of 525 px. Here it is carried over into the colour camera, whose focal length the
network is told. Left as it is, edges at the border are off by 33 px and the colour camera is taken
for one that sees everything 11 % larger. Licence: Microsoft Research, not commercial.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.places import read_pose
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera, without
from depth_core.files import visible_paths
from depth_core.geometry import render_sparse_depth, transform, unproject

DEPTH_CAMERA: Final = (585.0, 585.0, 320.0, 240.0)
"""As the authors state it."""
COLOUR_CAMERA: Final = (525.0, 525.0, 320.0, 240.0)
"""As those who relocalise in these scenes take it (Brachmann and Rother, TPAMI 2022). Measured on
25 images of RedKitchen: edges of depth meet those of colour best at 528 px, 25 to 34 mm beside."""
COLOUR_FROM_DEPTH: Final = np.array(
    [[1.0, 0.0, 0.0, -0.025], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""Points of the depth camera in the colour camera, metres: so far apart are the lenses."""


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
        """Millimetres to metres, seen from the colour camera."""
        depth_m = without(read_depth_png(pair.depth, unit_m=0.001), from_m=65.535)
        height, width = depth_m.shape
        points_m = unproject(depth_m, fixed_camera(DEPTH_CAMERA, height=height, width=width))
        seen = transform(points_m[np.isfinite(depth_m)], COLOUR_FROM_DEPTH)
        return render_sparse_depth(seen, self.camera(pair, height, width))

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """The colour camera."""
        return fixed_camera(COLOUR_CAMERA, height=height, width=width)

    def pose(self, pair: Pair) -> NDArray[np.float64] | None:
        """From that of the tracking, of the depth camera; None where it was lost."""
        pose = read_pose(pair.image.with_name(pair.image.name.replace('.color.png', '.pose.txt')))
        return None if pose is None else pose @ np.linalg.inv(COLOUR_FROM_DEPTH)
