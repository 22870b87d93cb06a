# SPDX-License-Identifier: Apache-2.0
"""Which part of the image is seen, and at which size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from depth_core.data.sample import Sample
from depth_core.data.transforms.base import NO_LABEL, draw_int, map_images
from depth_core.data.transforms.canonical import mean_focal_px, scale_distances
from depth_core.errors import ConfigError, DataError
from depth_core.metrics import PROTOCOLS

KB_WINDOW: Final = PROTOCOLS['kitti_window_garg_80m'].window or (0, 0)
"""(height, width) of the bottom-centre window of the KITTI benchmark, shared with the protocol."""

_NYU_SIZE: Final = (480, 640)
_NYU_ROWS: Final = (45, 472)
_NYU_COLUMNS: Final = (43, 608)


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize to `height` x `width`.

    Images are averaged over the area of the new pixel (bilinear with antialias). Depth, validity
    and labels take the nearest pixel: a depth between an object and its background belongs to
    nothing. Pixel centres are at integers, so the principal point moves by
    (c + 0.5) s - 0.5.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size('resize to', self.height, self.width)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the resized sample; draws nothing."""
        del generator
        old_height, old_width = sample.depth_m.shape
        size = [self.height, self.width]
        scale_y, scale_x = self.height / old_height, self.width / old_width
        intrinsics = sample.intrinsics.clone()
        intrinsics[0] *= scale_x
        intrinsics[1] *= scale_y
        intrinsics[0, 2] += 0.5 * scale_x - 0.5
        intrinsics[1, 2] += 0.5 * scale_y - 0.5

        def nearest(values: Tensor) -> Tensor:
            picked: Tensor = tv.resize(values[None], size, InterpolationMode.NEAREST_EXACT)
            return picked[0]

        def smooth(images: Tensor) -> Tensor:
            mean: Tensor = tv.resize(images, size, InterpolationMode.BILINEAR, antialias=True)
            return mean.clamp(0.0, 1.0)

        return replace(
            map_images(sample, smooth, nearest),
            valid=nearest(sample.valid.to(torch.uint8)).to(torch.bool),
            intrinsics=intrinsics,
        )


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cut the window that starts at row `top` and column `left`."""

    top: int
    left: int
    height: int
    width: int

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the window; draws nothing."""
        del generator
        return _crop(sample, self.top, self.left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class CenterCrop:
    """Cut the window of `height` x `width` in the middle, rounded towards the top left."""

    height: int
    width: int

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the window; draws nothing."""
        del generator
        rows, columns = sample.depth_m.shape
        top, left = (rows - self.height) // 2, (columns - self.width) // 2
        return _crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class BottomCentreCrop:
    """Cut the window of `height` x `width` at the bottom, in the middle across.

    The default is the window of the KITTI depth benchmark (352 x 1216), which BTS, AdaBins,
    NeWCRFs, ZoeDepth and URCDC-Depth cut from every image of KITTI: lidar sees nothing above it.
    """

    height: int = KB_WINDOW[0]
    width: int = KB_WINDOW[1]

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the window; draws nothing."""
        del generator
        rows, columns = sample.depth_m.shape
        top, left = rows - self.height, (columns - self.width) // 2
        return _crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """Cut a window of `height` x `width` at a place drawn uniformly."""

    height: int
    width: int

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return a window; draws its place."""
        rows, columns = sample.depth_m.shape
        _check_window((0, 0), (self.height, self.width), (rows, columns))
        top = draw_int(rows - self.height + 1, generator)
        left = draw_int(columns - self.width + 1, generator)
        return _crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class RandomZoom:
    """Cut a window of the shape `height` x `width` and bring it to that size.

    The largest such window is divided by a zoom drawn from [1, largest], equally likely on a
    logarithmic scale, and stands at a place drawn uniformly. Focal lengths grow with the zoom and
    depth does not change, as with the lens of a camera that stands still.
    """

    height: int
    width: int
    largest: float

    def __post_init__(self) -> None:
        _check_size('zoom to', self.height, self.width)
        if not 1.0 <= self.largest < math.inf:
            message = f'largest={self.largest} is no zoom; give at least 1.'
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return a window; draws zoom and place."""
        rows, columns = sample.depth_m.shape
        share = float(torch.rand((), generator=generator, dtype=torch.float64))
        scale = min(rows / self.height, columns / self.width) / self.largest**share
        height = min(max(round(scale * self.height), 1), rows)
        width = min(max(round(scale * self.width), 1), columns)
        top = draw_int(rows - height + 1, generator)
        left = draw_int(columns - width + 1, generator)
        window = _crop(sample, top, left, height, width)
        return Resize(height=self.height, width=self.width)(window, generator)


@dataclass(frozen=True, kw_only=True)
class RandomScale:
    """Enlarge or shrink the picture about a random place by a factor from [low, high].

    The sample keeps its size: enlarged, a window of it is seen; shrunk, it stands on black whose
    depth is unknown. `depth` says what stays true. `keep`: depth stays and focal lengths are
    multiplied by the factor, as with another lens. `divide`: depth is divided by it and focal
    lengths stay, as if all were nearer (Eigen et al. 2014).
    """

    low: float = 1.0
    high: float = 1.5
    depth: Literal['keep', 'divide'] = 'keep'

    def __post_init__(self) -> None:
        if not 0.0 < self.low <= self.high < math.inf:
            message = f'factors from {self.low} to {self.high} are no range; give 0 < low <= high.'
            raise ConfigError(message)
        if self.depth not in {'keep', 'divide'}:
            message = f'depth is {self.depth!r}; give keep or divide.'
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the scaled sample; draws factor and place."""
        rows, columns = sample.depth_m.shape
        share = float(torch.rand((), generator=generator, dtype=torch.float64))
        factor = self.low * (self.high / self.low) ** share
        if factor >= 1.0:
            height, width = (max(1, round(side / factor)) for side in (rows, columns))
        else:
            height, width = (max(1, round(side * factor)) for side in (rows, columns))
        top = draw_int(rows - height + 1, generator)
        left = draw_int(columns - width + 1, generator)
        if factor >= 1.0:
            window = _crop(sample, top, left, height, width)
            scaled = Resize(height=rows, width=columns)(window, generator)
        else:
            small = Resize(height=height, width=width)(sample, generator)
            scaled = _on_black(small, top, left, rows, columns)
        if self.depth == 'keep':
            return scaled
        nearer = mean_focal_px(sample.intrinsics) / mean_focal_px(scaled.intrinsics)
        shrunk = scale_distances(scaled, torch.where(nearer.isfinite(), nearer, 1.0 / factor))
        intrinsics = scaled.intrinsics.clone()
        intrinsics[:2, :2] = sample.intrinsics[:2, :2]
        return replace(shrunk, intrinsics=intrinsics)


@dataclass(frozen=True, kw_only=True)
class MaskBorder:
    """Forget the depth in the border of NYU, where colour and depth image do not overlap.

    Depth outside rows 45 to 471 and columns 43 to 607 of 480 x 640 becomes unknown, the image
    stays (NeWCRFs, URCDC-Depth). In images of another size the same share of rows and columns
    is forgotten, rounded so that no row or column of the border is kept in part.
    """

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample without depth in the border; draws nothing."""
        del generator
        rows, columns = sample.depth_m.shape
        inside = torch.zeros_like(sample.valid)
        top, bottom = _scaled(_NYU_ROWS, rows, _NYU_SIZE[0])
        left, right = _scaled(_NYU_COLUMNS, columns, _NYU_SIZE[1])
        inside[top:bottom, left:right] = True
        unknown = torch.full_like(sample.depth_m, torch.nan)
        return replace(
            sample,
            depth_m=torch.where(inside, sample.depth_m, unknown),
            valid=sample.valid & inside,
        )


def _scaled(bounds: tuple[int, int], side: int, native: int) -> tuple[int, int]:
    """First index and end of what lies wholly inside `bounds` after resizing to `side`."""
    return -(-bounds[0] * side // native), bounds[1] * side // native


def _crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    rows, columns = sample.depth_m.shape
    _check_window((top, left), (height, width), (rows, columns))

    def window(values: Tensor) -> Tensor:
        return values[..., top : top + height, left : left + width]

    intrinsics = sample.intrinsics.clone()
    intrinsics[0, 2] -= left
    intrinsics[1, 2] -= top
    return replace(
        map_images(sample, window, window), valid=window(sample.valid), intrinsics=intrinsics
    )


def _on_black(sample: Sample, top: int, left: int, rows: int, columns: int) -> Sample:
    """Put the picture at a place of a larger black one, about whose depth nothing is known."""
    height, width = sample.depth_m.shape
    around = [left, columns - left - width, top, rows - top - height]

    def pad(values: Tensor, fill: float) -> Tensor:
        return torch.nn.functional.pad(values, around, value=fill)

    intrinsics = sample.intrinsics.clone()
    intrinsics[0, 2] += left
    intrinsics[1, 2] += top
    return replace(
        map_images(
            sample,
            lambda images: pad(images, 0.0),
            lambda values: pad(values, torch.nan if values.is_floating_point() else NO_LABEL),
        ),
        valid=pad(sample.valid, 0.0),
        intrinsics=intrinsics,
    )


def _check_size(what: str, height: int, width: int) -> None:
    if height < 1 or width < 1:
        message = f'cannot {what} {height}x{width}; give height and width in pixels, at least 1.'
        raise ConfigError(message)


def _check_window(corner: tuple[int, int], size: tuple[int, int], image: tuple[int, int]) -> None:
    (top, left), (height, width), (rows, columns) = corner, size, image
    _check_size('crop to', height, width)
    if top < 0 or left < 0 or top + height > rows or left + width > columns:
        message = (
            f'a crop of {height}x{width} at row {top}, column {left} leaves the image of '
            f'{rows}x{columns}; choose a window inside it, or resize first.'
        )
        raise DataError(message)
