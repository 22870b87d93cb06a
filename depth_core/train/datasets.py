# SPDX-License-Identifier: Apache-2.0
"""The data sets and the augmentation that the settings ask for."""

from __future__ import annotations

import hashlib
import json

from depth_core.data import DepthDataset, open_dataset
from depth_core.data.cache import cached, describe
from depth_core.data.transforms import (
    ColourJitter,
    Compose,
    HorizontalFlip,
    densedepth_augmentation,
)
from depth_core.errors import DataError
from depth_core.train.settings import DatasetSettings, TrainSettings
from depth_core.train.stream import Augmentation


def open_training_set(settings: TrainSettings) -> DepthDataset:
    """Open the images trained on.

    Raises:
        ConfigError: The data set or an option is unknown.
        DataError: The data is missing, malformed or empty.
    """
    return _open('data.train', settings.data.train, settings)


def open_validation_set(settings: TrainSettings) -> DepthDataset | None:
    """Open the images held out; None when the settings name none.

    Raises:
        ConfigError: The data set or an option is unknown.
        DataError: The data is missing, malformed or empty.
    """
    if settings.data.validation.name is None:
        return None
    return _open('data.validation', settings.data.validation, settings)


def open_augmentation(settings: TrainSettings) -> Augmentation:
    """Make the random change that training samples undergo."""
    return {
        'none': Compose(()),
        'densedepth': densedepth_augmentation(),
        'jitter': Compose((ColourJitter(), HorizontalFlip())),
        'strong_jitter': Compose(
            (
                ColourJitter(brightness=0.4, contrast=0.6, gamma=0.8, saturation=0.6),
                HorizontalFlip(),
            )
        ),
    }[settings.data.augmentation]


def _open(key: str, chosen: DatasetSettings, settings: TrainSettings) -> DepthDataset:
    data = settings.data
    dataset = open_dataset(
        str(chosen.name),
        root=chosen.root,
        split=chosen.split,
        height=data.height,
        width=data.width,
        **chosen.options,
    )
    if len(dataset) == 0:
        message = (
            f'{key} ({chosen.name}, root {chosen.root}, split {chosen.split}) holds no image; '
            'check root and split.'
        )
        raise DataError(message)
    if data.cache is None:
        return dataset
    # One folder for each data set and its settings, so that none is in the way of another.
    identity = json.dumps(describe(dataset), sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cached(dataset, data.cache / f'{chosen.name}-{digest}', workers=data.workers)
