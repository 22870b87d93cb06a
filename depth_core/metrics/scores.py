# SPDX-License-Identifier: Apache-2.0
"""What is kept of one image, and what is said of a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from depth_core.metrics.boundary import BoundaryMetrics, BoundarySums
from depth_core.metrics.classes import ClassMetrics
from depth_core.metrics.depth import DepthMetrics, DistanceBin, DistanceSums, ErrorSums
from depth_core.metrics.groups import GroupMetrics
from depth_core.metrics.protocols import Protocol
from depth_core.metrics.regions import RegionMetrics, RegionSums
from depth_core.metrics.uncertainty import CalibrationMetrics, CalibrationSums, Sparsification

Align: TypeAlias = Literal[
    'none', 'median', 'lower_median', 'ground_plane', 'sparse', 'affine_inverse'
]
"""How a prediction becomes metres before scoring: as it is; scaled by the image's median ratio,
the mean of the two middle values (monodepth2) or the lower of them (packnet-sfm); scaled by the
ground and the height of the camera, or by a few true depths, which who scores has to find, for it
needs more than depths; or as inverse depth whose scale and shift are fitted to the image by least
squares."""

ALIGNMENTS: Final[tuple[Align, ...]] = get_args(Align)
GIVEN: Final = ('ground_plane', 'sparse')
"""Alignments whose scale is not found from the ground truth that is scored, but given."""


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """Everything kept of one image."""

    key: str
    targets: int
    """Pixels with ground truth that the protocol scores."""
    predicted: int
    """How many of these have an estimate (not NaN)."""
    scale: float
    """Factor the prediction was multiplied by before scoring; NaN when it was not scored."""
    shift: float = 0.0
    """Added after that, to inverse depth; 0 unless both were fitted."""
    sums: ErrorSums | None
    """None when no pixel was scored."""
    distance: DistanceSums | None
    calibration: CalibrationSums | None
    """None when there is no usable sigma."""
    sparsification: Mapping[str, Sparsification] | None
    by_class: Mapping[int, ErrorSums] | None
    """Errors by semantic class; None when no labels were given or no pixel was scored."""
    targets_m: NDArray[np.float32]
    """Quantiles of the scored ground truth, metres: all values when there are few."""
    by_group: Mapping[str, ErrorSums] | None = None
    """Errors on ground, obstacles, thin things and edges; None when no pixel was scored."""
    by_region: RegionSums | None = None
    """Errors by the part of the image; None when no pixel was scored."""
    boundary: BoundarySums | None = None
    """Depth edges found and missed; None where the truth is too sparse to have any."""
    flicker: float | None = None
    """How much depth changed from the image before, beyond the known motion of the camera: median
    of |ln ratio|; None without a neighbour, or where the motion is not known."""


@dataclass(frozen=True, kw_only=True)
class UncertaintyResult:
    """What the sigma of a set is worth."""

    images: int
    """Images with a usable sigma."""
    pixels: int
    """Scored pixels with a usable (finite, positive) sigma."""
    pooled: CalibrationMetrics
    """Calibration over all pixels of the set."""
    nll: float
    """Laplace negative log likelihood, mean over images."""
    calibration_error: float
    """Calibration error within an image, mean over images."""
    sparsification: Mapping[str, Sparsification]
    """Curves and areas, mean over images."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The numbers of a set of images."""

    protocol: Protocol
    align: Align
    images: int
    """Images that were looked at."""
    images_scored: int
    """Images the means are over."""
    images_without_ground_truth: int
    """Images without one pixel of ground truth that the protocol scores; in no mean."""
    images_without_prediction: int
    """Images with ground truth but no usable estimate; in no mean."""
    images_without_scale: int
    """Images with an estimate, but no scale from the ground or sparse depth; in no mean."""
    pixels: int
    """Pixels with ground truth that the protocol scores."""
    coverage: float
    """Fraction of these pixels that have an estimate; NaN when there are none."""
    mean: DepthMetrics | None
    """Mean over the scored images of each image's metrics; None when no image was scored."""
    pooled: DepthMetrics | None
    """Metrics over all scored pixels together."""
    by_distance: tuple[DistanceBin, ...]
    """Errors over all scored pixels by their true depth."""
    by_class: tuple[ClassMetrics, ...]
    """Errors over all scored pixels by their semantic class; empty without labels."""
    by_group: tuple[GroupMetrics, ...] = ()
    """Errors on ground, obstacles and thin things, where there are labels, and at depth edges."""
    by_region: tuple[RegionMetrics, ...] = ()
    """Errors over all scored pixels by the part of the image they lie in."""
    boundary: BoundaryMetrics | None = None
    """Precision and recall of depth edges; None where the truth is too sparse to have any."""
    flicker: float | None = None
    """Mean over the pairs of neighbouring images whose motion is known; None without any."""
    flicker_pairs: int = 0
    """How many pairs that is."""
    class_mean: DepthMetrics | None
    """Mean of the metrics of the classes, each counting alike; None without labels."""
    uncertainty: UncertaintyResult | None
    constant_depth_m: float | None
    """The one depth that has the smallest AbsRel on this very set (seen in hindsight)."""
    constant_mean: DepthMetrics | None
    """Metrics of answering that depth everywhere (with an alignment: each image's median),
    mean over images: what a prediction has to beat."""

    @property
    def headline(self) -> DepthMetrics | None:
        """The metrics the protocol reports: pooled, or the mean over images."""
        return self.pooled if self.protocol.pooled else self.mean
