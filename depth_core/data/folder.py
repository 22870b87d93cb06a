# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own images, with or without depth and labels, matched by file name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.ground_truth import describe_files
from depth_core.data.images import check_size, make_sample, require_folder
from depth_core.data.neighbours import IMAGE_FOLDERS
from depth_core.data.places import Place, read_pose
from depth_core.data.planes import (
    LABEL_IDS,
    NO_LABEL,
    LabelIds,
    open_npy,
    read_depth_npy,
    read_depth_png,
    read_labels,
)
from depth_core.data.sample import Sample
from depth_core.data.text import numbers_of, read_lines
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.files import visible_paths
from depth_core.geometry import intrinsics_from_matrix
from depth_core.images import IMAGE_SUFFIXES, read_image

_DEPTH_FOLDER: Final = 'depth'
_LABEL_FOLDER: Final = 'semantic'
_POSE_FOLDER: Final = 'poses'
_INTRINSICS_NAME: Final = 'intrinsics.txt'
_NPY_LOOKED_AT: Final = 64
"""Depth files whose type is looked at when the folder is opened; all when they are read."""


class FolderDataset:
    """Images of any source: `root/images/a.jpg` with `root/depth/a.png` or `a.npy`.

    The images may also lie in `root/image`, `root/rgb` or `root` itself. Depth is NPY, or PNG of
    16 bits; the unit of codes, which PNG files and integers are, must be declared. An image
    without depth stays, with no valid pixel. Semantic labels are `root/semantic/a.png`, 8-bit of
    one channel; where some image has them, one without has 255 (no label) everywhere.
    `root/intrinsics.txt`, when present, holds `fx fy cx cy` in pixels of the images, with pixel
    centres at integers; without it the intrinsics of the samples are NaN (unknown). Endings may
    have capitals; hidden files are left alone. `root/poses/a.txt`, where present, is where the
    camera was, 4x4 camera to world in metres, for flicker. Images are turned upright by their
    EXIF orientation; depth, labels and intrinsics are those of the upright ones.

    Args:
        root: The folder.
        split: List of the stems to take, one a line; every image when None.
        depth_unit_m: Metres in one code of PNG files and integer NPY: 0.001 for millimetres.
            Where there are no such files, metres in 1.0 of floating-point NPY, which are metres
            when it is not given.
        labels: What the codes of the labels are: `train_ids` (Cityscapes 0..18) or `label_ids`
            (Cityscapes 0..33, as *_gtFine_labelIds.png); 255 = none.
        sparse: True for scattered depth (lidar): no value is lost when samples are resized.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        ConfigError: Depth is in codes without a unit, or the kind of labels is unknown.
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
        self._depths = _by_stem(self.root / _DEPTH_FOLDER, ('.png', '.npy'))
        self._labels = _by_stem(self.root / _LABEL_FOLDER, ('.png',))
        self._labelled = any(image.stem in self._labels for image in self.images)
        self._numbers = _read_intrinsics(self.root / _INTRINSICS_NAME)
        self._float_unit_m = self._check_unit()

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

    def place(self, index: int) -> Place | None:
        """Where the camera was, by `poses/NAME.txt`; None where there is no such file."""
        pose = read_pose(self.root / _POSE_FOLDER / f'{self.images[index].stem}.txt')
        return None if pose is None else Place(world=str(self.root), camera_to_world=pose)

    def has_depth(self, index: int) -> bool:
        """Whether there is a depth file for the image at `index`."""
        return self.images[index].stem in self._depths

    def depth_looked_for(self) -> str:
        """Which depth files are looked for, and what is there instead."""
        folder = self.root / _DEPTH_FOLDER
        alone = next(image.stem for image in self.images if image.stem not in self._depths)
        wanted = f'depth of {alone} would be {folder / alone}.npy or .png, and'
        if not folder.is_dir():
            others = (path for path in self.root.iterdir() if path.is_dir())
            return f'{wanted} there is no folder {folder}; {self.root} holds {_names(others)}.'
        stems = {image.stem for image in self.images}
        unused = [
            path
            for path in folder.iterdir()
            if path.stem not in stems or path != self._depths.get(path.stem)
        ]
        return (
            f'{wanted} {folder} has {describe_files(unused)} of other names or endings; rename '
            'them as the images are, and convert them to NPY in metres or to 16-bit PNG.'
        )

    def sources(self, index: int) -> tuple[Path, ...]:
        """The files that the sample at `index` is made from."""
        image = self.images[index]
        depth = self._depths.get(image.stem, self.root / _DEPTH_FOLDER / f'{image.stem}.npy')
        labels = self._labels.get(image.stem, self.root / _LABEL_FOLDER / f'{image.stem}.png')
        return (image, depth, labels, self.root / _INTRINSICS_NAME)

    def _check_unit(self) -> float:
        """Metres in 1.0 of floating-point depth.

        Raises:
            ConfigError: The unit is missing where depth is in codes, or is not positive.
        """
        unit_m = self.depth_unit_m
        coded = next(filter(None, map(self._codes_of, self._some_depths())), None)
        if unit_m is None and coded is None:
            return 1.0
        if unit_m is None or not (unit_m > 0.0 and math.isfinite(unit_m)):
            message = (
                f'depth {coded or self.root / _DEPTH_FOLDER} and depth_unit_m is {unit_m}; give '
                'the metres in one code: 0.001 for millimetres, 0.00390625 for KITTI.'
            )
            raise ConfigError(message)
        return unit_m if coded is None else 1.0

    def _some_depths(self) -> Sequence[Path]:
        """A PNG if there is one, and NPY files from all over the list."""
        paths = [self._depths[image.stem] for image in self.images if image.stem in self._depths]
        npys = [path for path in paths if path.suffix.lower() == '.npy']
        pngs = [path for path in paths if path.suffix.lower() == '.png']
        return [*pngs[:1], *npys[:: -(-len(npys) // _NPY_LOOKED_AT) or 1]]

    def _codes_of(self, path: Path) -> str:
        """What codes a depth file has; nothing for floats."""
        if path.suffix.lower() == '.png':
            return f'{path} is a PNG'
        kind = open_npy(path).dtype
        return f'{path} has {kind} codes' if kind.kind in 'iu' else ''

    def _read_depth(self, image: Path) -> Float32Array | None:
        path = self._depths.get(image.stem)
        if path is None:
            return None
        if path.suffix.lower() == '.npy':
            return read_depth_npy(
                path, code_unit_m=self.depth_unit_m, float_unit_m=self._float_unit_m
            )
        assert self.depth_unit_m is not None  # noqa: S101  checked when the data set was opened
        return read_depth_png(path, unit_m=self.depth_unit_m)

    def _read_labels(self, image: Path, size: tuple[int, int]) -> Uint8Array | None:
        if not self._labelled:
            return None
        path = self._labels.get(image.stem)
        if path is None:
            return np.full(size, NO_LABEL, np.uint8)
        return read_labels(path, labels=self.labels)


def _by_stem(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """The file of each stem in a folder; of several the one whose ending comes last."""
    if not folder.is_dir():
        return {}
    paths = visible_paths(folder)
    return {
        path.stem: path for ending in endings for path in paths if path.suffix.lower() == ending
    }


def _names(folders: Iterable[Path]) -> str:
    return ', '.join(sorted(f'{path.name}/' for path in folders)) or 'no folder'


def _list_images(root: Path, split: Path | None) -> Sequence[Path]:
    folder = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), root)
    found: dict[str, Path] = {}
    for path in visible_paths(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            if path.stem in found:
                message = (
                    f'{found[path.stem]} and {path} have the same name but for the ending, so '
                    'both would have the same depth file; rename one.'
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
