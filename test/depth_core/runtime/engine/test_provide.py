# SPDX-License-Identifier: Apache-2.0
"""Engines from the cache or built now, on the fakes of TensorRT and the GPU."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest

from depth_core.errors import BackendError, ConfigError
from depth_core.manifest import manifest_path, read_manifest, write_manifest
from depth_core.runtime import Predictor, backends
from depth_core.runtime.engine import provide
from depth_core.runtime.engine.answers import expected_answers, write_answers
from depth_core.runtime.engine.options import BuildProgress, EngineOptions
from depth_core.runtime.engine.plan_files import QUARANTINE
from test.depth_core.runtime.engine.graphs import HEIGHT, WIDTH, write_graph
from test.depth_core.runtime.engine.places import Place, check_answer
from test.fakes.installation import installed
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


def test_an_engine_is_built_once_and_compared_once(place: Place) -> None:
    phases: list[str] = []
    first = place.open(report=lambda progress: phases.append(progress.phase))
    check_answer(first)
    assert 'comparing with the graph' in phases
    phases.clear()
    second = place.open(report=lambda progress: phases.append(progress.phase))
    check_answer(second)
    assert place.builds == 1
    assert phases == []
    assert first.engine == second.engine
    (entry,) = place.cache.entries()
    assert first.engine.key == entry.key
    assert first.engine.tensorrt == 'tensorrt 10.3.0'
    assert first.engine.gpu == 'Fake GPU'
    assert first.engine.agreement.startswith('depth within')
    assert entry.parity is not None
    assert entry.parity['passed'] is True
    assert entry.notes['model'] == str(place.model)
    assert (entry.fields['gpu'], entry.fields['compute_capability']) == ('Fake GPU', '8.6')
    assert (entry.fields['multiprocessors'], entry.fields['memory_gib']) == (12, 8)


def test_weights_in_a_file_of_their_own_belong_to_the_engine(place: Place) -> None:
    positive = onnx.helper.make_node('Abs', ['features'], ['more'])
    path = place.model.with_name('small.onnx')
    place.model = write_graph(path, extra=[positive], external=True)
    weights = place.model.with_name('weights.bin')
    (stored,) = (i for i in onnx.load(place.model).graph.initializer if i.name == 'weight')
    image = np.full((1, HEIGHT, WIDTH, 3), 100, np.uint8)
    first, _ = place.open().run(image)
    place.open()
    assert place.builds == 1
    halved = onnx.numpy_helper.to_array(stored) / 2.0
    weights.write_bytes(weights.read_bytes().replace(stored.raw_data, halved.tobytes()))
    second, _ = place.open().run(image)
    assert place.builds == 2
    np.testing.assert_allclose(second[0, 8, 8], first[0, 8, 8] / 2.0, rtol=1e-3)  # Softplus


@pytest.mark.parametrize(
    ('factor', 'said'),
    [('1.2', 'depth differs by 0.2'), ('nan', 'gives depth that is not finite')],
)
def test_an_engine_that_is_wrong_is_not_served_and_not_built_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, factor: str, said: str
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_BROKEN', factor)
    with pytest.raises(BackendError, match=said) as caught:
        place.open()
    assert 'does not answer as the graph and is not used' in str(caught.value)
    assert place.plans == []
    with pytest.raises(BackendError, match=said) as caught:
        place.open()
    assert 'this was found earlier' in str(caught.value)
    assert place.builds == 1
    place.cache.clear()
    monkeypatch.delenv('FAKE_TENSORRT_BROKEN')
    check_answer(place.open())
    assert place.builds == 2


@pytest.mark.parametrize(
    ('variable', 'value'), [('FAKE_GPU_DRIVER', '12060'), ('FAKE_GPU_NAME', 'Other GPU')]
)
def test_elsewhere_the_engine_is_compared_again(
    built: Place, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv('FAKE_TENSORRT_BROKEN', '1.2')
    with pytest.raises(BackendError, match=r'depth differs by 0\.2'):
        built.open()


def test_another_driver_needs_no_other_engine(
    built: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_GPU_DRIVER', '12060')
    phases: list[str] = []
    check_answer(built.open(report=lambda progress: phases.append(progress.phase)))
    assert phases == ['comparing with the graph']
    assert built.builds == 0


def test_another_way_to_run_is_compared_again(
    built: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[str] = []

    def report(progress: BuildProgress) -> None:
        phases.append(progress.phase)

    with installed(absent=('pycuda',)):  # another way to reach the same GPU is none
        built.open(report=report)
    assert phases == []
    built.open(report=report, cuda_graph=True)
    assert phases == ['comparing with the graph']
    built.open(report=report)
    monkeypatch.setattr(provide, 'KERNEL_SHA256', '0' * 64)
    built.open(report=report)
    assert (len(phases), built.builds) == (3, 0)


def test_a_foreign_graph_is_compared_again_when_its_manifest_is_another(place: Place) -> None:
    manifest = read_manifest(place.model)
    foreign = onnx.load(place.model)
    del foreign.metadata_props[:]
    onnx.save(foreign, place.model)
    phases: list[str] = []
    for max_depth, compared in ((80.0, 1), (80.0, 1), (70.0, 2)):
        output = dataclasses.replace(manifest.output, max_depth=max_depth)
        write_manifest(manifest_path(place.model), dataclasses.replace(manifest, output=output))
        check_answer(place.open(report=lambda progress: phases.append(progress.phase)))
        assert phases.count('comparing with the graph') == compared
    assert place.builds == 1


def test_a_refusal_by_another_driver_is_no_refusal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_BROKEN', '1.2')
    with pytest.raises(BackendError):
        place.open()
    monkeypatch.delenv('FAKE_TENSORRT_BROKEN')
    monkeypatch.setenv('FAKE_GPU_DRIVER', '12060')
    check_answer(place.open())
    assert place.builds == 2


@pytest.mark.parametrize(
    ('variable', 'value'),
    [('FAKE_GPU_NAME', 'Other GPU'), ('FAKE_GPU_CC', '8.9'), ('FAKE_GPU_MEMORY', str(24 << 30))],
)
def test_another_gpu_gets_its_own_engine(
    built: Place, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    check_answer(built.open())
    assert built.builds == 1
    assert len(built.plans) == 2
    monkeypatch.delenv(variable)
    built.open()
    assert built.builds == 1


def test_another_version_or_flavour_of_tensorrt_gets_its_own_engine(built: Place) -> None:
    check_answer(built.open('tensorrt-rtx'))
    with installed(version='11.4.0'):
        check_answer(built.open())
    assert built.builds == 2
    assert len(built.plans) == 3


def test_another_content_of_the_model_gets_its_own_engine(built: Place) -> None:
    write_standin_onnx(built.model, max_depth=79.0)
    built.open()
    assert built.builds == 1
    built.open(workspace_bytes=1 << 20)
    assert built.builds == 2


@pytest.mark.parametrize('damage', [b'', b'half'])
def test_a_damaged_plan_is_built_again(
    built: Place, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    (plan,) = built.plans
    plan.write_bytes(damage or plan.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        check_answer(built.open())
    assert 'its record says' in caplog.text
    assert built.builds == 1
    built.open()
    assert built.builds == 1


def test_a_plan_of_another_gpu_is_built_again(
    built: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = built.cache.entries()
    monkeypatch.setenv('FAKE_GPU_CC', '9.0')
    built.open()
    (foreign,) = (entry for entry in built.cache.entries() if entry.key != own.key)
    plan = built.cache.load(foreign.key)
    assert plan is not None
    monkeypatch.delenv('FAKE_GPU_CC')
    built.cache.store(own.key, plan, own.fields)  # with a record that fits
    with caplog.at_level(logging.WARNING):
        check_answer(built.open())
    assert 'incompatible device' in caplog.text
    assert built.builds == 2
    assert any((built.folder / QUARANTINE).glob('*.plan'))


def test_an_engine_that_was_not_compared_any_more_is_compared_now(built: Place) -> None:
    (own,) = built.cache.entries()
    plan = built.cache.load(own.key)
    assert plan is not None
    built.cache.store(own.key, plan, own.fields)  # as when a kill came before the comparison
    phases: list[str] = []
    built.open(report=lambda progress: phases.append(progress.phase))
    assert phases == ['comparing with the graph']
    built.open(report=lambda progress: phases.append(progress.phase))
    assert (len(phases), built.builds) == (1, 0)


def test_batches_are_compared_too(place: Place) -> None:
    write_standin_onnx(place.model, batch=0)
    session = place.open(max_batch=3)
    depth, _ = session.run(np.stack([np.full((64, 96, 3), c, np.uint8) for c in (0, 51, 255)]))
    np.testing.assert_allclose(depth[:, 0, 0], [2.0, 4.0, 12.0], rtol=1e-6)
    (entry,) = place.cache.entries()
    assert entry.parity is not None
    assert entry.parity['batch'] == 3
    place.open(max_batch=2)
    assert place.builds == 2


def test_stored_answers_are_enough_to_compare_with(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_answers(place.model, expected_answers(place.model))
    rows = {name: dataclasses.replace(row, proves='') for name, row in backends.BACKENDS.items()}
    monkeypatch.setattr(backends, 'BACKENDS', rows)
    monkeypatch.setattr('depth_core.runtime.engine.answers.BACKENDS', rows)
    assert 'as stored in standin.answers.npz' in place.open().engine.agreement
    place.cache.clear()
    place.model.with_name('standin.answers.npz').unlink()
    with pytest.raises(BackendError, match='cannot be compared with anything'):
        place.open()


def test_an_engine_in_use_is_not_deleted(built: Place) -> None:
    session = built.open()
    assert built.cache.clear()[0] == []
    check_answer(session)
    del session
    assert len(built.cache.clear()[0]) == 1


def test_the_next_backend_answers_where_the_engine_is_wrong(
    built: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = EngineOptions(cache_dir=built.folder)
    chain = ('tensorrt', 'onnxruntime')
    assert Predictor.open(built.model, backend=chain, engine=options).backend == 'tensorrt'
    monkeypatch.setenv('FAKE_TENSORRT_BROKEN', '1.2')
    monkeypatch.setenv('FAKE_GPU_DRIVER', '12060')
    with caplog.at_level(logging.WARNING):
        predictor = Predictor.open(built.model, backend=chain, engine=options)
    assert predictor.backend == 'onnxruntime'
    assert 'depth differs by 0.2 on average' in caplog.text
    assert 'depth differs by 0.2 on average' in dict(predictor.passed_over)['tensorrt']
    with pytest.raises(BackendError, match=r'strict forbids another.*depth differs'):
        Predictor.open(built.model, backend=chain, engine=options, strict=True)


def test_an_engine_is_no_model(tmp_path: Path) -> None:
    plan = tmp_path / 'model.engine'
    plan.write_bytes(b'ftrt')
    with pytest.raises(ConfigError, match='is not loaded: an engine is a program'):
        Predictor.open(plan)
