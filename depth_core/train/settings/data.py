# SPDX-License-Identifier: Apache-2.0
"""Settings of the images, and of how they reach the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depth_core.data.augmentations import AUGMENTATIONS, build_augmentation
from depth_core.errors import ConfigError, unknown_name
from depth_core.metrics import PROTOCOLS
from depth_core.train.settings.checks import at_least
from depth_core.train.settings.dataset import DatasetSettings, ValidationSettings
from depth_core.train.settings.held_out import held_out_problems


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Images trained on and images held out, and how they reach the network."""

    height: int
    """Rows of the images the network sees, pixels."""
    width: int
    """Columns of the images the network sees, pixels."""
    train: DatasetSettings = field(default_factory=DatasetSettings)
    """Images trained on."""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    """Images held out; without a name there is no validation."""
    canonical_focal_px: float | None = None
    """Focal length all samples are brought to, pixels of the image the network sees: their depth
    is multiplied by it and divided by their own. The network then serves any camera whose focal
    length is known; none = it learns metres as they are, for cameras like those trained on."""
    augmentation: list[dict[str, Any] | str] | str = 'none'
    """A list of transforms in their order, each {name, options} or a name alone: flip, crop, zoom,
    scale, rotate, mask_border, colour, hue, gamma, channels, blur, noise, faults, cutflip, cutmix
    (docs/data.md); or a name: none; mirror = with probability 0.5; jitter = mirror, and change
    brightness, contrast, gamma and saturation by up to 20 %; strong_jitter = the same by up to 40
    to 80 %, for other cameras than those trained on; zoom_jitter = jitter of windows that are 1 to
    1/2 of the image, which needs canonical_focal_px; or that of the authors: densedepth,
    zoedepth_nyu, zoedepth_kitti, urcdc_nyu, urcdc_kitti, cliffnet; packnet and monodepth2 for
    sequences."""
    cutflip_probability: float = 0.0
    """How often an image is cut at a random row and its two parts change places (URCDC: 0.5)."""
    cache: Path | None = None
    """Folder in which samples are kept before augmentation, depth rounded by at most 0.05 %, so
    that each is made once; none = make them anew in each epoch."""
    workers: int = 0
    """Processes that load images beside the training; 0 = load in the training process. The
    images and their augmentation are the same for any number."""


def data_problems(data: DataSettings) -> list[str]:
    """Say which settings of the data contradict each other."""
    problems = at_least(1, {'data.height': data.height, 'data.width': data.width})
    problems += at_least(0, {'data.workers': data.workers})
    problems += _augmentation_problems(data)
    if not 0.0 <= data.cutflip_probability <= 1.0:
        problems.append(
            f'data.cutflip_probability is {data.cutflip_probability}; give a number in [0, 1].'
        )
    focal_px = data.canonical_focal_px
    if focal_px is not None and not 0.0 < focal_px < math.inf:
        problems.append(
            f'data.canonical_focal_px is {focal_px}; give a number of pixels above 0, about the '
            'width of the images, or leave it out.'
        )
    if data.train.name is None:
        problems.append('data.train.name is not given; name a dataset, as synthetic.')
    protocol = data.validation.protocol
    if protocol is not None and protocol not in PROTOCOLS:
        problems.append(unknown_name('data.validation.protocol', protocol, PROTOCOLS))
    if protocol is None and data.validation.network_size is not None:
        problems.append(
            'data.validation.network_size is given without data.validation.protocol, and samples '
            'then have data.height and data.width; give a protocol, or leave it out.'
        )
    problems += held_out_problems(data.train, data.validation)
    return problems


def _augmentation_problems(data: DataSettings) -> list[str]:
    """Say what is wrong with a name, or with a list of transforms."""
    asked = data.augmentation
    if isinstance(asked, str):
        known = asked in AUGMENTATIONS
        return [] if known else [unknown_name('data.augmentation', asked, AUGMENTATIONS)]
    try:
        build_augmentation(
            asked,
            height=data.height,
            width=data.width,
            cutflip_probability=data.cutflip_probability,
            canonical_focal_px=data.canonical_focal_px,
        )
    except ConfigError as error:
        return [f'data.augmentation: {error}']
    return []
