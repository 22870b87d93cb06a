# SPDX-License-Identifier: Apache-2.0
"""The rule of scoring that the settings ask for, and whether it fits data and network."""

from __future__ import annotations

import torch
from torch import nn

from depth_core.contracts import DepthKind
from depth_core.data.sample import DepthDataset
from depth_core.errors import ConfigError, DataError, ModelError
from depth_core.metrics import find_protocol
from depth_core.models.base import DepthModel
from depth_core.train.recipes.rule import Rule
from depth_core.train.settings import DataSettings


def open_rule(data: DataSettings, held_out: DepthDataset | None, model: nn.Module) -> Rule:
    """Read how held-out samples are scored, and try it on the first of them.

    Raises:
        ConfigError: The protocol does not fit the size of the samples, the alignment not the kind
            of depth, or the size not the network.
        DataError: The first sample cannot be read.
    """
    asked = data.validation
    if held_out is None or not isinstance(model, DepthModel):
        return Rule()
    _check_align(model, asked.align)
    if asked.protocol is None:
        return Rule(align=asked.align, flip_average=asked.flip_average)
    size = asked.network_size or (data.height, data.width)
    rule = Rule(
        protocol=find_protocol(asked.protocol),
        align=asked.align,
        flip_average=asked.flip_average,
        size=(size[0], size[1]),
    )
    _check_size(rule, held_out, model)
    return rule


def _check_size(rule: Rule, held_out: DepthDataset, model: DepthModel) -> None:
    assert rule.protocol is not None  # noqa: S101  it is what is checked
    height, width = held_out[0].depth_m.shape
    try:
        rule.protocol.window_origin(height, width)
        if rule.protocol.crop is not None:
            inside = rule.protocol.window or (height, width)
            rule.protocol.crop.box(*inside)
    except DataError as error:
        message = (
            f'data.validation.protocol {rule.protocol.name} does not fit samples of '
            f'{height}x{width}: {error}'
        )
        raise ConfigError(message) from error
    try:
        model.check_input(torch.empty(0, 3, *(rule.size or (height, width))))
    except ModelError as error:
        message = f'data.validation.network_size: {error}'
        raise ConfigError(message) from error


def _check_align(model: DepthModel, align: str | None) -> None:
    kind = model.spec.kind
    fits = (kind is DepthKind.INVERSE) == (align == 'affine_inverse')
    if align is None or (fits and not (kind is DepthKind.UP_TO_SCALE and align == 'none')):
        return
    message = (
        f'data.validation.align is {align}, and {model.spec.name} gives depth of kind {kind}; '
        'affine_inverse is for inverse depth and only that, depth up to scale needs median or '
        'lower_median; leave it out to take what the kind needs.'
    )
    raise ConfigError(message)
