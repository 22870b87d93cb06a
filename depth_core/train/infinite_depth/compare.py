# SPDX-License-Identifier: Apache-2.0
"""Compares both networks on the held-out images: what the second stage gains, and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from depth_core.data.sample import DepthDataset, collate
from depth_core.data.synthetic import Pace, SyntheticDataset
from depth_core.metrics import DepthMetrics
from depth_core.models.base import DepthModel
from depth_core.train.recipes.depth import scores_for

_HOLE: Final = 2.0
"""A pixel predicted this many times too far lies in a hole."""


@dataclass(frozen=True, kw_only=True)
class MovingError:
    """Errors on what moves with the camera, over all images; depth scaled image by image."""

    pixels: int
    abs_rel: float
    """mean |p - t| / t."""
    bias: float
    """mean (p - t) / t: holes make it large."""
    holes: float
    """Share of these pixels predicted more than twice too far."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The numbers of one network."""

    mean: DepthMetrics | None
    """Mean over images; None when none could be scored."""
    by_class: Mapping[str, float]
    """AbsRel of each semantic class, where the data has labels."""
    with_camera: MovingError | None
    """On what drives as fast as the camera; None where the data does not state it, or has none."""


@torch.no_grad()
def compare(
    model: DepthModel, dataset: DepthDataset, *, on_image: Callable[[], None] | None = None
) -> Comparison:
    """Score a network on held-out images; depth up to scale is median-scaled.

    Only synthetic streets state what moves with the camera.

    Args:
        model: It is put in eval mode, and computes where it is.
        dataset: Held-out images, not from a cache.
        on_image: Called after each image, for progress.
    """
    scores = scores_for(model.spec)
    model.eval()
    device = next(model.parameters()).device
    relative: list[NDArray[np.float64]] = []
    for index in range(len(dataset)):
        sample = dataset[index]
        prediction = model(collate([sample]).image.to(device))
        depth = prediction.depth[0].float().cpu().numpy()
        target_m, valid = sample.depth_m.numpy(), sample.valid.numpy()
        score = scores.update(
            depth,
            target_m,
            valid,
            key=str(sample.key),
            semantic=None if sample.semantic is None else sample.semantic.numpy(),
        )
        if isinstance(dataset, SyntheticDataset):
            chosen = (dataset.pace(index).numpy() == Pace.WITH_CAMERA) & valid
            error = depth[chosen].astype(np.float64) * score.scale / target_m[chosen] - 1.0
            relative.append(error)
        if on_image is not None:
            on_image()
    result = scores.result()
    return Comparison(
        mean=result.mean,
        by_class={item.name: item.metrics.abs_rel for item in result.by_class},
        with_camera=_moving(np.concatenate(relative)) if relative else None,
    )


def content(comparison: Comparison) -> dict[str, object]:
    """The same as plain values, for JSON."""
    return dataclasses.asdict(comparison)


def _moving(relative: NDArray[np.float64]) -> MovingError | None:
    if not relative.size:
        return None
    return MovingError(
        pixels=relative.size,
        abs_rel=float(np.abs(relative).mean()),
        bias=float(relative.mean()),
        holes=float((relative > _HOLE - 1.0).mean()),
    )
