# SPDX-License-Identifier: Apache-2.0
"""Hypersim (Roberts et al., ICCV 2021): rendered rooms.

    root/ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg
    .../images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5

The files hold the distance from the camera, not the depth: it is divided by the length of the ray
of each pixel. Licence: CC BY-SA 3.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import depth_plane
from depth_core.data.published.hdf5 import read_array
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.files import visible_paths
from depth_core.geometry import pixel_rays

_FOCAL_OF_WIDTH = 886.81 / 1024.0
"""Of the usual camera of the data set; scenes with tilted lenses differ a little."""


class HypersimDataset(PairDataset):
    """Frames of one or more scenes; see `PairDataset` for the options."""

    title = 'Hypersim'
    layout = 'ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg'

    def find(self) -> Sequence[Pair]:
        """The previews of all scenes and cameras."""
        images = [
            path
            for above in ('', '*/')
            for path in visible_paths(
                self.root, f'{above}images/scene_cam_*_final_preview/*.tonemap.jpg'
            )
        ]
        pairs = []
        for path in images:
            folder = path.parent.name.replace('_final_preview', '_geometry_hdf5')
            name = path.name.replace('.tonemap.jpg', '.depth_meters.hdf5')
            key = str(path.relative_to(self.root)).removesuffix('.tonemap.jpg')
            pairs.append(Pair(image=path, depth=path.parents[1] / folder / name, key=key))
        return pairs

    def read_depth(self, pair: Pair) -> Float32Array:
        """Distance to depth."""
        distance_m = depth_plane(read_array(pair.depth, 'dataset'), source=str(pair.depth))
        height, width = distance_m.shape
        rays = pixel_rays(self.camera(pair, height, width))
        depth_m: Float32Array = distance_m / np.sqrt(1.0 + (rays**2).sum(axis=-1))
        return depth_m

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """Square pixels, and an axis through the middle of the image."""
        focal_px = _FOCAL_OF_WIDTH * width
        middle = ((width - 1) / 2.0, (height - 1) / 2.0)
        return fixed_camera((focal_px, focal_px, *middle), height=height, width=width)
