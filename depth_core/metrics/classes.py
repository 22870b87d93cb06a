# SPDX-License-Identifier: Apache-2.0
"""Depth errors by what is looked at: a thin pole counts as much as all of the road.

A set is mostly road, so that its mean hides what happens to the rest. Here errors are summed for
each Cityscapes class over all images, and the classes are averaged, each counting alike, as in
Guizilini et al., Semantically-Guided Representation Learning, ICLR 2020. (They took the labels
from a semantic network; where the data has labels, those are used.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.metrics.depth import METRIC_NAMES, DepthMetrics, ErrorSums, PixelErrors

CLASS_NAMES: Final = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
    'motorcycle', 'bicycle',
)  # fmt: skip
"""Names of the Cityscapes train ids 0..18."""

ROOM_CLASS_NAMES: Final = ('floor', 'wall or ceiling', 'furniture', 'small thing')
"""Names of the ids 19..22, which rendered rooms have and no network for Cityscapes predicts."""


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """The errors on one class of things."""

    train_id: int
    """Cityscapes train id, or one of those of rooms."""
    name: str
    images: int
    """Images in which it was scored."""
    pixels: int
    """Scored pixels of it in all images."""
    metrics: DepthMetrics
    """Over these pixels together."""


def class_sums(errors: PixelErrors, label: NDArray[np.integer]) -> dict[int, ErrorSums]:
    """Sum the errors of each class.

    Args:
        errors: Of N pixels.
        label: [N] train ids; those outside 0..22 are no class.
    """
    return {
        train_id: errors.sums(np.flatnonzero(label == train_id))
        for train_id in np.unique(label).tolist()
        if 0 <= train_id < len(CLASS_NAMES) + len(ROOM_CLASS_NAMES)
    }


def class_metrics(
    totals: Mapping[int, tuple[int, ErrorSums]],
) -> tuple[ClassMetrics, ...]:
    """Say what the sums of each class come to, by train id.

    Args:
        totals: How many images have the class, and its sums over them; none of those never scored.
    """
    return tuple(
        ClassMetrics(
            train_id=train_id,
            name=name,
            images=totals[train_id][0],
            pixels=int(totals[train_id][1].count),
            metrics=totals[train_id][1].metrics(),
        )
        for train_id, name in enumerate((*CLASS_NAMES, *ROOM_CLASS_NAMES))
        if train_id in totals
    )


def class_mean(classes: Sequence[ClassMetrics]) -> DepthMetrics | None:
    """Mean of each metric over classes, each counting alike; None when there are none."""
    if not classes:
        return None
    values = np.mean([astuple(item.metrics) for item in classes], axis=0).tolist()
    return DepthMetrics(**dict(zip(METRIC_NAMES, values, strict=True)))
