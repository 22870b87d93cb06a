# SPDX-License-Identifier: Apache-2.0
"""iBims-1 (Koch et al., ECCV Workshops 2018): a hundred rooms by a laser scanner.

`core_raw`, image files:

    root/imagelist.txt                  a name a line; all images where it is missing
    root/rgb/corridor_01.png            [480, 640]
    root/depth/corridor_01.png          16-bit, 65535 = 50 m, 0 = none
    root/mask_invalid/, mask_transp/    0 where the depth is not valid, or the surface transparent
    root/calib/corridor_01.txt          the camera matrix, or fx fy cx cy

`core_mat`, a MATLAB file an image:

    root/imagelist.txt                  as above
    root/corridor_01.mat                structure `data` with rgb, depth (metres, 0 = none),
                                        mask_invalid, mask_transp and, where stated, calib

Licence: CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.planes import depth_plane, read_depth_png
from depth_core.data.published.matlab import read_struct
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.data.text import numbers_of, read_lines
from depth_core.errors import DataError
from depth_core.files import visible_paths
from depth_core.images import read_image

_UNIT_M: Final = 50.0 / 65535.0
_MASKS: Final = ('mask_invalid', 'mask_transp')
_MATRIX: Final = 9
_MATLAB: Final = '.mat'
_STRUCTURE: Final = 'data'


class IbimsDataset(PairDataset):
    """The images of imagelist.txt, or all without it; see `PairDataset` for the options."""

    title = 'iBims-1'
    layout = 'imagelist.txt with rgb/corridor_01.png and depth/corridor_01.png, or corridor_01.mat'

    def find(self) -> Sequence[Pair]:
        """The images that are listed, or all."""
        listed = self.root / 'imagelist.txt'
        if listed.is_file():
            names = [line for _, line in read_lines(listed)]
        else:
            paths = (*visible_paths(self.root, 'rgb/*.png'), *visible_paths(self.root, '*.mat'))
            names = [path.stem for path in paths]
        return [self._pair(name.removesuffix('.mat')) for name in names]

    def _pair(self, name: str) -> Pair:
        matlab = self.root / f'{name}.mat'
        if matlab.is_file():
            return Pair(image=matlab, depth=matlab, key=name)
        image, depth = (self.root / f'{folder}/{name}.png' for folder in ('rgb', 'depth'))
        return Pair(image=image, depth=depth, key=name)

    def read_image(self, pair: Pair) -> Uint8Array:
        """The image of a file, or of a MATLAB structure.

        Raises:
            DataError: The file is missing or damaged.
        """
        if pair.image.suffix != _MATLAB:
            return super().read_image(pair)
        image = _field(pair, 'rgb')
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:  # noqa: PLR2004  RGB
            message = (
                f'rgb of {pair.image} is {image.dtype} of {list(image.shape)}; unpack it again.'
            )
            raise DataError(message)
        return np.ascontiguousarray(image, np.uint8)

    def read_depth(self, pair: Pair) -> Float32Array:
        """The depth where both masks, as far as they are there, allow it.

        Raises:
            DataError: A file is damaged or of another size.
        """
        if pair.depth.suffix == _MATLAB:
            depth_m = depth_plane(_field(pair, 'depth'), source=f'depth of {pair.depth}')
        else:
            depth_m = read_depth_png(pair.depth, unit_m=_UNIT_M)
        for name in _MASKS:
            mask = self._mask(pair, name)
            if mask is None:
                continue
            if mask.shape != depth_m.shape:
                message = (
                    f'{name} of {pair.depth} is {mask.shape}, its depth {depth_m.shape}; unpack '
                    'both.'
                )
                raise DataError(message)
            depth_m = np.where(mask > 0, depth_m, np.float32(np.nan))
        return depth_m

    def _mask(self, pair: Pair, name: str) -> NDArray[Any] | None:
        """Where depth may be used; None where there is no such mask."""
        if pair.depth.suffix == _MATLAB:
            return read_struct(pair.depth, _STRUCTURE).get(name)
        path = self.root / name / f'{pair.key}.png'
        return read_image(path)[..., 0] if path.is_file() else None

    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics | None:
        """That of the calibration of the image; None where it has none."""
        if pair.image.suffix == _MATLAB:
            return _stated_camera(pair, height, width)
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


def _field(pair: Pair, name: str) -> NDArray[np.generic]:
    """An array of the structure of an image.

    Raises:
        DataError: It is not there.
    """
    fields = read_struct(pair.image, _STRUCTURE)
    if name not in fields:
        message = f'{pair.image} has no {name}, but {", ".join(fields)}; unpack it again.'
        raise DataError(message)
    return fields[name]


def _stated_camera(pair: Pair, height: int, width: int) -> Intrinsics | None:
    """The camera of a structure, whose matrix may be the transpose, as MATLAB keeps it."""
    stated = read_struct(pair.image, _STRUCTURE).get('calib')
    if stated is None or stated.shape != (3, 3):
        return None
    matrix = np.asarray(stated, np.float64)
    if matrix[2, 0] and not matrix[0, 2]:
        matrix = matrix.T
    numbers = (float(matrix[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
    fx_px, fy_px, cx_px, cy_px = numbers
    return fixed_camera((fx_px, fy_px, cx_px, cy_px), height=height, width=width)
