# SPDX-License-Identifier: Apache-2.0
"""Augmentations that are listed transform by transform, each with its options.

As a configuration file has them: `[{name: flip}, {name: crop, enlarge: 1.2}, {name: blur}]`. They
are applied in the order of the list. Those that cut a window out of the image have `enlarge`: how
much taller and wider than the window the image is that it is cut from.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from depth_core.data.sample import DepthDataset
from depth_core.data.transforms import (
    Blur,
    CameraFaults,
    CanonicalFocal,
    CenterCrop,
    ChannelPermutation,
    ColourJitter,
    Compose,
    CutFlip,
    CutMix,
    GammaBrightnessColour,
    HorizontalFlip,
    HueJitter,
    MaskBorder,
    Noise,
    RandomCrop,
    RandomRotation,
    RandomScale,
    RandomZoom,
    Transform,
)
from depth_core.errors import ConfigError
from depth_core.named import build_named

Listed: TypeAlias = Sequence[Mapping[str, Any] | str]
"""Transforms as mappings of a name and options, or as names alone."""

_LOG = logging.getLogger(__name__)
_LARGEST: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window of the image, of the size the network sees."""

    enlarge: float = 1.1
    """Height and width of the image over those of the window."""
    place: Literal['random', 'centre'] = 'random'
    """Where it is cut."""

    def __post_init__(self) -> None:
        _check_enlarge(self.enlarge)
        if self.place not in {'random', 'centre'}:
            message = f'place is {self.place!r}; give random or centre.'
            raise ConfigError(message)

    def fitted(self, height: int, width: int) -> Transform:
        """The transform that gives a window of this size."""
        cut = RandomCrop if self.place == 'random' else CenterCrop
        return cut(height=height, width=width)


@dataclass(frozen=True, kw_only=True)
class Zoom:
    """A window of a drawn size, brought to the size the network sees: another focal length."""

    largest: float = 2.0
    """Largest zoom."""
    enlarge: float = 1.5
    """Height and width of the image over those the network sees."""

    def __post_init__(self) -> None:
        _check_enlarge(self.enlarge)
        self.fitted(1, 1)

    def fitted(self, height: int, width: int) -> Transform:
        """The transform that gives a window of this size.

        Raises:
            ConfigError: The largest zoom is none.
        """
        return RandomZoom(height=height, width=width, largest=self.largest)


TRANSFORMS: Final[Mapping[str, Callable[..., Transform | Window | Zoom]]] = {
    'flip': HorizontalFlip,
    'crop': Window,
    'zoom': Zoom,
    'scale': RandomScale,
    'rotate': RandomRotation,
    'mask_border': MaskBorder,
    'colour': ColourJitter,
    'hue': HueJitter,
    'gamma': GammaBrightnessColour,
    'channels': ChannelPermutation,
    'blur': Blur,
    'noise': Noise,
    'faults': CameraFaults,
    'cutflip': CutFlip,
    'cutmix': CutMix,
}
"""What may stand in a list, by its name there; the fields of a class are its options."""


def build_list(
    listed: object, *, height: int, width: int, canonical_focal_px: float | None = None
) -> tuple[Compose, tuple[int, int]]:
    """Put the transforms of a list together.

    Args:
        listed: The list.
        height: Rows the network sees, pixels.
        width: Columns the network sees, pixels.
        canonical_focal_px: Focal length that depth is brought to once no transform changes it any
            more, pixels; None leaves it in metres.

    Returns:
        The transforms, and the (height, width) at which samples have to be opened for them.

    Raises:
        ConfigError: It is no list, a name or an option is unknown, or the order cannot be.
    """
    parts = _read(listed)
    size, steps = (height, width), list[Transform]()
    for part in reversed(parts):
        if isinstance(part, (Window, Zoom)):
            steps.insert(0, part.fitted(*size))
            size = round(size[0] * part.enlarge), round(size[1] * part.enlarge)
        else:
            steps.insert(0, part)
    if canonical_focal_px is not None:
        place = _canonical_place(steps)
        steps.insert(place, CanonicalFocal(focal_px=canonical_focal_px))
    for place, step in enumerate(steps):
        if isinstance(step, CutMix):
            steps[place] = replace(step, before=Compose(tuple(steps[:place])))
    return Compose(tuple(steps)), size


def with_others(augmentation: Compose, dataset: DepthDataset) -> Compose:
    """Give the transforms that paste other images the data set to take these from."""
    return Compose(
        tuple(
            replace(step, others=dataset, before=with_others(step.before, dataset))
            if isinstance(step, CutMix)
            else step
            for step in augmentation.transforms
        )
    )


def warn_of_focal(augmentation: Compose) -> None:
    """Say where pictures are made of which nobody can tell the depth."""
    steps = augmentation.transforms
    if any(isinstance(step, CanonicalFocal) for step in steps):
        return
    if any(_changes_focal(step) for step in steps):
        _LOG.warning(
            'the augmentation changes the focal length and not the depth, and canonical_focal_px '
            'is not given: nothing in a picture tells these apart; give data.canonical_focal_px, '
            'or scale with depth: divide.'
        )


def _read(listed: object) -> list[Transform | Window | Zoom]:
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        message = (
            f'augmentation is {listed!r}; give a name, or a list of transforms, as '
            f'[{{name: flip}}, {{name: blur, probability: 0.2}}]. Known: {", ".join(TRANSFORMS)}.'
        )
        raise ConfigError(message)
    internal = {'others', 'before'}
    for place, item in enumerate(listed):
        if isinstance(item, Mapping) and internal & set(item):
            message = f'augmentation[{place}]: {", ".join(internal & set(item))} is no option.'
            raise ConfigError(message)
    return [
        build_named(f'augmentation[{place}]', item, TRANSFORMS)
        for place, item in enumerate(listed)
    ]


def _changes_focal(step: Transform) -> bool:
    return isinstance(step, RandomZoom) or (isinstance(step, RandomScale) and step.depth == 'keep')


def _canonical_place(steps: Sequence[Transform]) -> int:
    """Before which step depth is made canonical: after all that change the focal length."""
    changing = [place for place, step in enumerate(steps) if _changes_focal(step)]
    place = changing[-1] + 1 if changing else 0
    for before, step in enumerate(steps[:place]):
        if isinstance(step, (CutFlip, CutMix)):
            message = (
                f'augmentation[{before}] makes pictures of no one camera, and '
                f'augmentation[{place - 1}] after it changes the focal length that '
                'data.canonical_focal_px needs; list cutflip and cutmix after zoom and scale.'
            )
            raise ConfigError(message)
    return place


def _check_enlarge(enlarge: float) -> None:
    if not 1.0 <= enlarge <= _LARGEST or math.isnan(enlarge):
        message = f'enlarge is {enlarge}; give a number from 1 to {_LARGEST:g}.'
        raise ConfigError(message)
