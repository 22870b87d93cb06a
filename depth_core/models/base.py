# SPDX-License-Identifier: Apache-2.0
"""What every depth network of this package is and gives back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from depth_core.contracts import DepthKind, OutputSpec, SigmaCalibration
from depth_core.errors import ConfigError, ModelError


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What travels with a network: the facts a trainer, an exporter and a reader need."""

    name: str
    """Registry name the model was created by."""
    family: str
    """Name of its family (`depth_core.models.FAMILIES`)."""
    kind: DepthKind
    min_depth: float
    """Smallest depth the network states, metres."""
    max_depth: float
    """Largest depth the network states, metres."""
    divisor: int
    """Height and width of the input must be multiples of this."""
    default_size: tuple[int, int]
    """(height, width) the network is trained and exported at by default."""
    free_size: bool = False
    """Whether a graph of it can leave height and width free: convolutions take every size, tables
    of positions do not."""
    min_side: int = 1
    """Neither height nor width of the input may be below this, pixels."""
    canonical_focal_px: float | None = None
    """Focal length that depth of kind canonical belongs to, in pixels of the image the network
    sees; None for every other kind."""
    sigma_calibration: SigmaCalibration = field(default_factory=SigmaCalibration)
    """How sigma is corrected when the network is served; training sees it as it is."""

    def __post_init__(self) -> None:
        focal_px = self.canonical_focal_px
        if (self.kind is DepthKind.CANONICAL) != (focal_px is not None):
            message = (
                f'{self.name} states {self.kind} depth with canonical_focal_px {focal_px}; '
                'canonical depth needs that focal length, and no other kind has one.'
            )
            raise ConfigError(message)
        if focal_px is not None and not 0.0 < focal_px < math.inf:
            message = (
                f'canonical_focal_px is {focal_px}; give a finite number of pixels above 0, '
                'about the width of the images the network sees.'
            )
            raise ConfigError(message)
        # The same rule as the manifest of the exported graph, checked when the network is built.
        OutputSpec(
            kind=self.kind,
            min_depth=self.min_depth,
            max_depth=self.max_depth,
            canonical_focal_px=focal_px,
        )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Depth and its standard deviation at the size of the input; families add their own fields."""

    depth: Tensor
    """[B, H, W] z-depth in the unit `ModelSpec.kind` states, within [min_depth, max_depth]."""
    sigma: Tensor
    """[B, H, W] standard deviation in the unit of the depth, positive."""


class DepthModel(nn.Module, ABC):
    """A network from RGB images to depth and sigma.

    `forward` takes [B, 3, H, W] float RGB in [0, 1] and normalises inside, so that training and
    serving cannot differ. Its answer never depends on the rest of the batch in eval mode.
    """

    spec: ModelSpec
    options: Mapping[str, object]
    """The keyword options `create_model` was given: a checkpoint rebuilds the network by them."""

    @abstractmethod
    def forward(self, images: Tensor) -> Prediction:
        """Predict depth and sigma at the size of `images`."""

    @abstractmethod
    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' own network: `x` exactly as theirs takes it, their outputs by name."""

    def own_state(self) -> dict[str, Tensor]:
        """Weights the authors' network lacks, by key, at values that change none of its outputs.

        Conversion of official weights fills them in; the same values every time.
        """
        return {}

    def check_input(self, images: Tensor) -> None:
        """Refuse a size the network cannot take, naming the nearest ones that fit.

        Raises:
            ModelError: `images` is not [B, 3, H, W], H and W multiples of the divisor and at
                least `min_side`.
        """
        if images.ndim != 4 or images.shape[1] != 3:  # noqa: PLR2004  B, C, H, W
            message = (
                f'{self.spec.name} was given a tensor of shape {tuple(images.shape)}; '
                'it takes [B, 3, H, W] RGB in [0, 1].'
            )
            raise ModelError(message)
        height, width = images.shape[-2:]
        divisor = self.spec.divisor
        if height % divisor or width % divisor or min(height, width) < divisor:
            fits = ' or '.join(
                f'{h}x{w}'
                for h, w in sorted(
                    {
                        (_multiple_below(height, divisor), _multiple_below(width, divisor)),
                        (_multiple_above(height, divisor), _multiple_above(width, divisor)),
                    }
                )
            )
            message = (
                f'{self.spec.name} cannot take {height}x{width} pixels: both sides must be '
                f'positive multiples of {divisor}. Nearest that fit: {fits}.'
            )
            raise ModelError(message)
        if min(height, width) < self.spec.min_side:
            message = (
                f'{self.spec.name} cannot take {height}x{width} pixels: both sides must be at '
                f'least {self.spec.min_side}.'
            )
            raise ModelError(message)


def make_canonical(model: DepthModel, focal_px: float) -> None:
    """Declare that `model` states depth as a camera of `focal_px` would see it.

    Its range then counts as canonical too: metres are both times the focal length of the image
    over `focal_px`.

    Args:
        model: A network of metric depth; its spec is changed.
        focal_px: The focal length, pixels of the image the network sees.

    Raises:
        ConfigError: The network states no metres, or the focal length is not positive.
    """
    if model.spec.kind is not DepthKind.METRIC:
        message = (
            f'canonical_focal_px is {focal_px}, but {model.spec.name} states {model.spec.kind} '
            'depth: only metres depend on a focal length. Leave it out, or train a network of '
            'metric depth.'
        )
        raise ConfigError(message)
    model.spec = replace(model.spec, kind=DepthKind.CANONICAL, canonical_focal_px=focal_px)


def _multiple_below(size: int, divisor: int) -> int:
    return max(divisor, size // divisor * divisor)


def _multiple_above(size: int, divisor: int) -> int:
    return -(-size // divisor) * divisor
