# SPDX-License-Identifier: Apache-2.0
"""Mirroring, turning and rolling the picture, and what that does to camera and poses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from depth_core.data.sample import Sample
from depth_core.data.transforms.base import (
    NO_LABEL,
    check_probability,
    draw_int,
    draw_signed,
    happens,
    map_images,
)
from depth_core.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip:
    """Mirror left and right with a probability.

    The result is what a camera sees in a world mirrored across the plane x = 0 of its own frame:
    column u becomes W - 1 - u, hence cx becomes W - 1 - cx. With S = diag(-1, 1, 1, 1) a pose T
    becomes S T S, for the neighbours too, so that relative poses and the images still agree:
    unprojecting, moving by the new relative pose and projecting stays right.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.probability)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample or its mirror image; draws once."""
        if not happens(self.probability, generator):
            return sample

        def mirror(values: Tensor) -> Tensor:
            return values.flip(-1)

        intrinsics = sample.intrinsics.clone()
        intrinsics[0, 2] = sample.depth_m.shape[-1] - 1.0 - intrinsics[0, 2]
        return replace(
            map_images(sample, mirror, mirror),
            valid=mirror(sample.valid),
            intrinsics=intrinsics,
            pose=_mirror_pose(sample.pose),
            neighbour_poses=_mirror_pose(sample.neighbour_poses),
        )


@dataclass(frozen=True, kw_only=True)
class RandomRotation:
    """Turn the picture about its middle by an angle drawn from [-degrees, degrees].

    As BTS and its descendants do: images bilinear and black outside, depth from the nearest
    pixel and unknown outside (labels: none). Depth values stay, since z does not change when a
    camera rolls. The principal point turns with the picture and all cameras roll, neighbours'
    too; focal lengths stay, which is exact where fx = fy and wrong by |fx - fy| sin(angle)
    otherwise.
    """

    degrees: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.degrees < 90.0:  # noqa: PLR2004  a quarter turn
            message = f'degrees={self.degrees} is outside [0, 90); give the largest turn.'
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the turned sample; draws the angle."""
        angle = math.radians(self.degrees) * draw_signed(1, generator)[0]
        cosine, sine = math.cos(angle), math.sin(angle)
        height, width = sample.depth_m.shape
        middle_x, middle_y = 0.5 * (width - 1), 0.5 * (height - 1)
        device = sample.image.device
        x = torch.arange(width, device=device) - middle_x
        y = (torch.arange(height, device=device) - middle_y)[:, None]
        # Where each pixel of the turned picture comes from: the inverse turn.
        column = cosine * x + sine * y + middle_x
        row = cosine * y - sine * x + middle_y
        grid = torch.stack((column / max(middle_x, 0.5) - 1.0, row / max(middle_y, 0.5) - 1.0), -1)
        nearest_column, nearest_row = column.round().long(), row.round().long()
        inside = (nearest_column >= 0) & (nearest_column < width)
        inside &= (nearest_row >= 0) & (nearest_row < height)
        source = nearest_row.clamp(0, height - 1) * width + nearest_column.clamp(0, width - 1)

        def smooth(images: Tensor) -> Tensor:
            batch = images.reshape(-1, 3, height, width)
            turned = torch.nn.functional.grid_sample(
                batch,
                grid.expand(len(batch), -1, -1, -1),
                padding_mode='border',
                align_corners=True,
            )
            return (turned * inside).reshape(images.shape)

        def pick(values: Tensor) -> Tensor:
            fill = torch.nan if values.is_floating_point() else NO_LABEL
            return torch.where(inside, values.flatten()[source], fill)

        intrinsics = sample.intrinsics.clone()
        off_x, off_y = intrinsics[0, 2] - middle_x, intrinsics[1, 2] - middle_y
        intrinsics[0, 2] = middle_x + cosine * off_x - sine * off_y
        intrinsics[1, 2] = middle_y + sine * off_x + cosine * off_y
        roll = torch.eye(4, device=device)
        roll[:2, :2] = torch.tensor(((cosine, sine), (-sine, cosine)))
        return replace(
            map_images(sample, smooth, pick),
            valid=sample.valid.flatten()[source] & inside,
            intrinsics=intrinsics,
            pose=None if sample.pose is None else sample.pose @ roll,
            neighbour_poses=None
            if sample.neighbour_poses is None
            else sample.neighbour_poses @ roll,
        )


@dataclass(frozen=True, kw_only=True)
class CutFlip:
    """Cut the picture at a row and change places of the two parts (URCDC-Depth).

    With a probability the lowest a rows move to the top, a drawn from int(low H) to int(high H),
    both included: exactly `roll(x, a)` along the rows of image, depth, validity and labels;
    nothing is mirrored. A network then cannot lean on height in the image alone.

    No one camera sees such a picture, so its intrinsics become NaN (unknown) when it is cut; its
    pose stays that of the camera. What needs the camera of a picture, view synthesis above all,
    cannot use it: samples with neighbours are refused.
    """

    probability: float = 0.5
    low: float = 0.2
    high: float = 0.8

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0.0 <= self.low <= self.high <= 1.0:
            message = (
                f'rows from {self.low} to {self.high} of the height are no range; '
                'give 0 <= low <= high <= 1.'
            )
            raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample or the sample cut; draws twice in any case.

        Raises:
            DataError: The sample has neighbouring frames.
        """
        if sample.neighbour_images is not None:
            message = (
                f'sample {sample.key!r} has neighbouring frames, and CutFlip makes pictures that '
                'no one camera sees, so that no frame can be warped into another; train without '
                'CutFlip (cutflip_probability 0), or without neighbours.'
            )
            raise DataError(message)
        cut = happens(self.probability, generator)
        height = sample.depth_m.shape[0]
        lowest, highest = int(self.low * height), int(self.high * height)
        rows = lowest + draw_int(highest - lowest + 1, generator)
        if not cut:
            return sample

        def roll(values: Tensor) -> Tensor:
            return values.roll(rows, dims=-2)

        return replace(
            map_images(sample, roll, roll),
            valid=roll(sample.valid),
            intrinsics=torch.full_like(sample.intrinsics, torch.nan),
        )


def _mirror_pose(pose: Tensor | None) -> Tensor | None:
    if pose is None:
        return None
    sign = pose.new_tensor((-1.0, 1.0, 1.0, 1.0))
    return pose * sign[:, None] * sign
