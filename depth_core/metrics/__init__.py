# SPDX-License-Identifier: Apache-2.0
"""Depth metrics, uncertainty metrics and the named evaluation protocols, in NumPy alone.

The one implementation that training, evaluation and bag evaluation share. Its rules:

* A pixel is scored when its ground truth is valid, strictly inside the depth range of the
  protocol and inside its crop. NaN or 0 in the ground truth means no ground truth there.
* A predicted +inf (beyond the range, REP-117) counts as the largest depth of the protocol, -inf
  as the smallest; finite predictions are clamped to that range.
* A predicted NaN is no estimate: the pixel is left out, and `Evaluation.coverage` says how often.
* An image without a scored pixel is counted and takes no part in any mean.
"""

from __future__ import annotations

from depth_core.metrics.accumulator import MetricAccumulator
from depth_core.metrics.boundary import BoundaryMetrics, BoundarySums
from depth_core.metrics.classes import CLASS_NAMES, ClassMetrics
from depth_core.metrics.depth import (
    DISTANCE_EDGES_M,
    METRIC_NAMES,
    DepthMetrics,
    DistanceBin,
    DistanceSums,
    ErrorSums,
    best_constant_depth,
    depth_metrics,
)
from depth_core.metrics.groups import GROUP_CLASSES, GroupMetrics
from depth_core.metrics.protocols import PROTOCOLS, Crop, Protocol, find_protocol
from depth_core.metrics.regions import RegionMetrics, RegionSums
from depth_core.metrics.scores import (
    ALIGNMENTS,
    GIVEN,
    Align,
    Evaluation,
    ImageScore,
    UncertaintyResult,
)
from depth_core.metrics.totals import Totals, mean_metrics
from depth_core.metrics.uncertainty import (
    RELIABILITY_BINS,
    SPARSIFICATION_METRICS,
    SPARSIFICATION_STEPS,
    CalibrationMetrics,
    CalibrationSums,
    Sparsification,
    calibration_sums,
    sparsification_curves,
)

__all__ = [
    'ALIGNMENTS',
    'CLASS_NAMES',
    'DISTANCE_EDGES_M',
    'GIVEN',
    'GROUP_CLASSES',
    'METRIC_NAMES',
    'PROTOCOLS',
    'RELIABILITY_BINS',
    'SPARSIFICATION_METRICS',
    'SPARSIFICATION_STEPS',
    'Align',
    'BoundaryMetrics',
    'BoundarySums',
    'CalibrationMetrics',
    'CalibrationSums',
    'ClassMetrics',
    'Crop',
    'DepthMetrics',
    'DistanceBin',
    'DistanceSums',
    'ErrorSums',
    'Evaluation',
    'GroupMetrics',
    'ImageScore',
    'MetricAccumulator',
    'Protocol',
    'RegionMetrics',
    'RegionSums',
    'Sparsification',
    'Totals',
    'UncertaintyResult',
    'best_constant_depth',
    'calibration_sums',
    'depth_metrics',
    'find_protocol',
    'mean_metrics',
    'sparsification_curves',
]
