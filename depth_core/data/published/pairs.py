# SPDX-License-Identifier: Apache-2.0
"""What data sets of image and depth files share: a module of theirs names files, unit, camera."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.images import check_size, make_sample, require_folder
from depth_core.data.places import Place
from depth_core.data.sample import Sample
from depth_core.data.text import read_lines
from depth_core.errors import DataError
from depth_core.images import read_image


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its depth."""

    image: Path
    depth: Path
    key: str
    """Where it is within the data set."""


class PairDataset(ABC):
    """Images with depth files; an image whose depth is missing stays, with no valid pixel.

    Args:
        root: Folder of the data set.
        split: List of the keys to take, one a line; all when None.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        DataError: The folder or the list is missing, or holds no image of this layout.
    """

    title: str
    """Its name, for messages."""
    layout: str
    """What a path of an image looks like, for messages."""
    sparse: ClassVar[bool] = False
    """Whether depth is scattered points, which picking pixels would lose when it is resized."""

    def __init__(
        self,
        root: Path | str,
        *,
        split: Path | str | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        check_size(height, width)
        self.root = Path(root)
        require_folder(self.root, self.title)
        self.height, self.width = height, width
        self.pairs = self._found() if split is None else self.listed(Path(split))

    def listed(self, split: Path) -> Sequence[Pair]:
        """The images that a list names, in its order.

        Raises:
            DataError: The list is missing or empty, or names an image that is not there.
        """
        return _chosen(self._found(), split)

    def _found(self) -> Sequence[Pair]:
        pairs = self.find()
        if not pairs:
            message = (
                f'{self.root} holds no image of {self.title}; it must hold {self.layout} and the '
                'like, as the archives of the data set unpack.'
            )
            raise DataError(message)
        return pairs

    @abstractmethod
    def find(self) -> Sequence[Pair]:
        """The images under `root`, sorted."""

    def read_image(self, pair: Pair) -> Uint8Array:
        """[H, W, 3] RGB.

        Raises:
            DataError: The file is missing or damaged.
        """
        return read_image(pair.image)

    @abstractmethod
    def read_depth(self, pair: Pair) -> Float32Array:
        """[H, W] z-depth in metres, NaN = unknown, +inf = sky.

        Raises:
            DataError: The file is damaged or of another kind.
        """

    @abstractmethod
    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics | None:
        """The camera of an image of this size; None where it is not known.

        Raises:
            DataError: Its file is damaged.
        """

    def pose(self, _pair: Pair) -> NDArray[np.float64] | None:
        """The [4, 4] camera-to-world pose of an image, metres; None where it is not known.

        Raises:
            DataError: Its file is damaged.
        """
        return None

    def place(self, index: int) -> Place | None:
        """Where the camera was; a folder of images is a world of its own."""
        pair = self.pairs[index]
        pose = self.pose(pair)
        return None if pose is None else Place(world=str(pair.image.parent), camera_to_world=pose)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = self.read_image(pair)
        height, width = image.shape[:2]
        return make_sample(
            image,
            self.read_depth(pair) if pair.depth.is_file() else None,
            self.camera(pair, height, width),
            key=pair.key,
            height=self.height,
            width=self.width,
            sparse=self.sparse,
        )

    def has_depth(self, index: int) -> bool:
        """Whether the depth file of the image at `index` is there."""
        return self.pairs[index].depth.is_file()

    def depth_looked_for(self) -> str:
        """Which depth file is missing."""
        lost = next(pair.depth for pair in self.pairs if not pair.depth.is_file())
        return f'{lost} is not there; unpack the depth of {self.title} beside its images.'

    def sources(self, index: int) -> tuple[Path, ...]:
        """The files that the sample at `index` is made from."""
        pair = self.pairs[index]
        return (pair.image, pair.depth)


def fixed_camera(
    numbers: tuple[float, float, float, float], *, height: int, width: int
) -> Intrinsics:
    """The camera of fx, fy, cx, cy in pixels."""
    fx, fy, cx, cy = numbers
    return Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy, height=height, width=width)


def without(depth_m: Float32Array, *, from_m: float) -> Float32Array:
    """Depth without the values from `from_m` on, which are codes for 'none'."""
    with np.errstate(invalid='ignore'):
        kept: Float32Array = np.where(depth_m >= from_m, np.float32(np.nan), depth_m)
    return kept


def _chosen(pairs: Sequence[Pair], split: Path) -> Sequence[Pair]:
    by_key = {pair.key: pair for pair in pairs}
    chosen = []
    for number, line in read_lines(split):
        if line not in by_key:
            message = (
                f'line {number} of list {split} names {line!r}, which is not there; a line is the '
                f'path of an image without its ending, as {pairs[0].key}.'
            )
            raise DataError(message)
        chosen.append(by_key[line])
    return chosen
