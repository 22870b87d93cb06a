# SPDX-License-Identifier: Apache-2.0
"""A small batch of sequences for the tests of training without depth."""

from __future__ import annotations

import torch

from depth_core.data.sample import Sample

HEIGHT, WIDTH = 64, 64


def sequence_batch() -> Sample:
    """Two frames of noise, each with the ones before and after; the speed of one is known."""
    generator = torch.Generator().manual_seed(0)
    depth_m = 2.0 + 40.0 * torch.rand(2, HEIGHT, WIDTH, generator=generator)
    camera = torch.tensor([[60.0, 0.0, 31.5], [0.0, 60.0, 31.5], [0.0, 0.0, 1.0]])
    return Sample(
        image=torch.rand(2, 3, HEIGHT, WIDTH, generator=generator),
        depth_m=depth_m,
        valid=torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool),
        intrinsics=camera.expand(2, 3, 3),
        key=('a', 'b'),
        neighbour_images=torch.rand(2, 2, 3, HEIGHT, WIDTH, generator=generator),
        neighbour_dt_s=torch.tensor([[-0.1, 0.1], [-0.1, 0.1]]),
        speed_mps=torch.tensor([10.0, torch.nan]),
    )
