# SPDX-License-Identifier: Apache-2.0
"""Backends tensorrt and tensorrt-rtx through Predictor, on the fakes."""

from __future__ import annotations

import gc
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthMap
from depth_core.errors import BackendError
from depth_core.runtime import Predictor
from depth_core.runtime.engine.options import EngineOptions
from test.fakes.gpu import Gpu
from test.fakes.installation import installed
from test.standin import write_standin_onnx

NAMES = ('tensorrt', 'tensorrt-rtx')


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


@pytest.fixture
def options(tmp_path: Path) -> EngineOptions:
    return EngineOptions(cache_dir=tmp_path / 'engines')


def picture(height: int = 128, width: int = 192) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = (51, 102, 153)
    return image


def check(answer: DepthMap) -> None:
    width = answer.depth_m.shape[1]
    left, right = answer.depth_m[:, : width // 2 - 3], answer.depth_m[:, width // 2 + 3 :]
    np.testing.assert_allclose(left, 2.0, rtol=1e-6)
    np.testing.assert_allclose(right, 6.0, rtol=1e-6)
    np.testing.assert_allclose(answer.sigma_m, 0.1 * answer.depth_m, rtol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_it_answers_real_depth_from_any_thread(
    standin: Path, fake_gpu: Gpu, options: EngineOptions, name: str
) -> None:
    predictor = Predictor.open(standin, backend=name, strict=True, engine=options)
    assert predictor.backend == name
    assert predictor.engine is not None
    assert predictor.engine.gpu == 'Fake GPU'
    answers: list[DepthMap] = []

    def ask() -> None:
        answers.extend(predictor.predict(picture(), stamp_ns=stamp) for stamp in range(5))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 15
    for answer in answers:
        check(answer)
    assert fake_gpu.launches.count('resize_image') >= 15
    assert predictor.stage_times.copy_s is not None


def test_several_cameras_are_answered_at_once(
    tmp_path: Path, fake_gpu: Gpu, options: EngineOptions
) -> None:
    path = write_standin_onnx(tmp_path / 'free.onnx', batch=0)
    three = EngineOptions(cache_dir=options.cache_dir, max_batch=3)
    predictor = Predictor.open(path, backend='tensorrt', engine=three)
    sizes = ((128, 192), (64, 96), (96, 130), (32, 48))
    answers = predictor.predict_batch([picture(*size) for size in sizes])
    for answer, size in zip(answers, sizes, strict=True):
        assert answer.depth_m.shape == size
        check(answer)
    assert fake_gpu.current == []


def test_without_a_driver_the_processor_answers_and_tensorrt_is_not_even_loaded(
    standin: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with installed():
        monkeypatch.setenv('FAKE_GPU_DRIVER', 'none')
        with caplog.at_level(logging.INFO):
            predictor = Predictor.open(standin)
        assert predictor.backend not in NAMES
        check(predictor.predict(picture()))
        passed_over = dict(predictor.passed_over)
        for name in NAMES:
            assert 'no NVIDIA driver is installed here' in passed_over[name]
        assert {'tensorrt', 'tensorrt_rtx'}.isdisjoint(sys.modules)
        with pytest.raises(BackendError, match='no NVIDIA driver'):
            Predictor.open(standin, backend='tensorrt')


def test_without_tensorrt_the_next_is_taken_and_strict_says_what_installs_it(
    standin: Path, options: EngineOptions
) -> None:
    with installed(absent=('tensorrt',)):
        predictor = Predictor.open(standin, engine=options)
        assert predictor.backend == 'tensorrt-rtx'
        with pytest.raises(BackendError, match=r"depth_ros\[tensorrt\]'"):
            Predictor.open(standin, backend=('tensorrt', 'openvino'), strict=True)


@pytest.fixture(
    params=[
        ('FAKE_GPU_DRIVER', '10020', 'driver'),
        ('FAKE_TENSORRT_CUDA', '13010', 'does not start: .*update the driver'),
        ('FAKE_TENSORRT_BUILD', 'out_of_memory', 'memory'),
        ('FAKE_TENSORRT_RUN', 'no_engine', 'memory'),
        ('FAKE_GPU_MEMORY', '45000', 'memory'),
    ],
    ids=['driver', 'driver-of-tensorrt', 'building', 'loading', 'device'],
)
def lack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Something that a GPU needs and this one has not; words of the reason."""
    variable, value, words = request.param
    monkeypatch.setenv(variable, value)
    return str(words)


def test_an_old_driver_or_full_memory_leaves_it_to_the_next_backend(
    standin: Path, fake_gpu: Gpu, options: EngineOptions, lack: str
) -> None:
    chain = ('tensorrt', 'onnxruntime')
    predictor = Predictor.open(standin, backend=chain, engine=options)
    assert predictor.backend == 'onnxruntime'
    check(predictor.predict(picture()))
    ((name, reason),) = predictor.passed_over
    assert name == 'tensorrt'
    assert re.search(lack, reason), reason
    with pytest.raises(BackendError, match=lack):
        Predictor.open(standin, backend=chain, strict=True, engine=options)
    gc.collect()
    assert (fake_gpu.memory, fake_gpu.pinned) == ({}, {})


def test_memory_that_runs_out_at_an_answer_is_said_and_the_next_one_comes(
    standin: Path, fake_gpu: Gpu, options: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.open(standin, backend='tensorrt', strict=True, engine=options)
    check(predictor.predict(picture()))
    monkeypatch.setenv('FAKE_GPU_MEMORY', str(fake_gpu.used_memory + 100_000))
    with pytest.raises(BackendError, match='memory'):
        predictor.predict(picture(400, 600))
    check(predictor.predict(picture()))
    monkeypatch.setenv('FAKE_TENSORRT_RUN', 'no_enqueue')
    with pytest.raises(BackendError, match='OutOfMemory'):
        predictor.predict(picture())
    monkeypatch.delenv('FAKE_TENSORRT_RUN')
    check(predictor.predict(picture()))


def test_another_device_is_taken_by_its_name(
    standin: Path, fake_gpu: Gpu, options: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError, match='GPU 1 was asked for, and there are 1'):
        Predictor.open(standin, backend='tensorrt', device='cuda:1', engine=options)
    monkeypatch.setenv('FAKE_GPU_COUNT', '2')
    monkeypatch.setenv('FAKE_GPU_CC', '8.6,7.5')  # a plan for one is none for the other
    opened = Predictor.open(standin, backend='tensorrt', device='cuda:1', engine=options)
    check(opened.predict(picture()))
    assert fake_gpu.retained == 1


def test_a_process_that_ends_ends_quietly(
    standin: Path, fake_gpu: Gpu, options: EngineOptions
) -> None:
    assert fake_gpu.count == 1
    program = (
        'import sys, numpy\n'
        'from pathlib import Path\n'
        'from depth_core.runtime import Predictor\n'
        'from depth_core.runtime.engine.options import EngineOptions\n'
        'options = EngineOptions(cache_dir=Path(sys.argv[2]))\n'
        'opened = Predictor.open(sys.argv[1], backend="tensorrt", engine=options)\n'
        'answer = opened.predict(numpy.full((64, 96, 3), 51, numpy.uint8))\n'
        'print(round(float(answer.depth_m.mean()), 4))\n'
    )
    finished = subprocess.run(
        [sys.executable, '-c', program, standin, str(options.cache_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout.split()) == (0, ['4.0']), finished.stderr
    assert finished.stderr == ''
