# SPDX-License-Identifier: Apache-2.0
"""What may be served, and what the node says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError, ModelError
from depth_core.manifest import ErrorSpread, PrecisionError, read_manifest
from depth_core.runtime.engine import EngineIdentity, EngineOptions
from depth_ros.health.identity import Identity
from depth_ros.model.served_model import (
    check_model,
    described,
    identity_of,
    open_model,
    precision_text,
)
from depth_ros.settings import settings_from
from test.foreign import STANDINS
from test.standin import write_standin_onnx

HALF = PrecisionError(
    reference='net.onnx',
    reference_sha256='0' * 64,
    method='rounded emulation',
    images='rendered',
    image_count=8,
    depth=ErrorSpread(mean=2.9e-4, p999=5e-3, max=2.2e-2),
    sigma=ErrorSpread(mean=1e-3, p999=1e-2, max=5e-2),
    abs_rel_change=0.0123,
    abs_rel_set='64 rendered images',
    max_p999=0.1,
    max_max=0.5,
)
HALF_TEXT = (
    'depth mean 0.03%, 99.9 % of pixels 0.50%, max 2.20%; '
    'sigma mean 0.10%, 99.9 % of pixels 1.00%, max 5.00%; '
    'AbsRel +1.23% on 64 rendered images (rounded emulation, 8 images)'
)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


def test_what_a_precision_costs_is_said_as_it_was_measured() -> None:
    assert precision_text(HALF) == HALF_TEXT
    bare = replace(HALF, sigma=None, abs_rel_change=None)
    assert precision_text(bare).startswith('depth mean 0.03%, 99.9 % of pixels 0.50%, max 2.20% (')


def test_the_identity_is_that_of_what_runs_not_of_what_was_asked_for(model: Path) -> None:
    settings = settings_from({'backend': 'torch, onnxruntime', 'threads': 1, 'min_confidence': 0})
    predictor = open_model(model, settings, EngineOptions())
    identity = identity_of(predictor, settings)
    assert (identity.backend, identity.model, identity.model_file) == (
        'onnxruntime',
        'standin',
        str(model),
    )
    assert list(identity.passed_over) == ['torch']
    assert identity.fell_back
    assert identity.engine is None
    assert identity.precision_error == ''
    assert list(described(identity, predictor.manifest)) == [
        'model standin, 96x64, depth from 0.5 to 80 m'
    ]


def test_the_log_names_the_engine_and_the_error_of_its_precision(model: Path) -> None:
    manifest = replace(read_manifest(model), precision='fp16', precision_error=HALF)
    engine = EngineIdentity(
        key='0123456789abcdef', tensorrt='tensorrt 10.3.0', gpu='Orin', agreement='depth within 1'
    )
    identity = Identity(precision='fp16', precision_error=precision_text(HALF), engine=engine)
    assert list(described(identity, manifest))[1:] == [
        'engine 0123456789ab of tensorrt 10.3.0 on Orin, fp16: depth within 1',
        f'fp16 differs from fp32: {HALF_TEXT}',
    ]


def test_a_model_is_opened_at_the_size_that_the_images_ask_for(tmp_path: Path) -> None:
    """The preset brings the shorter side to 518, in multiples of 14."""
    name = 'depth_anything_v2_small'
    graph = STANDINS[name].write(tmp_path / 'graph.onnx')
    given = {'manifest': name, 'backend': 'onnxruntime', 'scale_source': 'sparse_depth'}
    settings = settings_from(given | {'image_height': 120, 'image_width': 240})
    predictor = open_model(graph, settings, EngineOptions())
    assert predictor.input_size == (518, 1036)
    identity = identity_of(predictor, settings)
    assert list(described(identity, predictor.manifest)) == [
        f'model {name}, sized by the camera, inverse depth'
    ]
    assert identity.scale_state == 'inverse'


def test_what_cannot_be_served_is_refused_before_it_is_opened(model: Path) -> None:
    manifest = read_manifest(model)
    inverse = replace(manifest, output=replace(manifest.output, kind=DepthKind.INVERSE))
    with pytest.raises(ModelError, match='gives inverse depth and this node publishes metres'):
        check_model(model, inverse, settings_from({}))
    check_model(model, inverse, settings_from({'scale_source': 'sparse_depth'}))
    for corrected in ('sparse_depth', 'fixed', 'speed'):
        check_model(model, manifest, settings_from({'scale_source': corrected}))
    with pytest.raises(ConfigError, match='scale_source is fixed and the model gives inverse'):
        check_model(model, inverse, settings_from({'scale_source': 'fixed'}))
    without_sigma = replace(manifest, output=replace(manifest.output, sigma=None))
    with pytest.raises(ConfigError, match='gives no sigma'):
        check_model(model, without_sigma, settings_from({'min_confidence': 0.5}))
