# SPDX-License-Identifier: Apache-2.0
"""What training without depth takes from a batch of sequences."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError


def neighbours_of(
    sample: Sample, pose_network: str, *, expected: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The neighbours of a batch, the seconds to each, and whether each is the earlier frame.

    Args:
        sample: A batch.
        pose_network: Name of the network that is shown them; some look at the order.
        expected: How many neighbours posenet was built for.

    Returns:
        [B, N, 3, H, W] RGB, [B, N] seconds (NaN = unknown) and [B, N] bool.

    Raises:
        ConfigError: There are more or fewer neighbours than `expected`.
        DataError: There are none, or their order is unknown to a network that looks at it.
    """
    images, dt_s = sample.neighbour_images, sample.neighbour_dt_s
    if images is None or dt_s is None:
        message = (
            f'sample {sample.key[0]} has no neighbouring frames, and training without depth needs '
            'some; give data.train.options.neighbours, as [-1, 1], for a data set of sequences.'
        )
        raise DataError(message)
    if pose_network == 'posenet' and images.shape[1] != expected:
        message = (
            f'data.train.options.neighbours names {images.shape[1]} frames, and '
            f'recipe.neighbours is {expected}; give recipe.neighbours {images.shape[1]}, or '
            f'{expected} offsets.'
        )
        raise ConfigError(message)
    earlier = sample.neighbours_earlier()
    if earlier is None:
        if pose_network.startswith('monodepth2'):
            message = (
                f'the order of sample {sample.key[0]} and its neighbours is unknown, and '
                f'{pose_network} is shown two frames in their order; give a data set '
                'with time stamps, or pose_network posenet or poseresnet18.'
            )
            raise DataError(message)
        earlier = torch.zeros_like(dt_s, dtype=torch.bool)  # the others do not look at it
    return images, dt_s, earlier


def distance_m(sample: Sample, dt_s: Tensor) -> Tensor:
    """How far the camera went to each neighbour, [B, N]; NaN where speed or time is unknown.

    Raises:
        DataError: The data set has no speeds.
    """
    if sample.speed_mps is None:
        message = (
            f'sample {sample.key[0]} has no speed, and recipe.velocity_weight needs it; give a '
            'data set with odometry, or velocity_weight 0.'
        )
        raise DataError(message)
    return sample.speed_mps.view(len(dt_s), -1) * dt_s.abs()
