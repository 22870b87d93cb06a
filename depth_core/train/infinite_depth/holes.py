# SPDX-License-Identifier: Apache-2.0
"""Finds holes: pixels that a network predicts below the ground, where nothing can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.errors import ConfigError
from depth_core.geometry import intrinsics_from_matrix, unproject
from depth_core.models.base import DepthModel
from depth_core.scale import GroundSettings, ScaleState, fit_ground_plane
from depth_core.train.infinite_depth.frames import FrameVerdict

COARSE_GROUND: Final = GroundSettings(tolerance=0.1)
"""Twice the usual tolerance: a network bends the ground where holes are, and what counts is
only what lies clearly below it."""


@dataclass(frozen=True, kw_only=True)
class HoleSettings:
    """What counts as a hole, and how many make a frame be dropped.

    The threshold of 10 pixels is that of the authors (who tested all pixels of 640 x 192), as is
    half a metre. They do not say how their depth, which has no unit, became metres: here the
    height of the camera above the fitted ground does it, frame by frame. A frame without a ground
    is kept: its holes are unknown.
    """

    camera_height_m: float = 1.65
    """Height of the camera above the ground, metres: 1.65 for KITTI."""
    below_m: float = 0.5
    """How far below the ground a pixel is clearly below it, metres."""
    max_pixels: int = 10
    """With more such pixels than this a frame is dropped."""

    def __post_init__(self) -> None:
        problems = [
            f'{key} is {value}; give a number above 0'
            for key, value in (
                ('camera_height_m', self.camera_height_m),
                ('below_m', self.below_m),
            )
            if not 0.0 < value < math.inf
        ]
        if self.max_pixels < 0:
            problems.append(f'max_pixels is {self.max_pixels}; give at least 0')
        if problems:
            raise ConfigError('holes cannot be looked for: ' + '; '.join(problems) + '.')


def count_below(
    depth: Float32Array,
    intrinsics: Intrinsics,
    settings: HoleSettings,
    ground: GroundSettings = COARSE_GROUND,
) -> tuple[int | None, ScaleState]:
    """Count the pixels clearly below the ground.

    Args:
        depth: [H, W] z-depth in any unit.
        intrinsics: The camera, of the same size.
        settings: What counts.
        ground: How the ground is looked for.

    Returns:
        The count, None where no ground was found, and the state of the ground.
    """
    fit = fit_ground_plane(depth, intrinsics, ground)
    if fit.plane is None:
        return None, fit.state
    above = fit.plane.height_above(unproject(depth, intrinsics))
    above_m = above * (settings.camera_height_m / fit.plane.height)
    with np.errstate(invalid='ignore'):
        return int((above_m < -settings.below_m).sum()), fit.state


def judge(
    index: int, key: str, pixels_below: int | None, state: ScaleState, settings: HoleSettings
) -> FrameVerdict:
    """Keep or drop a frame by its count."""
    if pixels_below is None:
        kept, reason = True, f'no ground to compare with: {state}'
    else:
        kept = pixels_below <= settings.max_pixels
        more = 'not more' if kept else 'more'
        reason = (
            f'{pixels_below} pixels over {settings.below_m} m below the ground, '
            f'{more} than {settings.max_pixels}'
        )
    return FrameVerdict(
        index=index,
        key=key,
        pixels_below=pixels_below,
        ground=str(state),
        kept=kept,
        reason=reason,
    )


@torch.no_grad()
def judge_frames(
    model: DepthModel,
    dataset: DepthDataset,
    settings: HoleSettings,
    *,
    batch_size: int = 8,
    on_frame: Callable[[], None] | None = None,
) -> list[FrameVerdict]:
    """Predict every image of a training set, without augmentation, and judge it.

    Args:
        model: The network of the first stage; it is put in eval mode.
        dataset: The training set.
        settings: What counts.
        batch_size: Images predicted at once.
        on_frame: Called after each frame, for progress.
    """
    model.eval()
    device = next(model.parameters()).device
    verdicts: list[FrameVerdict] = []
    for batch in _batches(dataset, batch_size):
        depths = model(batch.image.to(device)).depth.float().cpu().numpy()
        for row, depth in enumerate(depths):
            camera = intrinsics_from_matrix(
                batch.intrinsics[row].numpy(), height=depth.shape[0], width=depth.shape[1]
            )
            count, state = count_below(depth, camera, settings)
            verdicts.append(judge(len(verdicts), batch.key[row], count, state, settings))
            if on_frame is not None:
                on_frame()
    return verdicts


def _batches(dataset: DepthDataset, size: int) -> Iterator[Sample]:
    for first in range(0, len(dataset), size):
        last = min(first + size, len(dataset))
        yield collate([dataset[index] for index in range(first, last)])
