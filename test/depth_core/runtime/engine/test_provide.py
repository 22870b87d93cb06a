# SPDX-License-Identifier: Apache-2.0
"""Engines from the cache or built now, on the fakes of TensorRT and the GPU."""

from __future__ import annotations

import dataclasses
import errno
import logging
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_core.errors import BackendError, ConfigError
from depth_core.runtime import Predictor, backends
from depth_core.runtime.backends import BackendRequest
from depth_core.runtime.engine.answers import expected_answers, write_answers
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.options import BuildCancelledError, BuildProgress, EngineOptions
from depth_core.runtime.engine.plan_files import QUARANTINE
from depth_core.runtime.engine.provide import open_engine
from depth_core.runtime.engine.session import EngineSession
from test.fakes.gpu import Gpu
from test.fakes.installation import installed
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


@dataclasses.dataclass
class Place:
    """A model, a cache, and how often something was built."""

    model: Path
    folder: Path
    log: Path

    def open(self, flavour: Any = 'tensorrt', **options: Any) -> EngineSession:
        engine = EngineOptions(cache_dir=self.folder, **options)
        return open_engine(BackendRequest(path=self.model, engine=engine), flavour)

    @property
    def builds(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    @property
    def cache(self) -> EngineCache:
        return EngineCache(self.folder)

    @property
    def plans(self) -> list[Path]:
        return sorted(self.folder.glob('*.plan'))


@pytest.fixture
def place(tmp_path: Path, fake_gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty cache."""
    del fake_gpu  # installed
    monkeypatch.setenv('FAKE_TENSORRT_BUILD_LOG', str(tmp_path / 'builds'))
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    return Place(model, tmp_path / 'engines', tmp_path / 'builds')


@pytest.fixture(scope='module')
def built_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the engine of the stand-in."""
    folder = tmp_path_factory.mktemp('built')
    model = write_standin_onnx(folder / 'standin.onnx')
    with installed():
        Place(model, folder / 'engines', folder / 'builds').open()
    return folder / 'engines'


@pytest.fixture
def built(place: Place, built_folder: Path) -> Place:
    """A cache of its own with the engine of the stand-in, whose build is not counted."""
    shutil.copytree(built_folder, place.folder)
    return place


def check_answer(session: EngineSession) -> None:
    """2 m for black, 12 m for white, sigma a tenth."""
    depth, sigma = session.run(np.full((1, 64, 96, 3), 51, np.uint8))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
    assert sigma is not None
    np.testing.assert_allclose(sigma, 0.4, rtol=1e-6)


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


def test_a_gpu_without_memory_costs_no_plan(built: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_RUN', 'no_engine')
    with pytest.raises(BackendError, match='memory'):
        built.open()
    monkeypatch.delenv('FAKE_TENSORRT_RUN')
    check_answer(built.open())
    assert built.builds == 0


def test_a_build_without_memory_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_BUILD', 'out_of_memory')
    with pytest.raises(BackendError, match='memory'):
        place.open()
    assert place.plans == []
    assert place.cache.entries() == []


def test_a_build_that_is_given_up_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_BUILD_S', '60')
    cancelled = threading.Event()

    def report(progress: BuildProgress) -> None:
        if progress.phase.startswith('building'):
            cancelled.set()

    with pytest.raises(BuildCancelledError):
        place.open(report=report, cancelled=cancelled)
    assert place.plans == []
    monkeypatch.delenv('FAKE_TENSORRT_BUILD_S')
    check_answer(place.open())


def test_a_cache_that_others_may_write_to_is_refused(place: Place) -> None:
    place.folder.mkdir()
    place.folder.chmod(0o777)
    with pytest.raises(BackendError, match='mode 0777'):
        place.open()
    assert place.builds == 0


def test_without_a_cache_the_engine_is_served_with_a_warning(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.folder.write_text('a file where the folder should be')
    with caplog.at_level(logging.WARNING):
        check_answer(place.open())
        backend = place.open()
    check_answer(backend)
    assert 'engines are not kept, and built at each start' in caplog.text
    assert place.builds == 2
    with pytest.raises(BackendError, match='could not be kept'):
        backend.engine.check_kept()


def test_a_cache_that_is_read_only_serves_what_it_has(
    built: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr('depth_core.runtime.engine.cache.locked', read_only)
    monkeypatch.setattr('depth_core.runtime.engine.cache.try_lock', read_only)
    with caplog.at_level(logging.WARNING):
        check_answer(built.open())
    assert 'engines built now may not be kept' in caplog.text
    assert built.builds == 0


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


def test_without_a_driver_tensorrt_is_not_touched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_GPU_DRIVER', 'none')
    with pytest.raises(BackendError, match='driver'):
        place.open()
    assert 'tensorrt' not in sys.modules
    assert not place.folder.exists()


def test_without_tensorrt_it_is_said_what_brings_it(place: Place) -> None:
    with installed(absent=('tensorrt',)), pytest.raises(BackendError, match='is not installed'):
        place.open()


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


def test_more_images_than_the_graph_takes_are_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match='4 images at once'):
        place.open(max_batch=4)
    assert place.plans == []


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
