# SPDX-License-Identifier: Apache-2.0
"""NYU Depth v2 (Silberman et al., ECCV 2012) as the image files people train and test with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.ground_truth import describe_files
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset
from depth_core.data.text import read_lines
from depth_core.errors import DataError
from depth_core.files import visible_paths
from depth_core.geometry import resize_intrinsics

NYU_INTRINSICS: Final = Intrinsics(
    fx_px=518.8579, fy_px=519.46961, cx_px=325.58245, cy_px=253.73617, height=480, width=640
)
"""Colour camera of the data set's toolbox."""

_MILLIMETRE: Final = 0.001
_EIGHT_BIT_RANGE_M: Final = 10.0
"""What code 255 means in the 8-bit training files of the DenseDepth authors."""
_COLOUR_ENDINGS: Final = ('.jpg', '.jpeg', '.png')

_LOG = logging.getLogger(__name__)


class NyuDataset(PairDataset):
    """Pairs of colour and depth images of NYU Depth v2; see `PairDataset` for the options.

    Depth files of 16 bits are millimetres; files of 8 bits, as in the DenseDepth training set,
    have 255 = 10 m. Code 0 means no ground truth. Without a list the pairs are found by name,
    whose ending may have capitals:
    `rgb_X.jpg` with `sync_depth_X.png`, `X_rgb.png` with `X_depth.png`, `X_colors.png` with
    `X_depth.png`, in the folder and one below it; an image without such a partner is left out
    and logged.

    A line of a list is `scene/rgb_1.jpg scene/sync_depth_1.png [focal]` or, when its name ends in
    .csv, `data/scene/1.jpg,data/scene/1.png`, relative to `root`; plain or .gz.
    """

    title = 'NYU'
    layout = (
        'rgb_00000.jpg with sync_depth_00000.png, or X_rgb.png with X_depth.png, there or one '
        'folder below,'
    )

    def find(self) -> Sequence[Pair]:
        """The pairs by their names.

        Raises:
            DataError: There are none, but lists that name some.
        """
        pairs = _find_pairs(self.root)
        lists = visible_paths(self.root, 'data/nyu2_*.csv')
        if lists and not pairs:
            message = (
                f'{self.root} has the images of {" and ".join(map(str, lists))}; give one of '
                'these lists as split.'
            )
            raise DataError(message)
        return pairs

    def listed(self, split: Path) -> Sequence[Pair]:
        """The pairs of a list.

        Raises:
            DataError: The list is missing, empty or malformed, or a file of it is not there.
        """
        return _read_list(split, self.root)

    def read_depth(self, pair: Pair) -> Float32Array:
        """Millimetres, or 25.5 codes a metre, by the bits of the file."""
        return read_depth_png(
            pair.depth, unit_m=_MILLIMETRE, eight_bit_unit_m=_EIGHT_BIT_RANGE_M / 255.0
        )

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """That of the toolbox."""
        return resize_intrinsics(NYU_INTRINSICS, height=height, width=width)


def _pair(image: Path, depth: Path) -> Pair:
    return Pair(image=image, depth=depth, key=f'{image.parent.name}/{image.stem}')


def _find_pairs(root: Path) -> Sequence[Pair]:
    files = sorted((*visible_paths(root), *visible_paths(root, '*/*')))
    depths = {(path.parent, path.stem): path for path in files if path.suffix.lower() == '.png'}
    pairs, alone = [], []
    for image in files:
        stem = _depth_stem(image)
        if stem is None:
            continue
        depth = depths.get((image.parent, stem))
        if depth is not None:
            pairs.append(_pair(image, depth))
        else:
            alone.append(image)
    if alone:
        _LOG.warning(
            '%d of %d images of %s have no depth PNG beside them and are left out: %s',
            len(alone),
            len(alone) + len(pairs),
            root,
            describe_files(alone),
        )
    return pairs


def _depth_stem(image: Path) -> str | None:
    """The stem of the depth file that belongs to a colour image; None for other files."""
    if image.suffix.lower() not in _COLOUR_ENDINGS:
        return None
    if image.stem.startswith('rgb_'):
        return f'sync_depth_{image.stem.removeprefix("rgb_")}'
    for ending in ('_rgb', '_colors'):
        if image.stem.endswith(ending):
            return f'{image.stem.removesuffix(ending)}_depth'
    return None


def _read_list(split: Path, root: Path) -> Sequence[Pair]:
    csv = '.csv' in split.suffixes
    pairs = []
    for number, line in read_lines(split):
        names = line.replace('\\', '/')  # lists that Windows wrote
        words = names.split(',') if csv else names.split()
        if len(words) not in {2, 3}:
            rule = 'image,depth' if csv else 'image depth [focal]'
            message = f'line {number} of list {split} is {line!r}; a line is {rule!r}.'
            raise DataError(message)
        image, depth = (root / word.strip().lstrip('/') for word in words[:2])
        pairs.append(_pair(image, depth))
    missing = [path for pair in pairs for path in (pair.image, pair.depth) if not path.is_file()]
    if missing:
        message = (
            f'{len(missing)} files of list {split} are not under {root}, first: {missing[0]}; '
            'complete the data set or shorten the list.'
        )
        raise DataError(message)
    return pairs
