# SPDX-License-Identifier: Apache-2.0
"""The table of parameters is whole, checked, and what the files say."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from depth_core.errors import ConfigError
from depth_ros.parameters import (
    BY_NAME,
    PARAMETERS,
    When,
    checked_values,
    markdown_table,
    yaml_text,
)
from depth_ros.point_cloud import CloudOptions
from depth_ros.settings import Settings, settings_from


def test_every_default_passes_its_own_check() -> None:
    for spec in PARAMETERS:
        assert spec.checked(spec.default) == spec.default
        assert spec.sentence.endswith('.'), spec.name
    assert len(BY_NAME) == len(PARAMETERS), 'a name is used twice'


def test_the_parameter_file_is_the_table(repository: Path) -> None:
    path = repository / 'config' / 'mono_depth.yaml'
    shipped = yaml.safe_load(path.read_text())['/**']['ros__parameters']
    assert shipped == {spec.name: spec.default for spec in PARAMETERS}
    assert {name: type(value) for name, value in shipped.items()} == {
        spec.name: type(spec.default) for spec in PARAMETERS
    }
    assert path.read_text() == yaml_text(), 'python -m depth_ros.parameters --yaml writes it'


def test_the_document_names_every_parameter() -> None:
    rows = markdown_table().splitlines()[2:]
    assert [row.split('`')[1] for row in rows] == [spec.name for spec in PARAMETERS]
    assert all(row.count(' | ') == 5 for row in rows)


def test_every_parameter_reaches_the_settings() -> None:
    """Changing a parameter changes the settings: none is declared and never read."""
    base = settings_from(checked_values({}))
    other: dict[str, object] = {
        'model': 'x.onnx',
        'backend': 'openvino, onnxruntime',
        'precision': 'fp16',
        'threads': 3,
        'queue_depth': 7,
        'preview_near_m': 0.7,
        'preview_far_m': 9.0,
        'min_confidence': 0.5,
        'cloud.stride': 4,
        'cloud.edge_ratio': 0.2,
        'cloud.max_range_m': 12.0,
    }
    for spec in PARAMETERS:
        if spec.when is When.START:
            continue
        value = other.get(spec.name)
        if value is None:
            value = spec.choices[-1] if spec.choices else not spec.default
        if value == spec.default:
            value = spec.choices[0]
        assert settings_from(checked_values({spec.name: value})) != base, spec.name
    assert settings_from(checked_values(other)).backends == ('openvino', 'onnxruntime')
    assert base.backends is None
    assert base.threads is None
    assert {item.name for item in fields(Settings)} >= {'cloud', 'backends'}
    assert base.cloud == CloudOptions()


def test_an_integer_is_taken_for_a_number() -> None:
    value = checked_values({'min_confidence': 1})['min_confidence']
    assert value == 1.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ({'min_confidense': 0.5}, "did you mean 'min_confidence'"),
        ({'min_confidence': 1.5}, 'min_confidence = 1.5 is out of range; give 0 to 1'),
        ({'min_confidence': float('nan')}, 'out of range'),
        ({'cloud.stride': 0}, '1 to 64 pixels'),
        ({'cloud.stride': 2.0}, 'is of type float; give a whole number 1 to 64'),
        ({'queue_depth': True}, 'is of type bool'),
        ({'autostart': 'yes'}, 'give a boolean'),
        ({'depth_encoding': '32FC'}, "did you mean '32FC1'"),
        ({'image_transport': 'theora'}, 'Known: compressed, raw'),
        ({'preview_near_m': 5.0, 'preview_far_m': 4.0}, 'is not above preview_near_m = 5'),
    ],
)
def test_wrong_values_are_refused_with_the_remedy(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_values(given)
    assert said in str(caught.value)
    assert next(iter(given)) in str(caught.value)


def test_all_problems_are_shown_together() -> None:
    with pytest.raises(ConfigError) as caught:
        checked_values({'threads': -1, 'modell': 'x', 'use_sim_time': True})
    assert len(str(caught.value).splitlines()) == 2
