# SPDX-License-Identifier: Apache-2.0
"""Opens the data sets and the augmentation of the settings."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Generator, nn

from depth_core.data import DepthDataset, Sample
from depth_core.data.augmentation_list import warn_of_focal, with_others
from depth_core.data.augmentations import build_augmentation, loading_size
from depth_core.data.cache import cached, describe
from depth_core.data.ground_truth import check_ground_truth
from depth_core.data.mix import MixDataset, MixPart, domains_of, read_parts
from depth_core.data.transforms import metres_per_canonical
from depth_core.errors import ConfigError, DataError
from depth_core.train.infinite_depth.frames import KeptFrames
from depth_core.train.settings import DatasetSettings, DataSettings, ValidationSettings
from depth_core.train.stream import Augmentation

_LOG = logging.getLogger(__name__)
_RENDERED: Final = ('synthetic', 'varied')


def open_training_set(
    data: DataSettings, *, needs_depth: bool, model: nn.Module | None = None
) -> DepthDataset:
    """Open the images trained on, as large as their augmentation needs them.

    Args:
        data: The settings.
        needs_depth: Whether images without any ground truth are of no use.
        model: The network, whose domains the data sets of a mix may name.

    Raises:
        ConfigError: The data set, an option or a domain is unknown.
        DataError: The data is missing, malformed or empty.
    """
    opened = _open(
        'data.train', data.train, data, augmented=True, needs_depth=needs_depth, model=model
    )
    known = _domains(model)
    if isinstance(opened, MixDataset):
        for number in sorted(set(range(len(known))) - set(opened.domains)):
            _LOG.warning(
                'no data set of data.train is of domain %s, whose head learns from none',
                known[number],
            )
    return opened


def open_validation_set(
    data: DataSettings, *, needs_depth: bool, model: nn.Module | None = None
) -> DepthDataset | None:
    """Open the images held out; None when the settings name none.

    Args:
        data: The settings.
        needs_depth: Whether images without any ground truth are of no use.
        model: The network, whose domains the data sets of a mix may name.

    Raises:
        ConfigError: The data set, an option or a domain is unknown.
        DataError: The data is missing, malformed or empty, or no image has the depth needed.
    """
    if data.validation.name is None:
        return None
    return _open(
        'data.validation',
        data.validation,
        data,
        augmented=False,
        needs_depth=needs_depth,
        model=model,
    )


def open_augmentation(data: DataSettings, dataset: DepthDataset) -> Augmentation:
    """Make the random change that training samples undergo.

    Args:
        data: The settings.
        dataset: The images trained on, which some transforms paste into each other.

    Raises:
        ConfigError: A name is unknown, or CutFlip is set for sequences.
    """
    parts = dataset.parts if isinstance(dataset, MixDataset) else (dataset,)
    augmentations = [
        with_others(
            build_augmentation(
                part.augmentation or data.augmentation,
                height=part.height or data.height,
                width=part.width or data.width,
                cutflip_probability=data.cutflip_probability,
                canonical_focal_px=data.canonical_focal_px,
            ),
            opened,
        )
        for part, opened in zip(_parts(data.train, data), parts, strict=True)
    ]
    for augmentation in augmentations:
        warn_of_focal(augmentation)
    return augmentations[0] if len(augmentations) == 1 else _ByPart(augmentations)


@dataclass(frozen=True)
class _ByPart:
    """Of a mix each data set has its own."""

    augmentations: Sequence[Augmentation]

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        assert sample.part is not None  # noqa: S101  samples of a mix have one
        return self.augmentations[int(sample.part)](sample, generator)


def _domains(model: nn.Module | None) -> Sequence[str]:
    """Names of the domains that a network has heads for, in its order."""
    return tuple(getattr(model, 'domains', ()))


def _parts(chosen: DatasetSettings, data: DataSettings) -> tuple[MixPart, ...]:
    """The data sets of a mix, or the only one."""
    if chosen.name == 'mix':
        given = {'root': chosen.root, 'split': chosen.split, **chosen.options}
        surplus = [key for key, value in given.items() if key != 'datasets' and value is not None]
        if surplus:
            message = (
                f'a mix takes the option datasets alone, and was given {surplus[0]}='
                f'{given[surplus[0]]}; give it to one of the datasets.'
            )
            raise ConfigError(message)
        datasets = chosen.options.get('datasets', ())
        return read_parts(datasets, height=data.height, width=data.width)
    only = MixPart(
        name=str(chosen.name),
        root=chosen.root,
        split=chosen.split,
        options=chosen.options,
        height=data.height,
        width=data.width,
    )
    return (only,)


def _open(
    key: str,
    chosen: DatasetSettings,
    data: DataSettings,
    *,
    augmented: bool,
    needs_depth: bool,
    model: nn.Module | None,
) -> DepthDataset:
    opened = []
    parts = _parts(chosen, data)
    domains = domains_of(parts, _domains(model))
    protocol = chosen.protocol if isinstance(chosen, ValidationSettings) else None
    for part in parts:
        if protocol is not None:  # a protocol is about the pixels of the data
            _refuse_without_native_size(part, protocol)
            sized = replace(part, height=None, width=None)
            opened.append(_open_part(key, sized, data, needs_depth=needs_depth))
            continue
        height, width = part.height or data.height, part.width or data.width
        if augmented:
            height, width = loading_size(
                part.augmentation or data.augmentation, height=height, width=width
            )
        sized = replace(part, height=height, width=width)
        opened.append(_open_part(key, sized, data, needs_depth=needs_depth))
    if chosen.frames is not None:
        if chosen.name == 'mix':
            message = (
                f'{key}.frames is {chosen.frames}, and a list of frames belongs to one data set, '
                'not to a mix; train on that data set alone.'
            )
            raise ConfigError(message)
        return KeptFrames(opened[0], chosen.frames)
    if chosen.name != 'mix':
        return opened[0]
    return MixDataset(opened, [part.weight for part in parts], domains)


def _refuse_without_native_size(part: MixPart, protocol: str) -> None:
    """Images that are rendered for the run have no size of their own, unless options say one."""
    if part.name in _RENDERED and not {'height', 'width'} <= set(part.options):
        message = (
            f'data.validation.protocol {protocol} is about images of native size, and those of '
            f'data set {part.name} have none; give height and width in data.validation.options, '
            'or leave the protocol out.'
        )
        raise ConfigError(message)


def _open_part(key: str, part: MixPart, data: DataSettings, *, needs_depth: bool) -> DepthDataset:
    dataset = part.open()
    if len(dataset) == 0:
        message = (
            f'{key} ({part.name}, root {part.root}, split {part.split}) holds no image; '
            'check root and split.'
        )
        raise DataError(message)
    if needs_depth:
        check_ground_truth(dataset, source=f'{key} ({part.name}, root {part.root})')
    if data.canonical_focal_px is not None:
        metres_per_canonical(dataset[0], data.canonical_focal_px)  # refuses what has no camera
    if data.cache is None:
        return dataset
    # One folder for each data set and its settings, so that none is in the way of another.
    identity = json.dumps(describe(dataset), sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cached(dataset, data.cache / f'{part.name}-{digest}', workers=data.workers)
