# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own images, with or without depth and labels, matched by file name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.images import (
    LABEL_IDS,
    NO_LABEL,
    LabelIds,
    check_size,
    make_sample,
    read_depth_npy,
    read_depth_png,
    read_labels,
    require_folder,
)
from depth_core.data.sample import Sample
from depth_core.data.text import numbers_of, read_lines
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.files import is_hidden
from depth_core.geometry import intrinsics_from_matrix
from depth_core.images import IMAGE_SUFFIXES, read_image

_IMAGE_FOLDERS: Final = ('images', 'image', 'rgb')
_INTRINSICS_NAME: Final = 'intrinsics.txt'


class FolderDataset:
    """Images of any source: `root/images/a.jpg` with `root/depth/a.png` or `a.npy`.

    The images may also lie in `root/image`, `root/rgb` or `root` itself. NPY depth is in metres;
    the unit of 16-bit PNG depth must be declared. An image without depth stays, with no valid
    pixel. Semantic labels are `root/semantic/a.png`, 8-bit of one channel; where some image has
    them, one without has 255 (no label) everywhere. `root/intrinsics.txt`, when present, holds
    `fx fy cx cy` in pixels of the images, with pixel centres at integers; without it the
    intrinsics of the samples are NaN (unknown).

    Args:
        root: The folder.
        split: List of the stems to take, one a line; every image when None.
        depth_unit_m: Metres in one code of depth PNG files: 0.001 for millimetres.
        labels: What the codes of the labels are: `train_ids` (Cityscapes 0..18) or `label_ids`
            (Cityscapes 0..33, as *_gtFine_labelIds.png); 255 = none.
        sparse: True for scattered depth (lidar): no value is lost when samples are resized.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        ConfigError: There is PNG depth but no unit, or the kind of labels is unknown.
        DataError: The folder, the list or a file of the list is missing or malformed.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: Path | str | None = None,
        depth_unit_m: float | None = None,
        labels: LabelIds = 'train_ids',
        sparse: bool = False,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if labels not in LABEL_IDS:
            raise ConfigError(unknown_name('kind of labels', labels, LABEL_IDS))
        check_size(height, width)
        self.root = Path(root)
        require_folder(self.root, 'image')
        self.height, self.width = height, width
        self.sparse = sparse
        self.depth_unit_m = depth_unit_m
        self.labels = labels
        self.images = _list_images(self.root, None if split is None else Path(split))
        self._labelled = any(self._label(image) is not None for image in self.images)
        self._numbers = _read_intrinsics(self.root / _INTRINSICS_NAME)
        png = next((path for image in self.images if (path := self._depth(image, '.png'))), None)
        if png is not None and not (depth_unit_m is not None and depth_unit_m > 0.0):
            message = (
                f'depth {png} is a PNG and depth_unit_m is {depth_unit_m}; give the metres in one '
                'code: 0.001 for millimetres, 0.00390625 for KITTI.'
            )
            raise ConfigError(message)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        path = self.images[index]
        image = read_image(path)
        rows, columns = image.shape[:2]
        intrinsics: Intrinsics | None = None
        if self._numbers is not None:
            matrix = np.zeros((3, 3))
            matrix[[0, 1, 0, 1], [0, 1, 2, 2]] = self._numbers
            intrinsics = intrinsics_from_matrix(matrix, height=rows, width=columns)
        return make_sample(
            image,
            self._read_depth(path),
            intrinsics,
            key=path.stem,
            semantic=self._read_labels(path, (rows, columns)),
            height=self.height,
            width=self.width,
            sparse=self.sparse,
        )

    def _depth(self, image: Path, suffix: str) -> Path | None:
        path = self.root / 'depth' / f'{image.stem}{suffix}'
        return path if path.is_file() else None

    def _read_depth(self, image: Path) -> Float32Array | None:
        npy = self._depth(image, '.npy')
        if npy is not None:
            return read_depth_npy(npy)
        png = self._depth(image, '.png')
        if png is None or self.depth_unit_m is None:
            return None
        return read_depth_png(png, unit_m=self.depth_unit_m)

    def _label(self, image: Path) -> Path | None:
        path = self.root / 'semantic' / f'{image.stem}.png'
        return path if path.is_file() else None

    def _read_labels(self, image: Path, size: tuple[int, int]) -> Uint8Array | None:
        if not self._labelled:
            return None
        path = self._label(image)
        if path is None:
            return np.full(size, NO_LABEL, np.uint8)
        return read_labels(path, labels=self.labels)


def _list_images(root: Path, split: Path | None) -> Sequence[Path]:
    folder = next((root / name for name in _IMAGE_FOLDERS if (root / name).is_dir()), root)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not is_hidden(path):
            if path.stem in found:
                message = (
                    f'{found[path.stem]} and {path} have the same name but for the ending, so '
                    'their depth cannot be told apart; rename one.'
                )
                raise DataError(message)
            found[path.stem] = path
    if not found:
        message = (
            f'{folder} holds no image; put {", ".join(IMAGE_SUFFIXES)} files there, or in '
            f'{root / "images"}.'
        )
        raise DataError(message)
    if split is None:
        return list(found.values())
    chosen = []
    for number, line in read_lines(split):
        if line not in found:
            message = (
                f'line {number} of list {split} names {line!r}, but {folder} has no image of '
                'that stem; list file names without their ending.'
            )
            raise DataError(message)
        chosen.append(found[line])
    return chosen


def _read_intrinsics(path: Path) -> Sequence[float] | None:
    if not path.exists():
        return None
    lines = [line for _, line in read_lines(path) if line[0] != '#']
    numbers = numbers_of(' '.join(lines), 4, source=f'{path} (fx fy cx cy, pixels)')
    if min(numbers[:2]) <= 0.0:
        message = f'{path} gives fx fy = {numbers[0]} {numbers[1]}; focal lengths are positive.'
        raise DataError(message)
    return [float(number) for number in numbers]
