# SPDX-License-Identifier: Apache-2.0
"""Metres for depth that is known up to a factor: from the ground, or from a few true depths.

A network trained on a single moving camera gives the shape of a scene and not its size. What
makes metres of it is one number an image, found here, with a state that says whether it may be
used and a residual that says how well it fits.
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
from depth_core.scale.motion import MotionView, motion_scale
from depth_core.scale.sparse import SparseMethod, sparse_depth_scale, sparse_plane
from depth_core.scale.tracking import ScaleTracker, TrackedScale, TrackState

__all__ = [
    'GroundFit',
    'GroundPlane',
    'GroundSettings',
    'InverseEstimate',
    'KnownDistance',
    'MotionView',
    'ScaleEstimate',
    'ScaleState',
    'ScaleTracker',
    'SparseMethod',
    'TrackState',
    'TrackedScale',
    'fit_ground_plane',
    'ground_plane_scale',
    'motion_scale',
    'sparse_depth_scale',
    'sparse_inverse_fit',
    'sparse_plane',
]
