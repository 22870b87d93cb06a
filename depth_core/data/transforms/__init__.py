# SPDX-License-Identifier: Apache-2.0
"""Augmentation: image, depth, validity, intrinsics, labels, poses and neighbours move together.

A transform is a frozen dataclass, called with a sample and a `torch.Generator`; the same sample
and the same state of the generator give the same result. Those that draw nothing leave the
generator as it is. `depth_core.data.augmentations` puts them together under the names that
training uses.
"""

from __future__ import annotations

from depth_core.data.transforms.base import Compose, Transform, Transformed
from depth_core.data.transforms.canonical import (
    CanonicalFocal,
    mean_focal_px,
    metres_per_canonical,
)
from depth_core.data.transforms.colour import (
    CHANNEL_ORDERS,
    ChannelPermutation,
    ColourJitter,
    GammaBrightnessColour,
    HueJitter,
    densedepth_augmentation,
)
from depth_core.data.transforms.faults import CameraFaults
from depth_core.data.transforms.framing import (
    KB_WINDOW,
    BottomCentreCrop,
    CenterCrop,
    Crop,
    MaskBorder,
    RandomCrop,
    RandomScale,
    RandomZoom,
    Resize,
)
from depth_core.data.transforms.mixing import CutMix
from depth_core.data.transforms.moving import CutFlip, HorizontalFlip, RandomRotation
from depth_core.data.transforms.spoiling import Blur, Noise

__all__ = [
    'CHANNEL_ORDERS',
    'KB_WINDOW',
    'Blur',
    'BottomCentreCrop',
    'CameraFaults',
    'CanonicalFocal',
    'CenterCrop',
    'ChannelPermutation',
    'ColourJitter',
    'Compose',
    'Crop',
    'CutFlip',
    'CutMix',
    'GammaBrightnessColour',
    'HorizontalFlip',
    'HueJitter',
    'MaskBorder',
    'Noise',
    'RandomCrop',
    'RandomRotation',
    'RandomScale',
    'RandomZoom',
    'Resize',
    'Transform',
    'Transformed',
    'densedepth_augmentation',
    'mean_focal_px',
    'metres_per_canonical',
]
