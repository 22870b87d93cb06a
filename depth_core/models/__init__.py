# SPDX-License-Identifier: Apache-2.0
"""The networks: a folder a family, built by name with flat options."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping
from typing import Any, Final

from depth_core.errors import ConfigError, unknown_name
from depth_core.models import cliffnet, densedepth, selfsup, urcdc, zoedepth
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.family import Family, Network
from depth_core.models.options import check_options

__all__ = [
    'FAMILIES',
    'NETWORKS',
    'WEIGHT_OPTIONS',
    'DepthModel',
    'Family',
    'ModelSpec',
    'Network',
    'Prediction',
    'create_model',
    'default_options',
    'list_models',
    'without_weights',
]

FAMILIES: Final[tuple[Family, ...]] = (
    densedepth.FAMILY,
    zoedepth.FAMILY,
    urcdc.FAMILY,
    cliffnet.FAMILY,
    selfsup.FAMILY,
)
"""Every family: one line each."""

NETWORKS: Final[Mapping[str, Network]] = {
    network.name: network for family in FAMILIES for network in family.networks
}
"""Every network by its name."""

WEIGHT_OPTIONS: Final[Mapping[str, object]] = {
    'encoder_weights': 'none',
    'pretrained': False,
    'semantic_weights': None,
}
"""Options that say where weights come from, as they stand where none are brought."""


def list_models() -> list[str]:
    """Every name `create_model` takes, sorted."""
    return sorted(NETWORKS)


def create_model(name: str, **options: Any) -> DepthModel:  # noqa: ANN401  each builder has its own
    """Build a network with random weights, or downloaded ones where `pretrained` asks for them.

    Args:
        name: One of `list_models()`.
        **options: Options of that builder; those not given keep their defaults.

    Returns:
        The network in training mode. Its `options` name every option, defaults included, so that
        a checkpoint survives a change of a default, except those that say where weights come
        from, which name none: a checkpoint brings its weights along.

    Raises:
        ConfigError: The name or an option is unknown, or an option is of another type than its
            builder states, or out of range.
        ModelError: An option names a part that does not exist.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise ConfigError(unknown_name('model', name, list_models()))
    builder = NETWORKS[name].builder
    parameters = inspect.signature(builder).parameters
    options = _renamed(options, parameters)
    check_options(name, builder, options)
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    model = builder(**options)
    without = {key: value for key, value in WEIGHT_OPTIONS.items() if key in parameters}
    model.options = {**defaults, **options, **without}
    return model


def default_options(name: str) -> dict[str, object]:
    """The options of a network as they stand when none is given; none for an unknown name."""
    if name not in NETWORKS:
        return {}
    parameters = inspect.signature(NETWORKS[name].builder).parameters
    return {key: parameter.default for key, parameter in parameters.items()}


def without_weights(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """Options of a network that brings its weights along: none that fetches or reads others."""
    return {
        key: WEIGHT_OPTIONS.get(key, value)
        for key, value in options.items()
        if key != 'pretrained' or key in default_options(name)
    }


def _renamed(options: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Give options of checkpoints from before `encoder_weights` the name they have now."""
    is_former = 'pretrained' in options and 'encoder_weights' not in options
    if not is_former or 'pretrained' in known or 'encoder_weights' not in known:
        return dict(options)
    others = {key: value for key, value in options.items() if key != 'pretrained'}
    return {'encoder_weights': 'download' if options['pretrained'] else 'none', **others}
