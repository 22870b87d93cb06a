# SPDX-License-Identifier: Apache-2.0
"""Metres for depth that is known up to a factor: from the ground, or from a few true depths.

A network trained on a single moving camera gives the shape of a scene and not its size. What
makes metres of it is one number an image, found here, with a state that says whether it may be
used and a residual that says how well it fits. NumPy alone.
"""

from __future__ import annotations

from depth_core.scale.estimate import ScaleEstimate, ScaleState
from depth_core.scale.ground import (
    GroundFit,
    GroundPlane,
    GroundSettings,
    fit_ground_plane,
    ground_plane_scale,
)
from depth_core.scale.inverse import InverseEstimate, sparse_inverse_fit
from depth_core.scale.known_distance import KnownDistance
from depth_core.scale.sparse import SparseMethod, sparse_depth_scale

__all__ = [
    'GroundFit',
    'GroundPlane',
    'GroundSettings',
    'InverseEstimate',
    'KnownDistance',
    'ScaleEstimate',
    'ScaleState',
    'SparseMethod',
    'fit_ground_plane',
    'ground_plane_scale',
    'sparse_depth_scale',
    'sparse_inverse_fit',
]
