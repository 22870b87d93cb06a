# SPDX-License-Identifier: Apache-2.0
"""The encoders of MiDaS that a DPT core may stand on: their published sizes, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import timm

from depth_core.errors import ConfigError, ModelError, unknown_name
from depth_core.models.zoedepth.dpt_encoders import (
    LEVELS,
    BeitTrunk,
    Swin2Pyramid,
    Swin2Trunk,
    TokenPyramid,
    VitTrunk,
)


@dataclass(frozen=True, kw_only=True)
class EncoderPreset:
    """An encoder of MiDaS: which timm network, and where DPT taps it."""

    kind: str
    """beit, vit or swin2."""
    timm_name: str
    options: Mapping[str, Any]
    """What of timm's options is the network's own size; `encoder_options` may change these."""
    hooks: tuple[int, ...]
    neck_channels: tuple[int, ...] = ()
    """Channels of the four maps; of Swin V2 they are given by the network."""


def _transformer(
    kind: str, timm_name: str, hooks: tuple[int, ...], neck: tuple[int, ...], **options: object
) -> EncoderPreset:
    return EncoderPreset(
        kind=kind,
        timm_name=timm_name,
        options={'patch_size': 16, **options},
        hooks=hooks,
        neck_channels=neck,
    )


def _swin2(timm_name: str, hooks: tuple[int, ...], **options: object) -> EncoderPreset:
    return EncoderPreset(kind='swin2', timm_name=timm_name, options=options, hooks=hooks)


_LARGE: Final = {'embed_dim': 1024, 'depth': 24, 'num_heads': 16}
_LARGE_NECK: Final = (256, 512, 1024, 1024)
_BASE: Final = {'embed_dim': 768, 'depth': 12, 'num_heads': 12}

PRESETS: Final[Mapping[str, EncoderPreset]] = {
    'beit_large_384': _transformer(
        'beit', 'beit_large_patch16_384', (5, 11, 17, 23), _LARGE_NECK, img_size=384, **_LARGE
    ),
    'beit_large_512': _transformer(
        'beit', 'beit_large_patch16_512', (5, 11, 17, 23), _LARGE_NECK, img_size=512, **_LARGE
    ),
    'beit_base_384': _transformer(
        'beit', 'beit_base_patch16_384', (2, 5, 8, 11), (96, 192, 384, 768), img_size=384, **_BASE
    ),
    'vit_large_384': _transformer(
        'vit', 'vit_large_patch16_384', (5, 11, 17, 23), _LARGE_NECK, img_size=384, **_LARGE
    ),
    'swin2_large_384': _swin2(
        'swinv2_large_window12to24_192to384', (1, 1, 17, 1), img_size=384, embed_dim=192,
        depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=24,
    ),
    'swin2_base_384': _swin2(
        'swinv2_base_window12to24_192to384', (1, 1, 17, 1), img_size=384, embed_dim=128,
        depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=24,
    ),
    'swin2_tiny_256': _swin2(
        'swinv2_tiny_window16_256', (1, 1, 5, 1), img_size=256, embed_dim=96,
        depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=16,
    ),
}  # fmt: skip
"""The encoders of MiDaS this package builds, at their published sizes."""

_DEFAULT_OF_KIND: Final = {
    'beit': 'beit_large_384',
    'vit': 'vit_large_384',
    'swin2': 'swin2_large_384',
}
ENCODERS: Final = (*_DEFAULT_OF_KIND, *PRESETS)


def preset(name: str) -> EncoderPreset:
    """Look an encoder up by its name, or by its kind: the large one.

    Raises:
        ModelError: There is no such encoder.
    """
    if name not in ENCODERS:
        raise ModelError(unknown_name('DPT encoder', name, ENCODERS))
    return PRESETS[_DEFAULT_OF_KIND.get(name, name)]


def build_pyramid(
    name: str,
    *,
    options: Mapping[str, Any] | None,
    hooks: Sequence[int] | None,
    channels: Sequence[int] | None,
    pretrained: bool,
) -> TokenPyramid | Swin2Pyramid:
    """Build an encoder and what brings its maps to strides 4, 8, 16 and 32.

    Args:
        name: One of `ENCODERS`.
        options: Sizes that differ from the published ones, by timm's names.
        hooks: Blocks tapped, counted from 0; of Swin V2 within each stage. None: as published.
        channels: Channels of the four maps. None: as published.
        pretrained: Start from timm's classification weights, which are downloaded.

    Raises:
        ConfigError: An option is unknown or contradicts another.
        ModelError: There is no such encoder, or its weights cannot be downloaded.
    """
    entry = preset(name)
    sizes = dict(entry.options)
    for key, value in (options or {}).items():
        if key not in sizes:
            raise ConfigError(unknown_name(f'option of encoder {name!r}', key, sizes))
        sizes[key] = tuple(value) if isinstance(value, list) else value
    taps = tuple(entry.hooks if hooks is None else hooks)
    depths = sizes.get('depths', (sizes.get('depth', 0),) * LEVELS)
    if len(taps) != LEVELS or not all(
        0 <= hook < depth for hook, depth in zip(taps, depths, strict=True)
    ):
        message = (
            f'hooks {list(taps)} do not fit encoder {name!r}: give {LEVELS} block numbers, '
            f'counted from 0 and below {list(depths)}.'
        )
        raise ConfigError(message)
    network = _timm_network(entry.timm_name, pretrained=pretrained, **sizes)
    if entry.kind == 'swin2':
        if channels is not None:
            message = f'neck_channels is for transformers; encoder {name!r} has its own channels.'
            raise ConfigError(message)
        return Swin2Pyramid(Swin2Trunk(network, taps))
    if list(taps) != sorted(set(taps)):
        message = f'hooks {list(taps)} of encoder {name!r} must rise: the finest map comes first.'
        raise ConfigError(message)
    neck = tuple(entry.neck_channels if channels is None else channels)
    if len(neck) != LEVELS or min(neck) < 1:
        message = f'neck_channels {list(neck)}: give {LEVELS} positive numbers.'
        raise ConfigError(message)
    trunk = BeitTrunk(network, taps) if entry.kind == 'beit' else VitTrunk(network, taps)
    return TokenPyramid(
        trunk, width=sizes['embed_dim'], patch_size=sizes['patch_size'], channels=neck
    )


def _timm_network(name: str, *, pretrained: bool, **sizes: Any) -> Any:  # noqa: ANN401  untyped
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **sizes)
    except OSError as error:
        message = (
            f'pretrained weights of {name} cannot be downloaded ({error}); connect to the '
            'network or build with pretrained=False.'
        )
        raise ModelError(message) from error
