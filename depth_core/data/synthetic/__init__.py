# SPDX-License-Identifier: Apache-2.0
"""Procedural rooms and streets, ray-cast in torch, with exact depth, labels and poses."""

from depth_core.data.synthetic.cameras import CAMERAS
from depth_core.data.synthetic.dataset import (
    FRAME_S,
    SCENE_CLASSES,
    SCENE_SETS,
    SyntheticDataset,
    SyntheticSequence,
)
from depth_core.data.synthetic.motion import Pace
from depth_core.data.synthetic.varied import VARIED_CLASSES, VARIED_SETS, VariedDataset

__all__ = [
    'CAMERAS',
    'FRAME_S',
    'SCENE_CLASSES',
    'SCENE_SETS',
    'VARIED_CLASSES',
    'VARIED_SETS',
    'Pace',
    'SyntheticDataset',
    'SyntheticSequence',
    'VariedDataset',
]
