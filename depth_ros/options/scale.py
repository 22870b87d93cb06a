# SPDX-License-Identifier: Apache-2.0
"""The parameters of where metres come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from depth_ros.options.fields import When, parameter

ScaleSource: TypeAlias = Literal['none', 'fixed', 'ground_plane', 'sparse_depth', 'speed']


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """What a source of scale goes by, and how its answers are smoothed."""

    factor: float = parameter(
        'Metres in one unit of the network, for scale_source fixed; 1.1 makes the depth of a '
        'metric model 10 % larger.',
        default=1.0,
        minimum=1e-6,
        maximum=1e6,
        when=When.LIVE,
    )
    camera_height_m: float = parameter(
        'Height of the camera above the ground, for scale_source ground_plane, which needs it.',
        default=0.0,
        minimum=0.0,
        maximum=100.0,
        unit='m',
    )
    window: int = parameter(
        'The factor is the median of this many estimates, the latest ones.',
        default=15,
        minimum=1,
        maximum=1000,
        unit='estimates',
    )
    max_age_s: float = parameter(
        'An estimate counts for this long; without one the scale is lost, and nothing in metres '
        'is published.',
        default=5.0,
        minimum=0.1,
        maximum=3600.0,
        unit='s',
    )
