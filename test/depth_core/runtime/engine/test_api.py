# SPDX-License-Identifier: Apache-2.0
"""Finding TensorRT, and what it says by answering nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from depth_core.errors import BackendError
from depth_core.runtime.engine.api import TensorRt, load_tensorrt, progress_monitor
from test.fakes.installation import installed, write_package

NO_DRIVER = 'IRuntime: Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is too old)'


@pytest.fixture
def trt() -> Iterator[TensorRt]:
    with installed():
        yield load_tensorrt('tensorrt')


def complain(trt: TensorRt, *texts: str, severity: str = 'ERROR') -> None:
    for text in texts:
        trt.logger.log(getattr(trt.module.ILogger.Severity, severity), text)


def test_the_first_error_counts_and_not_what_follows_it(trt: TensorRt) -> None:
    trt.clear_errors()
    assert trt.first_error() == ''
    complain(trt, 'slow', severity='WARNING')
    assert trt.first_error() == ''
    complain(trt, NO_DRIVER, 'Error Code 4: the cause\n  of it', NO_DRIVER, 'its consequence')
    assert trt.first_error() == 'Error Code 4: the cause of it'
    trt.clear_errors()
    complain(trt, 'fatal', severity='INTERNAL_ERROR')
    assert trt.first_error() == 'fatal'


def test_no_driver_is_the_reason_only_where_there_is_no_other(trt: TensorRt) -> None:
    trt.clear_errors()
    complain(trt, NO_DRIVER)
    assert trt.first_error() == f'no CUDA driver that this version can use ({NO_DRIVER})'


def test_errors_come_from_any_thread_and_the_first_stays_however_many(trt: TensorRt) -> None:
    trt.clear_errors()
    complain(trt, 'the first')
    threads = [
        threading.Thread(target=complain, args=(trt, *(f'{place}' for place in range(200))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trt.first_error() == 'the first'


def in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_each_thread_hears_its_own_errors_and_those_of_tensorrt(trt: TensorRt) -> None:
    trt.clear_errors()
    heard: list[str] = []

    def other_camera() -> None:
        trt.clear_errors()
        complain(trt, 'of the other camera')
        heard.append(trt.first_error())

    in_a_thread(other_camera)
    assert heard == ['of the other camera']
    assert trt.first_error() == ''
    in_a_thread(lambda: complain(trt, 'of a thread of TensorRT'))
    assert trt.first_error() == 'of a thread of TensorRT'
    assert trt.first_error(own=True) == ''
    complain(trt, 'of its own')
    assert trt.first_error() == 'of a thread of TensorRT'
    assert trt.first_error(own=True) == 'of its own'


def test_the_cuda_that_it_was_built_for_is_in_the_name_of_its_package(
    trt: TensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert trt.cuda_major is None  # as from apt
    write_package(tmp_path, 'tensorrt-cu12-bindings', '10.3.0.1')
    write_package(tmp_path, 'tensorrt-cu13', '11.4.0.106')  # not the one that is imported
    assert trt.cuda_major == 12
    write_package(tmp_path, 'tensorrt-cu11', '10.3.0.1')
    assert trt.cuda_major is None  # one of the two


@pytest.mark.parametrize('answer', [None, False, -1])
def test_what_says_failure_is_an_error(trt: TensorRt, answer: object) -> None:
    trt.clear_errors()
    complain(trt, 'because of this')
    with pytest.raises(BackendError, match=r'tensorrt 10\.3\.0 cannot do it: because of this'):
        trt.required(answer, 'do it')
    trt.clear_errors()
    with pytest.raises(BackendError, match='TensorRT gave no reason'):
        trt.required(answer, 'do it')


@pytest.mark.parametrize('answer', [True, 0, 1, b'', [], -1.0])
def test_what_says_success_is_given_back(trt: TensorRt, answer: object) -> None:
    assert trt.required(answer, 'do it') is answer


def test_a_module_is_given_one_logger_that_stays(trt: TensorRt) -> None:
    assert load_tensorrt('tensorrt') is trt
    with installed(version='11.4.0'):
        other = load_tensorrt('tensorrt')
        assert other is not trt
        assert other.release == (11, 4, 0)
        assert str(other) == 'tensorrt 11.4.0'


def test_what_only_has_the_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'tensorrt_rtx').mkdir()
    (tmp_path / 'tensorrt_rtx' / '__init__.py').write_text('', encoding='utf-8')
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [item for item in sys.modules if item.startswith('tensorrt_rtx')]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendError, match=r'is not TensorRT: it has no __version__, Builder'):
        load_tensorrt('tensorrt-rtx')
    monkeypatch.delitem(sys.modules, 'tensorrt_rtx')


def test_libraries_that_are_missing_are_said_with_what_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'tensorrt.py').write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')", encoding='utf-8'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'tensorrt', raising=False)
    with pytest.raises(BackendError, match=r'libnvinfer\.so\.10: cannot open.*JetPack'):
        load_tensorrt('tensorrt')


def test_phases_inside_phases_make_one_fraction(trt: TensorRt) -> None:
    told: list[tuple[str, float]] = []

    def tell(phase: str, fraction: float) -> bool:
        told.append((phase, fraction))
        return len(told) < 7

    monitor: Any = progress_monitor(trt, tell)
    monitor.phase_start('outer', None, 2)
    monitor.step_complete('outer', 0)
    monitor.phase_start('inner', 'outer', 4)
    monitor.step_complete('inner', 0)
    assert monitor.step_complete('inner', 1) is True
    monitor.phase_finish('inner')
    monitor.phase_start('empty', 'outer', 0)
    assert monitor.step_complete('outer', 1) is False  # which gives up the build
    monitor.phase_finish('outer')
    assert told == [
        ('outer', 0.0),
        ('outer', 0.5),
        ('inner', 0.5),
        ('inner', 0.625),  # a quarter of the second half
        ('inner', 0.75),
        ('empty', 0.75),  # what was done stays done
        ('empty', 1.0),
    ]
