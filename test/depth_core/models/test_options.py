# SPDX-License-Identifier: Apache-2.0
"""Whatever stands where an option should be: the answer names it, and what to give instead."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depth_core.errors import ConfigError, DepthError
from depth_core.models import NETWORKS, create_model, list_models
from depth_core.models.options import check_options
from depth_core.models.selfsup.guided import semantic_packnet
from depth_core.models.selfsup.packnet import packnet01
from depth_core.models.selfsup.pose import create_pose_network

MODELS = ('packnet01', 'packnet_slim', 'selfsup_resnet18', 'semantic_packnet', 'semantic_resnet18')

NEVER_RIGHT: tuple[object, ...] = (object(), b'1A', {'a': 1}, [None], math.nan, -math.inf, 1.5j)
"""What no option of the family takes."""


@pytest.mark.parametrize('version', [1, None, True, ['1A'], 1.0, '1C', '', 'A'])
@pytest.mark.parametrize('name', ['packnet01', 'packnet_slim', 'semantic_packnet'])
def test_a_version_that_is_none_is_answered_with_both(name: str, version: object) -> None:
    with pytest.raises(ConfigError) as caught:
        create_model(name, version=version)
    assert repr(version) in str(caught.value)
    assert '1A' in str(caught.value)
    assert '1B' in str(caught.value)


def test_the_builder_itself_refuses_a_version_that_is_no_text() -> None:
    with pytest.raises(ConfigError, match=r'unknown PackNet version 1; .* Known: 1A, 1B'):
        packnet01(version=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('name', 'option'),
    [(name, option) for name in MODELS
     for option in inspect.signature(NETWORKS[name].builder).parameters],
)  # fmt: skip
def test_no_option_takes_what_is_never_right(name: str, option: str) -> None:
    for value in NEVER_RIGHT:
        with pytest.raises(ConfigError, match=f'{option} is .*; give '):
            create_model(name, **{option: value})


@pytest.mark.parametrize(
    ('name', 'options', 'words'),
    [
        ('packnet01', {'max_depth': None}, 'max_depth is None; give a finite number'),
        ('packnet01', {'max_depth': math.inf}, 'max_depth is inf; give a finite number'),
        ('packnet01', {'min_depth': '0.5'}, "min_depth is '0.5'; give a finite number"),
        (
            'packnet01',
            {'min_depth': -1.0},
            r'depth.min_m is -1.0 and depth.max_m is 100.0 .*give 0 < min < max',
        ),
        ('packnet01', {'min_depth': True}, 'min_depth is True; give a finite number'),
        ('packnet01', {'metric': 1}, 'metric is 1; give true or false'),
        ('packnet01', {'metric': 'no'}, "metric is 'no'; give true or false"),
        ('packnet01', {'channels': 64}, 'channels is 64; give a list, each a whole number'),
        ('packnet01', {'channels': '64'}, 'give a list, each a whole number'),
        ('packnet01', {'channels': [64.0] * 5}, 'give a list, each a whole number'),
        ('packnet01', {'channels': [-16] * 5}, 'give 5 positive multiples of 16'),
        ('packnet01', {'channels': []}, r'channels \[\]: give 5 positive multiples'),
        ('packnet01', {'blocks': (0, 1, 1, 1)}, 'give 4 positive numbers'),
        ('packnet01', {'blocks': ()}, r'blocks \[\]: give 4 positive numbers'),
        ('packnet01', {'features_3d': -1}, 'features_3d -1 does not go with'),
        ('packnet01', {'features_3d': 8.0}, 'features_3d is 8.0; give a whole number'),
        ('packnet01', {'dropout': -0.1}, r'dropout -0.1 is not in \[0, 1\)'),
        ('packnet01', {'pretrained': None}, 'pretrained is None; give true or false'),
        ('selfsup_resnet18', {'encoder': 18}, "encoder is 18; give one of 'resnet18', 'resnet34'"),
        ('selfsup_resnet18', {'encoder': 'resnet19'}, "unknown ResNet encoder 'resnet19'"),
        ('selfsup_small', {'encoder': None}, 'encoder is None; give a text'),
        ('semantic_packnet', {'semantic_channels': 0}, 'semantic_channels is 0; give a width'),
        ('semantic_packnet', {'semantic_channels': -1}, 'semantic_channels is -1; give a width'),
        ('semantic_packnet', {'guided_strides': [3]}, r'guided_strides \[3\]: give some of'),
        ('semantic_packnet', {'guided_strides': None}, 'give a list, each a whole number'),
        ('semantic_packnet', {'semantic_weights': 3}, 'give a text or a path or nothing'),
        ('semantic_resnet18', {'semantic_head_channels': 0}, 'the last a multiple of 32'),
        ('semantic_resnet18', {'semantic_classes': -2}, 'of -2 classes'),
        ('semantic_resnet18', {'guide_channels': True}, 'guide_channels is True; give a whole'),
    ],
)
def test_a_wrong_option_is_named_with_what_to_give(
    name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words), torch.device('meta'):
        create_model(name, **options)


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        create_model('packnet01', version=1, blocks=None, max_depth='far')
    for part in ("model 'packnet01'", 'version is 1', 'blocks is None', "max_depth is 'far'"):
        assert part in str(caught.value)


def test_equal_types_are_taken() -> None:
    options = {'min_depth': 1, 'max_depth': np.float32(50.0), 'channels': [16, 16, np.int64(16),
               16, 16], 'features_3d': 0, 'blocks': range(1, 5)}  # fmt: skip
    with torch.device('meta'):
        assert create_model('packnet01', **options).spec.max_depth == 50.0
    check_options('m', semantic_packnet, {'semantic_weights': Path('a')})
    check_options('m', semantic_packnet, {'semantic_weights': None})


@pytest.mark.parametrize('name', list_models())
def test_the_defaults_of_every_builder_have_the_types_it_states(name: str) -> None:
    builder = NETWORKS[name].builder
    defaults = {
        key: parameter.default for key, parameter in inspect.signature(builder).parameters.items()
    }
    check_options(name, builder, defaults)
    for key in defaults:
        with pytest.raises(ConfigError, match=f'{key} is .*; give '):
            check_options(name, builder, {key: object()})


@pytest.mark.parametrize('name', [None, 1, ['packnet01'], ''])
def test_a_name_that_is_none_is_answered_with_all(name: object) -> None:
    with pytest.raises(ConfigError, match=r'unknown model .* Known: .*packnet01'):
        create_model(name)  # type: ignore[arg-type]
    with pytest.raises(DepthError, match=r'unknown pose network .* Known: .*posenet'):
        create_pose_network(name)  # type: ignore[arg-type]


@pytest.mark.parametrize('neighbours', [0, -1, None, 1.5, '2'])
def test_a_pose_network_has_neighbours(neighbours: object) -> None:
    with pytest.raises(ConfigError, match=r'neighbours is .*; give how many each image has'):
        create_pose_network('posenet', neighbours=neighbours)  # type: ignore[arg-type]
