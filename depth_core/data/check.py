# SPDX-License-Identifier: Apache-2.0
"""What a data set holds: how many images, which have depth, how far it reaches, how it looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Uint8Array
from depth_core.data.ground_truth import PLAUSIBLE_M, WithGroundTruth
from depth_core.data.remarks import remarks_of
from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import DataError, DepthError
from depth_core.files import replaced_atomically
from depth_core.preview import colour_depth, scale_of_range

PERCENTILES: Final = (0.0, 1.0, 50.0, 99.0, 100.0)
"""Of the depths that are told."""

_TILE_WIDTH: Final = 320
_SHEET_COLUMNS: Final = 2
_GAP: Final = 4
_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found; depths are metres of the samples that were read."""

    images: int
    with_depth: int
    missing: str
    """Where depth of the others is looked for; empty when none is missing."""
    read: int
    """Samples that were read."""
    failed: Sequence[str]
    """Why others could not be read."""
    sizes: Sequence[tuple[str, int]]
    """Height x width of the samples that were read, and how many have it."""
    depth_m: Sequence[float]
    """At `PERCENTILES`; empty when nothing that was read has depth."""
    valid_share: float
    """Pixels with depth of all pixels that were read."""
    noted: Sequence[str]
    """What the data set says is missing."""
    focal_px: tuple[float, float] | None
    """Smallest and largest fx; None = not known."""
    sheet: Uint8Array | None
    """[H, W, 3] RGB: images beside their depth; None when nothing could be read."""

    @property
    def remarks(self) -> list[str]:
        """What is wrong or doubtful."""
        found = []
        if self.failed:  # first, as it says what is damaged
            reasons = list(dict.fromkeys(self.failed))[:_NAMED]
            shown = '; '.join(reason.rstrip('.') for reason in reasons)
            found.append(f'{len(self.failed)} samples cannot be read: {shown}')
        if self.with_depth < self.images:
            lost = self.images - self.with_depth
            found.append(f'{lost} of {self.images} images have no depth; {self.missing}')
        if self.read and self.with_depth and not self.depth_m:
            found.append('the depth that was read holds no value: check files and calibration')
        if self.depth_m and not PLAUSIBLE_M[0] <= self.depth_m[2] <= PLAUSIBLE_M[1]:
            found.append(
                f'the median depth is {self.depth_m[2]:g} m, which is no usual distance: check '
                'the unit (depth_unit_m is 0.001 for millimetres)'
            )
        if self.read and self.focal_px is None:
            found.append('the camera is not known: the samples have no intrinsics')
        return [*found, *self.noted]

    @property
    def is_usable(self) -> bool:
        """Whether something has depth and nothing that was read is damaged."""
        return bool(self.with_depth) and bool(self.depth_m) and not self.failed


def check_dataset(dataset: DepthDataset, *, samples: int) -> Findings:
    """Count what a data set has, and read some samples, evenly spaced.

    Args:
        dataset: The data set, open.
        samples: How many to read at most of those with depth, and of those without: an image that
            is damaged is found there too.
    """
    total = len(dataset)
    has = [not isinstance(dataset, WithGroundTruth) or dataset.has_depth(i) for i in range(total)]
    missing = ''
    if isinstance(dataset, WithGroundTruth) and not all(has):
        missing = dataset.depth_looked_for()
    tried, others = (
        [_tried(dataset, index) for index in _spaced(np.flatnonzero(chosen), samples)]
        for chosen in (np.array(has), ~np.array(has))
    )
    failed = [item for item in (*tried, *others) if isinstance(item, str)]
    seen = [item for item in (*tried, *others) if isinstance(item, Sample)]
    read = [item for item in tried if isinstance(item, Sample)] or seen
    depths = [_depths(sample) for sample in read]
    values = np.concatenate(depths) if depths else np.empty(0, np.float32)
    focals = [float(sample.intrinsics[0, 0]) for sample in read]
    known = [focal for focal in focals if np.isfinite(focal)]
    sizes = Counter(f'{sample.depth_m.shape[0]}x{sample.depth_m.shape[1]}' for sample in read)
    pixels = sum(sample.depth_m.numel() for sample in read)
    return Findings(
        images=total,
        with_depth=sum(has),
        missing=missing,
        read=len(seen),
        failed=failed,
        sizes=sizes.most_common(),
        depth_m=[float(item) for item in np.percentile(values, PERCENTILES)]
        if len(values)
        else [],
        valid_share=len(values) / pixels if pixels else 0.0,
        noted=remarks_of(dataset),
        focal_px=(min(known), max(known)) if known else None,
        sheet=_contact_sheet(read, values),
    )


def _spaced(indices: NDArray[np.intp], most: int) -> list[int]:
    """At most so many of them, at even distances."""
    chosen: list[int] = indices[:: -(-indices.size // most) or 1].tolist()
    return chosen


def _tried(dataset: DepthDataset, index: int) -> Sample | str:
    """A sample, or why it cannot be read."""
    try:
        return dataset[index]
    except DepthError as error:
        return str(error)


def save_sheet(path: Path, sheet: Uint8Array) -> None:
    """Write a contact sheet as PNG.

    Raises:
        DepthError: It cannot be written.
    """
    done, encoded = cv2.imencode('.png', cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        message = f'contact sheet {path} of {sheet.shape[0]}x{sheet.shape[1]} cannot be encoded.'
        raise DataError(message)
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _depths(sample: Sample) -> NDArray[np.float32]:
    values: NDArray[np.float32] = sample.depth_m[sample.valid].numpy()
    return values


def _contact_sheet(samples: Sequence[Sample], values: NDArray[np.float32]) -> Uint8Array | None:
    """Images beside their depth, in one scale for all; None without samples."""
    if not samples:
        return None
    near, far = np.percentile(values, (2.0, 98.0)) if len(values) else (1.0, 10.0)
    scale = scale_of_range((float(near), float(max(far, near * 1.1))))
    tiles = []
    for sample in samples:
        image = (sample.image.permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
        depth_m = np.where(sample.valid.numpy(), sample.depth_m.numpy(), np.nan)
        size = (_TILE_WIDTH, max(1, round(image.shape[0] * _TILE_WIDTH / image.shape[1])))
        # Lidar points would vanish between the pixels that are picked: they are spread first.
        spread = _spread(depth_m.astype(np.float32), max(1, image.shape[1] // _TILE_WIDTH))
        tiles.append(
            _beside(
                (
                    cv2.resize(image, size, interpolation=cv2.INTER_AREA),
                    cv2.resize(colour_depth(spread, scale), size, interpolation=cv2.INTER_NEAREST),
                )
            )
        )
    return _tiled(tiles)


def _spread(depth_m: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Give each pixel the nearest depth of a square around it."""
    filled = np.where(np.isfinite(depth_m), depth_m, np.float32(np.inf))
    eroded = cv2.erode(filled, np.ones((side, side), np.uint8))
    spread: NDArray[np.float32] = np.where(np.isfinite(eroded), eroded, np.float32(np.nan))
    return spread


def _beside(planes: tuple[cv2.typing.MatLike, ...]) -> Uint8Array:
    return np.asarray(np.hstack(planes), np.uint8)


def _tiled(tiles: Sequence[Uint8Array]) -> Uint8Array:
    rows = [
        tiles[first : first + _SHEET_COLUMNS] for first in range(0, len(tiles), _SHEET_COLUMNS)
    ]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    width = 2 * _TILE_WIDTH + _GAP
    sheet = np.full((sum(heights) + _GAP * len(rows), width * _SHEET_COLUMNS, 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = column * width
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        top += height + _GAP
    return sheet
