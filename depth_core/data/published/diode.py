# SPDX-License-Identifier: Apache-2.0
"""DIODE (Vasiljevic et al., 2019): laser scans of rooms and of places outdoors.

    root/[val/]indoors/scene_00019/scan_00183/00019_00183_indoors_000_010.png
    ..._depth.npy       [768, 1024, 1] float32 metres
    ..._depth_mask.npy  [768, 1024], 1 where the depth is valid

Licence: MIT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import open_npy, read_depth_npy
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.errors import DataError
from depth_core.files import visible_paths


class DiodeDataset(PairDataset):
    """Scans of one or more parts; see `PairDataset` for the options."""

    title = 'DIODE'
    layout = 'val/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010.png'

    def find(self) -> Sequence[Pair]:
        """The images of all scans."""
        images = [
            path
            for above in ('', '*/', '*/*/')
            for path in visible_paths(self.root, f'{above}scene_*/scan_*/*.png')
        ]
        return [
            Pair(
                image=path,
                depth=path.with_name(f'{path.stem}_depth.npy'),
                key=str(path.relative_to(self.root).with_suffix('')),
            )
            for path in images
        ]

    def read_depth(self, pair: Pair) -> Float32Array:
        """The depth where the mask is 1.

        Raises:
            DataError: A file is damaged, or the mask is missing or of another size.
        """
        depth_m = read_depth_npy(pair.depth)
        path = pair.depth.with_name(f'{pair.image.stem}_depth_mask.npy')
        if not path.is_file():
            message = f'mask {path} is not there; unpack the masks beside the depth.'
            raise DataError(message)
        mask = np.squeeze(np.asarray(open_npy(path)))
        if mask.shape != depth_m.shape:
            message = f'mask {path} is {mask.shape} and its depth {depth_m.shape}; unpack both.'
            raise DataError(message)
        masked: Float32Array = np.where(mask > 0, depth_m, np.float32(np.nan))
        return masked

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """The one camera of the data set, as its development kit states it."""
        return fixed_camera((886.81, 927.06, 512.0, 384.0), height=height, width=width)
