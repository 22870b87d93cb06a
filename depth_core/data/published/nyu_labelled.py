# SPDX-License-Identifier: Apache-2.0
"""The labelled part of NYU Depth v2: nyu_depth_v2_labeled.mat, 1449 images in one file.

The file is HDF5, as MATLAB 7.3 writes it: `images` [N, 3, 640, 480] uint8 and `depths`
[N, 640, 480] float32 metres, holes filled, columns before rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from depth_core.data.images import check_size, make_sample
from depth_core.data.planes import depth_plane
from depth_core.data.published.hdf5 import opened, read_array, stored_shape
from depth_core.data.published.nyu import NYU_INTRINSICS
from depth_core.data.sample import Sample
from depth_core.errors import DataError
from depth_core.geometry import resize_intrinsics


class NyuLabelledDataset:
    """The images of the file, by number.

    Args:
        root: The .mat file.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        DataError: The file is missing, or holds other arrays.
    """

    def __init__(
        self, root: Path | str, *, height: int | None = None, width: int | None = None
    ) -> None:
        check_size(height, width)
        self.root = Path(root)
        self.height, self.width = height, width
        with opened(self.root) as file:
            images, depths = (_shape(self.root, file, name) for name in ('images', 'depths'))
        if len(images) != 4 or images[1] != 3 or depths != (images[0], *images[2:]):  # noqa: PLR2004  N, RGB, columns, rows
            message = (
                f'{self.root} holds images {list(images)} and depths {list(depths)}; it must hold '
                '[N, 3, W, H] and [N, W, H], as nyu_depth_v2_labeled.mat does.'
            )
            raise DataError(message)
        self._count = int(images[0])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        if not -self._count <= index < self._count:
            message = f'index {index} is outside {self._count} images.'
            raise IndexError(message)
        place = index % self._count
        image = np.ascontiguousarray(read_array(self.root, 'images', place).transpose(2, 1, 0))
        depths = read_array(self.root, 'depths', place)
        height, width = image.shape[:2]
        return make_sample(
            image.astype(np.uint8, copy=False),
            depth_plane(depths.T, source=f'{self.root} image {place}'),
            resize_intrinsics(NYU_INTRINSICS, height=height, width=width),
            key=f'{place:04d}',
            height=self.height,
            width=self.width,
        )

    def sources(self, _index: int) -> tuple[Path, ...]:
        """The one file."""
        return (self.root,)


def _shape(root: Path, file: Any, name: str) -> tuple[int, ...]:  # noqa: ANN401  h5py is optional
    """The shape of an array; none of whatever else a file may hold.

    Raises:
        DataError: It declares what is not stored.
    """
    try:
        return stored_shape(file, name)
    except (OSError, ValueError, AttributeError) as error:
        message = f'{root} has no array {name!r} that can be read ({error}); download it again.'
        raise DataError(message) from error
