# SPDX-License-Identifier: Apache-2.0
"""The scale of one prediction, where it does not come from the median of its ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from depth_core.contracts import BoolArray, Float32Array, Intrinsics
from depth_core.errors import ConfigError
from depth_core.metrics import Align
from depth_core.scale import ScaleEstimate, ground_plane_scale, sparse_depth_scale

SPARSE_POINTS: Final = 200
"""True depths a sparse alignment is given, an image by default."""


@dataclass(frozen=True, kw_only=True)
class ScaleSource:
    """Where metres come from in an evaluation.

    Raises:
        ConfigError: The ground plane is asked for without the height of the camera, the height is
            given to another alignment, or a number is not positive.
    """

    align: Align = 'none'
    camera_height_m: float | None = None
    """Height of the camera above the ground, metres; ground_plane only."""
    sparse_points: int = SPARSE_POINTS
    """How many true depths of an image are given to `sparse`; these are not scored."""

    def __post_init__(self) -> None:
        height_m = self.camera_height_m
        if (self.align == 'ground_plane') != (height_m is not None):
            message = (
                f'alignment {self.align!r} was given a camera height of {height_m} m; '
                'ground_plane needs it, and no other alignment takes it (--camera_height_m).'
            )
            raise ConfigError(message)
        if height_m is not None and not height_m > 0.0:
            message = f'a camera height of {height_m} m gives no scale; give more than 0.'
            raise ConfigError(message)
        if self.sparse_points < 1:
            message = f'{self.sparse_points} sparse points give no scale; give at least 1.'
            raise ConfigError(message)

    @property
    def applies(self) -> bool:
        """Whether the scale is found here, and not by the metrics."""
        return self.align in ('ground_plane', 'sparse')

    def find(
        self,
        depth: Float32Array,
        intrinsics: Intrinsics,
        target_m: Float32Array,
        scored: BoolArray,
        *,
        seed: int,
    ) -> tuple[ScaleEstimate, BoolArray]:
        """Find the scale of one prediction.

        Args:
            depth: [H, W] prediction in its own unit.
            intrinsics: The camera, of the same size.
            target_m: [H, W] true depth, metres.
            scored: [H, W] where it would be scored.
            seed: Of the choice of sparse points.

        Returns:
            The estimate, and where the image may still be scored.
        """
        if self.align == 'ground_plane':
            height_m = self.camera_height_m or 0.0
            return ground_plane_scale(depth, intrinsics, camera_height_m=height_m), scored
        places = np.flatnonzero(scored)
        source = np.random.default_rng(seed)
        chosen = source.choice(places, min(self.sparse_points, places.size), replace=False)
        given = np.zeros(scored.shape, np.bool_)
        given.flat[chosen] = True
        found = sparse_depth_scale(
            depth[given],
            target_m[given],
            method='least_squares',
            min_points=min(20, self.sparse_points),
        )
        return found, scored & ~given
