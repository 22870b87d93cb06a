# SPDX-License-Identifier: Apache-2.0
"""iBims-1 (Koch et al., ECCV Workshops 2018): a hundred rooms by a laser scanner, `core_raw`.

    root/imagelist.txt                  a name a line
    root/rgb/corridor_01.png            [480, 640]
    root/depth/corridor_01.png          16-bit, 65535 = 50 m, 0 = none
    root/mask_invalid/, mask_transp/    0 where the depth is not valid, or the surface transparent
    root/calib/corridor_01.txt          the camera matrix, or fx fy cx cy

Licence: CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.data.text import numbers_of, read_lines
from depth_core.errors import DataError
from depth_core.images import read_image

_UNIT_M: Final = 50.0 / 65535.0
_MASKS: Final = ('mask_invalid', 'mask_transp')
_MATRIX: Final = 9


class IbimsDataset(PairDataset):
    """The images of imagelist.txt; see `PairDataset` for the options."""

    title = 'iBims-1'
    layout = 'imagelist.txt, rgb/corridor_01.png and depth/corridor_01.png'

    def find(self) -> Sequence[Pair]:
        """The images that are listed."""
        names = [line for _, line in read_lines(self.root / 'imagelist.txt')]
        return [
            Pair(
                image=self.root / f'rgb/{name}.png',
                depth=self.root / f'depth/{name}.png',
                key=name,
            )
            for name in names
        ]

    def read_depth(self, pair: Pair) -> Float32Array:
        """The depth where both masks, as far as they are there, allow it.

        Raises:
            DataError: A file is damaged or of another size.
        """
        depth_m = read_depth_png(pair.depth, unit_m=_UNIT_M)
        for folder in _MASKS:
            path = self.root / folder / f'{pair.key}.png'
            if path.is_file():
                mask = read_image(path)[..., 0]
                if mask.shape != depth_m.shape:
                    message = (
                        f'mask {path} is {mask.shape}, its depth {depth_m.shape}; unpack both.'
                    )
                    raise DataError(message)
                depth_m = np.where(mask > 0, depth_m, np.float32(np.nan))
        return depth_m

    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics | None:
        """That of the calibration of the image; None where it has none."""
        path = self.root / f'calib/{pair.key}.txt'
        if not path.is_file():
            return None
        text = ' '.join(line.replace(',', ' ') for _, line in read_lines(path))
        count = len(text.split())
        numbers = numbers_of(text, _MATRIX if count == _MATRIX else 4, source=str(path))
        if count == _MATRIX:
            numbers = numbers[[0, 4, 2, 5]]
        fx_px, fy_px, cx_px, cy_px = (float(number) for number in numbers)
        return fixed_camera((fx_px, fy_px, cx_px, cy_px), height=height, width=width)
