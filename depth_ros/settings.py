# SPDX-License-Identifier: Apache-2.0
"""The parameters of `mono_depth` as one typed value, the only form the node works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from depth_core.runtime import Precision
from depth_ros.parameters import Value
from depth_ros.point_cloud import CloudOptions


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters, read and checked; attributes are explained in `PARAMETERS`."""

    model: str
    backends: tuple[str, ...] | None
    """None for the chain of the runtime."""
    strict_backend: bool
    precision: Precision
    threads: int | None
    """None leaves it to the backend."""
    image_transport: str
    input_reliability: str
    output_reliability: str
    queue_depth: int
    camera_info_pairing: str
    image_geometry: str
    depth_encoding: str
    preview_near_m: float
    preview_far_m: float
    cloud: CloudOptions


def settings_from(values: Mapping[str, Value]) -> Settings:
    """Read the result of `checked_values` into attributes."""
    names = tuple(name.strip() for name in str(values['backend']).split(',') if name.strip())
    return Settings(
        model=str(values['model']),
        backends=None if names in ((), ('auto',)) else names,
        strict_backend=bool(values['strict_backend']),
        precision=cast('Precision', values['precision']),  # one of the choices of the table
        threads=int(values['threads']) or None,
        image_transport=str(values['image_transport']),
        input_reliability=str(values['input_reliability']),
        output_reliability=str(values['output_reliability']),
        queue_depth=int(values['queue_depth']),
        camera_info_pairing=str(values['camera_info_pairing']),
        image_geometry=str(values['image_geometry']),
        depth_encoding=str(values['depth_encoding']),
        preview_near_m=float(values['preview_near_m']),
        preview_far_m=float(values['preview_far_m']),
        cloud=CloudOptions(
            stride=int(values['cloud.stride']),
            colour=bool(values['cloud.color']),
            confidence=bool(values['cloud.confidence']),
            edge_ratio=float(values['cloud.edge_ratio']),
            min_confidence=float(values['min_confidence']),
            max_range_m=float(values['cloud.max_range_m']),
        ),
    )
