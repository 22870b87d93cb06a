# SPDX-License-Identifier: Apache-2.0
"""The types every room shares. NumPy only: importing this loads neither torch nor a runtime."""

from __future__ import annotations

from depth_core.contracts.depth import (
    CONFIDENCE_FACTOR,
    BoolArray,
    DepthKind,
    DepthMap,
    Float32Array,
    Intrinsics,
    Uint8Array,
    probability_within_factor,
)
from depth_core.contracts.graph import Channel, InputSpec, OutputSpec, SigmoidRange, SizeRule
from depth_core.contracts.sigma import SigmaCalibration

__all__ = [
    'CONFIDENCE_FACTOR',
    'BoolArray',
    'Channel',
    'DepthKind',
    'DepthMap',
    'Float32Array',
    'InputSpec',
    'Intrinsics',
    'OutputSpec',
    'SigmaCalibration',
    'SigmoidRange',
    'SizeRule',
    'Uint8Array',
    'probability_within_factor',
]
