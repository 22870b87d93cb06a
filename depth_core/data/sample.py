# SPDX-License-Identifier: Apache-2.0
"""What every dataset gives: one image with what is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.geometry import crop_intrinsics, intrinsics_from_matrix

_CLEAN: Final = {'clean_image': 'image', 'clean_neighbour_images': 'neighbour_images'}
"""Fields that stand for another one unless they are given."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and its ground truth; batched, every tensor gains a leading axis B.

    Camera frames are optical: x right, y down, z forward. Sky has depth +inf and is not valid;
    a pixel nothing is known about has depth NaN and is not valid.
    """

    image: Tensor
    """[3, H, W] float32 RGB in [0, 1]; uint8 where it is read to be scored (`sample_to_score`)."""
    depth_m: Tensor
    """[H, W] float32 z-depth in metres; NaN = unknown, +inf = sky."""
    valid: Tensor
    """[H, W] bool, True where the depth may be scored or trained on."""
    intrinsics: Tensor
    """[3, 3] float32 camera matrix in pixels of this image, pixel centres at integers."""
    key: str | tuple[str, ...]
    """Where the sample came from, unique in its dataset; a tuple when batched."""
    pose: Tensor | None = None
    """[4, 4] float32 camera-to-world transform, metres."""
    semantic: Tensor | None = None
    """[H, W] int64 Cityscapes train ids 0..18, 255 = none."""
    scene_class: Tensor | None = None
    """[] int64 index of the scene class of the dataset."""
    neighbour_images: Tensor | None = None
    """[N, 3, H, W] float32 RGB of the neighbouring frames, in the order asked for."""
    neighbour_poses: Tensor | None = None
    """[N, 4, 4] float32 camera-to-world transforms of the neighbouring frames."""
    neighbour_dt_s: Tensor | None = None
    """[N] float32 signed seconds from this frame to each neighbour; NaN = unknown."""
    neighbour_offsets: Tensor | None = None
    """[N] int64 signed number of frames to each neighbour, known even where the time is not; None
    = not given, the order is that of `neighbour_dt_s`."""
    clean_image: Tensor | None = None
    """[3, H, W] the image before its colours were changed; None = they were not."""
    clean_neighbour_images: Tensor | None = None
    """[N, 3, H, W] the neighbours before their colours were changed; None = they were not."""
    speed_mps: Tensor | None = None
    """[] or [N] float32 speed of the camera, metres a second, or its mean speed on the way to
    each neighbour; NaN = unknown."""
    domain: Tensor | None = None
    """[] int64 index of its domain, which of several heads of a network it is for."""
    part: Tensor | None = None
    """[] int64 number of the data set within a mix of several, from 0."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Sample:
        """Return the sample with every tensor on `device`."""
        moved: dict[str, Any] = {
            item.name: value.to(device, non_blocking=non_blocking)
            if isinstance(value := getattr(self, item.name), Tensor)
            else value
            for item in fields(self)
        }
        return Sample(**moved)

    def neighbours_earlier(self) -> Tensor | None:
        """Which neighbours were taken before this frame, [N] or [B, N] bool; None = unknown."""
        if self.neighbour_offsets is not None:
            return self.neighbour_offsets < 0
        if self.neighbour_dt_s is None or bool(self.neighbour_dt_s.isnan().any()):
            return None
        return self.neighbour_dt_s < 0.0

    def split(self, parts: int) -> tuple[Sample, ...]:
        """Part a batch into `parts` batches of equal size, which must divide its own."""
        if parts == 1:
            return (self,)
        size = len(self.key) // parts
        cuts = [slice(first, first + size) for first in range(0, len(self.key), size)]
        given = {name: value for name, value in vars(self).items() if value is not None}
        columns: list[dict[str, Any]] = [
            {name: value[cut] for name, value in given.items()} for cut in cuts
        ]
        return tuple(Sample(**column) for column in columns)


def known_camera(
    sample: Sample, window: tuple[slice, slice] = (slice(None), slice(None))
) -> Intrinsics | None:
    """The camera of a window of a sample, rows and columns; None where it is not known."""
    height, width = sample.depth_m.shape
    matrix = sample.intrinsics.cpu().numpy()
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0.0 and matrix[1, 1] > 0.0):
        return None
    (top, bottom, _), (left, right, _) = (
        part.indices(side) for part, side in zip(window, (height, width), strict=True)
    )
    return crop_intrinsics(
        intrinsics_from_matrix(matrix, height=height, width=width),
        top=top,
        left=left,
        height=bottom - top,
        width=right - left,
    )


@runtime_checkable
class DepthDataset(Protocol):
    """A sequence of samples, random access, a pure function of the index."""

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`."""


@runtime_checkable
class FromFiles(Protocol):
    """A data set that says which files a sample is made from."""

    def sources(self, index: int) -> Sequence[Path]:
        """The files of the sample at `index`, those too that would change it if they appeared."""


def sources_of(dataset: object, index: int) -> Sequence[Path]:
    """The files that a sample of any data set is made from; none where it does not say."""
    return dataset.sources(index) if isinstance(dataset, FromFiles) else ()


def collate(samples: Sequence[Sample]) -> Sample:
    """Stack samples of equal size into a batch; a field that any sample lacks is None.

    A clean copy that only some samples have is filled up with the images of the others, whose
    colours were not changed.
    """
    columns: dict[str, Any] = {}
    for item in fields(Sample):
        values = [getattr(sample, item.name) for sample in samples]
        if item.name in _CLEAN and any(value is not None for value in values):
            values = [
                getattr(sample, _CLEAN[item.name]) if value is None else value
                for sample, value in zip(samples, values, strict=True)
            ]
        if item.name == 'key':
            columns[item.name] = tuple(str(value) for value in values)
        elif any(value is None for value in values):
            columns[item.name] = None
        else:
            columns[item.name] = torch.stack(values)
    return Sample(**columns)


@runtime_checkable
class ReadsExactly(Protocol):
    """A data set that can give what it read before a sample for training is made of it."""

    def exactly(self, index: int) -> Sample:
        """The sample at `index` with its camera in float64 and its image in uint8, 0 to 255."""


def sample_to_score(dataset: DepthDataset, index: int) -> Sample:
    """Read a sample to evaluate, as exactly as the data set has it.

    Depth that goes by the focal length is then that of a node, to the last bit, and the bytes of
    an image are not made floats that are made bytes again.
    """
    return dataset.exactly(index) if isinstance(dataset, ReadsExactly) else dataset[index]
