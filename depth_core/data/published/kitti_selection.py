# SPDX-License-Identifier: Apache-2.0
"""The selected validation frames of KITTI depth (Uhrig et al., 3DV 2017), cut to 1216 x 352.

    root/[val_selection_cropped/]image/2011_09_26_drive_0002_sync_image_0000000005_image_02.png
    groundtruth_depth/2011_09_26_drive_0002_sync_groundtruth_depth_0000000005_image_02.png
    intrinsics/2011_09_26_drive_0002_sync_image_0000000005_image_02.txt    the camera matrix

Depth is 16-bit with 256 a metre, 0 = none. The folders `test_depth_..._anonymous` beside it have
no depth: their images stay, with no valid pixel. Licence: CC BY-NC-SA 3.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.data.text import numbers_of, read_lines
from depth_core.files import visible_paths

_UNIT_M: Final = 1.0 / 256.0
_MATRIX: Final = 9


class KittiSelectionDataset(PairDataset):
    """The frames of the selection; see `PairDataset` for the options."""

    title = 'the KITTI depth selection'
    layout = 'image/2011_09_26_drive_0002_sync_image_0000000005_image_02.png'
    sparse = True

    def find(self) -> Sequence[Pair]:
        """The images, each with its depth by name."""
        found = (path for name in ('', 'val_selection_cropped') for path in self._images(name))
        return [
            Pair(
                image=path,
                depth=path.parents[1]
                / 'groundtruth_depth'
                / path.name.replace('_sync_image_', '_sync_groundtruth_depth_'),
                key=path.stem,
            )
            for path in found
        ]

    def _images(self, folder: str) -> Sequence[Path]:
        images = self.root / folder / 'image'
        return visible_paths(images, '*.png') if images.is_dir() else ()

    def read_depth(self, pair: Pair) -> Float32Array:
        """Codes of a 256th of a metre."""
        return read_depth_png(pair.depth, unit_m=_UNIT_M)

    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics | None:
        """That of the cut image; None where its file is missing."""
        path = pair.image.parents[1] / f'intrinsics/{pair.key}.txt'
        if not path.is_file():
            return None
        text = ' '.join(line for _, line in read_lines(path))
        numbers = numbers_of(text, _MATRIX, source=str(path))
        fx_px, cx_px, fy_px, cy_px = (float(item) for item in numbers[[0, 2, 4, 5]])
        return fixed_camera((fx_px, fy_px, cx_px, cy_px), height=height, width=width)
