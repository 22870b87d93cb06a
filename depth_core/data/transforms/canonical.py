# SPDX-License-Identifier: Apache-2.0
"""Depth as a camera of another focal length would have to see it for the same picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Generator, Tensor

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError

_NAMED: Final = 3
"""Samples without intrinsics that a message names."""


def mean_focal_px(intrinsics: Tensor) -> Tensor:
    """Mean of fx and fy of [..., 3, 3] camera matrices, [...] pixels; NaN where unknown."""
    return (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2.0


@dataclass(frozen=True, kw_only=True)
class CanonicalFocal:
    """Bring depth to a camera of `focal_px`: metres times focal_px over the sample's own.

    An object twice as far in an image of twice the focal length is as large in pixels, so that a
    network that does not know the focal length can state this depth and not metres (Metric3D, Yin
    et al., 2023). Positions of the cameras and their speed are scaled alike, so that geometry
    between frames still holds. Infinite depth stays infinite, and the picture and its intrinsics
    stay as they are; `metres_per_canonical` turns the answer back.
    """

    focal_px: float

    def __post_init__(self) -> None:
        if not 0.0 < self.focal_px < math.inf:
            message = f'a canonical focal length of {self.focal_px} px is none; give more than 0.'
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with scaled distances; draws nothing.

        Raises:
            DataError: The sample has no intrinsics.
        """
        del generator
        return scale_distances(sample, 1.0 / metres_per_canonical(sample, self.focal_px))


def scale_distances(sample: Sample, factor: Tensor) -> Sample:
    """Multiply depth, positions of the cameras and their speed; the picture stays."""
    return replace(
        sample,
        depth_m=sample.depth_m * factor,
        pose=_scaled(sample.pose, factor),
        neighbour_poses=_scaled(sample.neighbour_poses, factor),
        speed_mps=None if sample.speed_mps is None else sample.speed_mps * factor,
    )


def metres_per_canonical(sample: Sample, focal_px: float) -> Tensor:
    """What canonical depth of a sample is multiplied by to be metres: its focal over `focal_px`.

    Args:
        sample: One, or a batch.
        focal_px: The canonical focal length, pixels.

    Returns:
        [] or [B] float32.

    Raises:
        DataError: A sample has no intrinsics; it is named.
    """
    own_px = mean_focal_px(sample.intrinsics)
    usable = torch.isfinite(own_px) & (own_px > 0.0)
    if not bool(usable.all()):
        keys = (sample.key,) if isinstance(sample.key, str) else sample.key
        known = usable.reshape(-1).tolist()
        without = [key for key, has_one in zip(keys, known, strict=True) if not has_one]
        message = (
            f'{", ".join(without[:_NAMED])}: no focal length is known, so that depth cannot be '
            f'brought to canonical_focal_px {focal_px:g}; give the intrinsics of every image, or '
            'leave data.canonical_focal_px out.'
        )
        raise DataError(message)
    return own_px / focal_px


def _scaled(pose: Tensor | None, factor: Tensor) -> Tensor | None:
    """Scale the positions of [..., 4, 4] poses."""
    if pose is None:
        return None
    scaled = pose.clone()
    scaled[..., :3, 3] *= factor
    return scaled
