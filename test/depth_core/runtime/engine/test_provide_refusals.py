# SPDX-License-Identifier: Apache-2.0
"""What keeps an engine from being provided, and what is left of it then."""

from __future__ import annotations

import errno
import logging
import sys
import threading
from pathlib import Path

import pytest

from depth_core.errors import BackendError, ConfigError, ModelError
from depth_core.runtime.engine import build
from depth_core.runtime.engine.options import BuildCancelledError, BuildProgress
from test.depth_core.runtime.engine.places import Place, check_answer
from test.fakes.installation import installed
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


def test_a_gpu_without_memory_costs_no_plan(built: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_RUN', 'no_engine')
    with pytest.raises(BackendError, match='memory'):
        built.open()
    monkeypatch.delenv('FAKE_TENSORRT_RUN')
    check_answer(built.open())
    assert built.builds == 0


def test_a_driver_too_old_costs_no_plan(built: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_CUDA', '13010')
    with pytest.raises(BackendError, match='does not start'):
        built.open()
    monkeypatch.delenv('FAKE_TENSORRT_CUDA')
    check_answer(built.open())
    assert built.builds == 0


def test_what_was_built_is_kept_though_no_memory_is_left_to_open_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_RUN', 'no_engine')
    with pytest.raises(BackendError, match='memory'):
        place.open()
    monkeypatch.delenv('FAKE_TENSORRT_RUN')
    phases: list[str] = []
    check_answer(place.open(report=lambda progress: phases.append(progress.phase)))
    assert phases == ['comparing with the graph']
    assert place.builds == 1


@pytest.mark.parametrize('at', ['building', 'comparing with the graph'])
def test_a_model_that_changes_meanwhile_is_not_taken_for_the_former(place: Place, at: str) -> None:
    def report(progress: BuildProgress) -> None:
        if progress.phase == at:
            write_standin_onnx(place.model, max_depth=79.0)

    with pytest.raises(ModelError, match='was changed while its engine was prepared'):
        place.open(report=report)
    assert [entry.parity for entry in place.cache.entries()] == [None] * len(place.plans)
    assert len(place.plans) == (0 if at == 'building' else 1)
    check_answer(place.open())
    assert place.builds == 2


def test_one_process_at_a_time_may_use_the_gpu(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_GPU_EXCLUSIVE', str(tmp_path / 'gpu'))
    check_answer(place.open())  # this process takes it when the builder is gone
    place.cache.clear()
    with pytest.raises(BackendError, match=r'error: 46; .* \(compute mode Default\)'):
        place.open()


def test_a_gpu_that_tensorrt_rtx_does_not_know_is_refused_before_it_builds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_GPU_CC', '9.0')
    monkeypatch.setattr(build, 'BuilderProcess', None)
    with pytest.raises(BackendError, match=r'capability 9\.0; it builds for .*8\.6'):
        place.open('tensorrt-rtx')


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


def test_more_images_than_the_graph_takes_are_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match='4 images at once'):
        place.open(max_batch=4)
    assert place.plans == []
