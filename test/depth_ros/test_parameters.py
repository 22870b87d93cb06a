# SPDX-License-Identifier: Apache-2.0
"""The fields of the settings are whole, checked, and what the files say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
import yaml

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import ConfigError
from depth_core.manifest import Confidence, Manifest
from depth_core.preview import ColourScale
from depth_core.runtime.engine import EngineOptions
from depth_ros.options.fields import When, parameter, parameters_of, with_values
from depth_ros.options.output import CloudOptions
from depth_ros.parameters import descriptor, markdown_table, yaml_text
from depth_ros.settings import (
    BY_NAME,
    ENGINE_BACKENDS,
    PARAMETERS,
    Settings,
    settings_from,
)

MODEL = Manifest(
    name='net',
    input=InputSpec(height=64, width=96),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters under a common name."""

    near_m: float = parameter('Nearest.', default=0.5, minimum=0.0, maximum=2.0, unit='m')
    outside: int = parameter('Whole.', default=3, when=When.LIVE, name='elsewhere')


@dataclass(frozen=True, kw_only=True)
class Small:
    """One parameter of each kind."""

    flag: bool = parameter('Yes or no.', default=False, when=When.READ_ONLY)
    mode: Literal['a', 'b'] = parameter('One of two.', default='a')
    order: str = parameter('A list.', default='auto', names=('x', 'y'))
    group: Group = Group()


def test_a_field_is_one_parameter() -> None:
    found = {entry.name: entry for entry in parameters_of(Small)}
    assert list(found) == ['flag', 'mode', 'order', 'group.near_m', 'elsewhere']
    assert found['mode'].choices == ('a', 'b')
    assert found['group.near_m'].description == 'Nearest. [0 to 2 m]'
    assert found['order'].description == 'A list.'
    assert found['elsewhere'].path == ('group', 'outside')
    assert found['elsewhere'].value_in(Small()) == 3


def test_values_reach_their_fields_and_the_rest_stays() -> None:
    base = Small(mode='b')
    settings, problems = with_values(base, {'group.near_m': 1, 'elsewhere': 7, 'order': 'y, x'})
    assert problems == []
    assert settings == Small(mode='b', order='y, x', group=Group(near_m=1.0, outside=7))
    assert isinstance(settings.group.near_m, float), 'an integer is accepted for a number'


def test_values_without_quotes_are_what_yaml_makes_of_them() -> None:
    assert settings_from({'output_size': 320}).output_columns == 320
    with pytest.raises(ConfigError, match="output_size = '-5' is no size"):
        settings_from({'output_size': -5})
    assert settings_from({'rectify': False}).rectify == 'off'
    assert settings_from({'rectify': True}).rectify == 'on'
    with pytest.raises(ConfigError, match='is of type bool'):
        settings_from({'policy': True})


def test_the_descriptor_says_what_the_field_says() -> None:
    found = {entry.name: descriptor(entry) for entry in parameters_of(Small)}
    assert [name for name, item in found.items() if item.read_only] == ['flag']
    assert found['mode'].additional_constraints == 'a, b'
    near = found['group.near_m']
    assert near.description == 'Nearest. [0 to 2 m]'
    (interval,) = near.floating_point_range
    assert (interval.from_value, interval.to_value) == (0.0, 2.0)
    (whole,) = descriptor(BY_NAME['cloud.stride']).integer_range
    assert (whole.from_value, whole.to_value, whole.step) == (1, 64, 1)


def test_every_parameter_is_whole() -> None:
    assert len(BY_NAME) == len(PARAMETERS), 'a name is used twice'
    for entry in PARAMETERS:
        assert entry.checked(entry.default) == entry.default
        assert entry.sentence.endswith('.'), entry.name
        assert (entry.minimum is None) == (entry.maximum is None), entry.name
        is_number = isinstance(entry.default, (int, float)) and not isinstance(entry.default, bool)
        assert is_number == (entry.minimum is not None), f'{entry.name} needs a range'
        for suffix, unit in (('_m', 'm'), ('_s', 's')):
            assert entry.unit == unit or not entry.name.endswith(suffix), entry.name


def test_the_parameter_file_is_made_from_the_fields(repository: Path) -> None:
    path = repository / 'config' / 'mono_depth.yaml'
    shipped = yaml.safe_load(path.read_text())['/**']['ros__parameters']
    assert shipped == {entry.name: entry.default for entry in PARAMETERS}
    assert {name: type(value) for name, value in shipped.items()} == {
        entry.name: type(entry.default) for entry in PARAMETERS
    }
    assert path.read_text() == yaml_text(), 'make docs writes it'


def test_the_document_names_every_parameter() -> None:
    rows = markdown_table().splitlines()[2:]
    assert [row.split('`')[1] for row in rows] == [entry.name for entry in PARAMETERS]
    assert all(row.count(' | ') == 4 for row in rows)


def test_what_the_settings_make_of_their_values() -> None:
    assert Settings().backends == ('auto',)
    assert settings_from({'backend': ''}).backends == ('auto',)
    assert settings_from({'backend': 'openvino, onnxruntime'}).backends == (
        'openvino',
        'onnxruntime',
    )
    assert Settings().preview_scale((0.5, 80.0)) == ColourScale(near=0.5, far=80.0)
    given = settings_from({'preview_near_m': 2.0, 'preview_far_m': 6.0})
    assert given.preview_scale((0.5, 80.0)) == ColourScale(near=2.0, far=6.0)
    assert settings_from({'min_confidence': 1}).cloud == CloudOptions(min_confidence=1.0)


def test_how_engines_are_built() -> None:
    assert Settings().engine.options == EngineOptions()
    given = settings_from(
        {'engine.cache_dir': '/plans', 'engine.workspace_mb': 2, 'engine.cuda_graph': True}
    )
    assert given.engine.options == EngineOptions(
        cache_dir=Path('/plans'), workspace_bytes=2097152, cuda_graph=True
    )


def test_a_build_takes_the_backends_that_build() -> None:
    assert ENGINE_BACKENDS == ('tensorrt', 'tensorrt-rtx')
    assert settings_from({'build_only': True}).backends == ENGINE_BACKENDS
    given = {'build_only': True, 'backend': 'openvino, tensorrt-rtx'}
    assert settings_from(given).backends == ('tensorrt-rtx',)
    assert settings_from({**given, 'build_only': False}).backends == ('openvino', 'tensorrt-rtx')
    assert not settings_from({'backend': 'auto'}).names_backends
    assert settings_from(given).names_backends


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ({'build_only': True, 'backend': 'openvino'}, 'builds no engine; name tensorrt or'),
        ({'min_confidense': 0.5}, "did you mean 'min_confidence'"),
        ({'use_sim_timee': True}, "did you mean 'use_sim_time'"),
        ({'min_confidence': 1.5}, 'min_confidence = 1.5 is out of range; give 0 to 1'),
        ({'min_confidence': float('nan')}, 'out of range'),
        ({'cloud.stride': 0}, '1 to 64 pixels'),
        ({'cloud.stride': 2.0}, 'is of type float; give a whole number 1 to 64'),
        ({'cloud.stride': [2]}, 'is of type list'),
        ({'queue_depth': True}, 'is of type bool'),
        ({'autostart': 'yes'}, 'give a boolean'),
        ({'depth_encoding': '32FC'}, "did you mean '32FC1'"),
        ({'image_transport': 'theora'}, 'Known: compressed, raw'),
        ({'backend': 'torch,openvno'}, "'openvno'; did you mean 'openvino'? Known: onnxruntime,"),
        ({'backend': 'auto,openvino'}, 'give auto alone'),
        ({'image_height': 480}, 'image_height = 480 and image_width = 0 are no size'),
        ({'preview_near_m': 5.0, 'preview_far_m': 4.0}, 'is not above preview_near_m = 5'),
    ],
)
def test_wrong_values_are_refused_with_the_remedy(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from(given)
    assert said in str(caught.value)
    assert next(iter(given)) in str(caught.value)


def test_contradictions_with_the_model_are_refused() -> None:
    given = {'min_confidence': 0.5}
    without_sigma = replace(MODEL, output=replace(MODEL.output, sigma=None))
    settings_from(given, model=MODEL).check(MODEL)
    with pytest.raises(ConfigError, match='the model gives no sigma'):
        settings_from(given).check(without_sigma)
    with pytest.raises(ConfigError, match='the model gives no sigma'):
        settings_from(given, model=without_sigma)
    logarithmic = Confidence(output='log_sigma', meaning='sigma_log')
    settings_from(given, model=replace(without_sigma, confidence=logarithmic))
    ranking = replace(without_sigma, confidence=replace(logarithmic, meaning='rank_high_good'))
    with pytest.raises(ConfigError, match='the model gives no sigma'):
        settings_from(given, model=ranking)


def test_all_problems_are_shown_together() -> None:
    given = {
        'threads': -1,
        'modell': 'x',
        'use_sim_time': True,
        'preview_near_m': 9.0,
        'preview_far_m': 4.0,
    }
    with pytest.raises(ConfigError) as caught:
        settings_from(given)
    assert len(str(caught.value).splitlines()) == 3
