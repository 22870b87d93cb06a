# SPDX-License-Identifier: Apache-2.0
"""The networks: a folder a family, built by name with flat options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from depth_core.errors import ConfigError, unknown_name
from depth_core.models import densedepth
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.cliffnet import network as cliffnet
from depth_core.models.options import check_options
from depth_core.models.selfsup import guided, packnet
from depth_core.models.selfsup import resnet as selfsup_resnet
from depth_core.models.selfsup import small as selfsup_small
from depth_core.models.urcdc import network as urcdc
from depth_core.models.urcdc import small as urcdc_small
from depth_core.models.zoedepth import domains as zoedepth_nk
from depth_core.models.zoedepth import network as zoedepth
from depth_core.models.zoedepth import small as zoedepth_small

__all__ = ['DepthModel', 'ModelSpec', 'Prediction', 'create_model', 'list_models']

_BUILDERS: Final[Mapping[str, Callable[..., DepthModel]]] = {
    'cliffnet': cliffnet.cliffnet,
    'cliffnet_small': cliffnet.cliffnet_small,
    'densedepth': densedepth.densedepth,
    'densedepth_small': densedepth.densedepth_small,
    'packnet01': packnet.packnet01,
    'packnet_slim': packnet.packnet_slim,
    'selfsup_resnet18': selfsup_resnet.selfsup_resnet18,
    'selfsup_resnet50': selfsup_resnet.selfsup_resnet50,
    'selfsup_small': selfsup_small.selfsup_small,
    'semantic_packnet': guided.semantic_packnet,
    'semantic_resnet18': guided.semantic_resnet18,
    'urcdc': urcdc.urcdc,
    'urcdc_small': urcdc_small.urcdc_small,
    'zoedepth_k': zoedepth.zoedepth_k,
    'zoedepth_n': zoedepth.zoedepth_n,
    'zoedepth_nk': zoedepth_nk.zoedepth_nk,
    'zoedepth_small': zoedepth_small.zoedepth_small,
}

_NO_WEIGHTS: Final[Mapping[str, object]] = {'pretrained': False, 'semantic_weights': None}
"""Options that say where weights come from, as they stand where none are brought."""


def list_models() -> list[str]:
    """Every name `create_model` takes, sorted."""
    return sorted(_BUILDERS)


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
    if not isinstance(name, str) or name not in _BUILDERS:
        raise ConfigError(unknown_name('model', name, _BUILDERS))
    builder = _BUILDERS[name]
    check_options(name, builder, options)
    parameters = inspect.signature(builder).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    model = builder(**options)
    without = {key: value for key, value in _NO_WEIGHTS.items() if key in parameters}
    model.options = {**defaults, **options, **without}
    return model
