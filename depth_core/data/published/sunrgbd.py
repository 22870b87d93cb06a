# SPDX-License-Identifier: Apache-2.0
"""SUN RGB-D (Song et al., CVPR 2015): rooms by four sensors.

    root/kv1/NYUdata/NYU0001/image/NYU0001.jpg
    .../depth/NYU0001.png         16-bit millimetres whose bits are turned by three, 0 = none
    .../depth_bfx/NYU0001.png     the same with holes filled
    .../intrinsics.txt            the camera matrix

Licence: that of the data sets it is made of, for research.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.data.text import numbers_of, read_lines
from depth_core.errors import DataError
from depth_core.files import visible_paths


class SunRgbdDataset(PairDataset):
    """Images of all sensors, with the depth as measured; see `PairDataset` for the options."""

    title = 'SUN RGB-D'
    layout = 'kv1/NYUdata/NYU0001/image/NYU0001.jpg and intrinsics.txt'

    def find(self) -> Sequence[Pair]:
        """The image of every folder that holds one in `image`."""
        images = {path.parents[1]: path for path in visible_paths(self.root, '**/image/*.jpg')}
        pairs = []
        for folder, path in images.items():
            depths = visible_paths(folder, 'depth/*.png')
            depth = depths[0] if depths else folder / f'depth/{path.stem}.png'
            key = str(folder.relative_to(self.root)) if folder != self.root else folder.name
            pairs.append(Pair(image=path, depth=depth, key=key))
        return pairs

    def read_depth(self, pair: Pair) -> Float32Array:
        """The codes with their bits turned back, millimetres to metres."""
        codes = np.nan_to_num(read_depth_png(pair.depth, unit_m=1.0)).astype(np.uint16)
        turned = (codes >> np.uint16(3)) | (codes << np.uint16(13))
        depth_m: Float32Array = turned.astype(np.float32) * np.float32(0.001)
        depth_m[turned == 0] = np.nan
        return depth_m

    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics:
        """The camera matrix beside the image.

        Raises:
            DataError: It is missing, or holds another count of numbers.
        """
        path: Path = pair.image.parents[1] / 'intrinsics.txt'
        if not path.is_file():
            message = f'camera {path} is not there; unpack the data set again.'
            raise DataError(message)
        text = ' '.join(line for _, line in read_lines(path))
        numbers = numbers_of(text, 9, source=str(path))
        fx_px, fy_px, cx_px, cy_px = (float(numbers[place]) for place in (0, 4, 2, 5))
        return fixed_camera((fx_px, fy_px, cx_px, cy_px), height=height, width=width)
