# SPDX-License-Identifier: Apache-2.0
"""The parameters of where metres come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from depth_ros.options.fields import When, parameter

ScaleSource: TypeAlias = Literal['none', 'fixed', 'ground_plane', 'sparse_depth', 'lidar', 'speed']


_POSE_NUMBERS: Final = 7


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
    lidar_to_camera: str = parameter(
        'Where the lidar is in the optical frame of the camera, for scale_source lidar: x y z in '
        'metres and the rotation qx qy qz qw. Empty takes it from /tf and /tf_static.',
        default='',
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

    @property
    def lidar_pose(self) -> tuple[float, ...]:
        """The numbers of `lidar_to_camera`: x y z qx qy qz qw; empty where it comes from /tf.

        Raises:
            ValueError: They are no numbers.
        """
        return tuple(float(word) for word in self.lidar_to_camera.replace(',', ' ').split())

    def contradictions(self, source: ScaleSource) -> Iterator[str]:
        """Yield what `source` cannot do with the other parameters."""
        if source == 'ground_plane' and self.camera_height_m == 0.0:
            yield (
                'parameter scale.camera_height_m is 0 and scale_source is ground_plane; give the '
                'height of the camera above the ground, metres.'
            )
        if source == 'lidar' and not self._has_pose_or_none():
            yield (
                f'parameter scale.lidar_to_camera is {self.lidar_to_camera!r}; give seven finite '
                'numbers, x y z in metres and a rotation qx qy qz qw that is not all zero, or '
                'leave it empty to take the place of the lidar from /tf.'
            )

    def _has_pose_or_none(self) -> bool:
        try:
            pose = self.lidar_pose
        except ValueError:
            return False
        if not pose:
            return True
        return len(pose) == _POSE_NUMBERS and all(map(math.isfinite, pose)) and any(pose[3:])
