# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from depth_core.contracts import DepthMap
from depth_core.geometry import intrinsics_from_hfov
from depth_core.runtime import Predictor
from depth_core.runtime.engine.api import TensorRt
from depth_core.runtime.engine.device import open_device
from depth_core.runtime.engine.options import EngineOptions
from test.standin import write_standin_onnx

MODEL = 'densedepth_small'
IMAGES = np.random.default_rng(1).integers(0, 256, (4, 480, 640, 3), np.uint8)
CAMERA = intrinsics_from_hfov(60.0, height=480, width=640)


@pytest.fixture(scope='module')
def expected() -> list[DepthMap]:
    return Predictor.open(MODEL, backend='onnxruntime').predict_batch(
        list(IMAGES), [CAMERA] * len(IMAGES)
    )


def assert_close(found: DepthMap, wanted: DepthMap) -> None:
    finite = np.isfinite(wanted.depth_m) & np.isfinite(found.depth_m)
    assert finite.mean() > 0.9
    np.testing.assert_allclose(found.depth_m[finite], wanted.depth_m[finite], rtol=2e-2)


@pytest.mark.parametrize('cuda_graph', [False, True])
def test_the_shipped_model_answers_as_onnx_runtime(
    trt: TensorRt, options: EngineOptions, expected: list[DepthMap], cuda_graph: bool
) -> None:
    options = dataclasses.replace(options, cuda_graph=cuda_graph)
    predictor = Predictor.open(MODEL, backend=trt.flavour, strict=True, engine=options)
    for _ in range(3):
        for image, wanted in zip(IMAGES, expected, strict=True):
            assert_close(predictor.predict(image, CAMERA), wanted)
    assert predictor.stage_times.copy_s is not None


def test_any_thread_may_ask(
    trt: TensorRt, options: EngineOptions, expected: list[DepthMap]
) -> None:
    predictor = Predictor.open(MODEL, backend=trt.flavour, strict=True, engine=options)
    failures: list[BaseException] = []

    def ask(place: int) -> None:
        try:
            for _ in range(5):
                assert_close(predictor.predict(IMAGES[place], CAMERA), expected[place])
        except BaseException as error:  # noqa: BLE001  for the thread that asks
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_several_cameras_at_once(trt: TensorRt, options: EngineOptions, tmp_path: Path) -> None:
    path = write_standin_onnx(tmp_path / 'free.onnx', batch=0)
    three = dataclasses.replace(options, max_batch=3, cuda_graph=True)
    predictor = Predictor.open(path, backend=trt.flavour, strict=True, engine=three)
    for count in (1, 3, 3, 2, 4, 1):
        images = [np.full((480, 640, 3), 10 * place, np.uint8) for place in range(count)]
        answers = predictor.predict_batch(images)
        for place, answer in enumerate(answers):
            np.testing.assert_allclose(answer.depth_m, 2.0 + 100.0 * place / 255, rtol=1e-3)


def test_memory_is_given_back(trt: TensorRt, options: EngineOptions) -> None:
    device = open_device()
    if device.info.integrated:
        pytest.skip('the rest of the machine takes and gives the same memory')

    def left() -> int:
        with device.current():
            return device.free_bytes()

    def once() -> int:
        before = left()
        predictor = Predictor.open(MODEL, backend=trt.flavour, strict=True, engine=options)
        predictor.predict(IMAGES[0], CAMERA)
        return before - left()

    once()  # what the libraries keep for themselves
    before = left()
    held = [once() for _ in range(6)]
    # Others may take some meanwhile; half of what would be gone is far more.
    assert before - left() < max(sum(held) // 2, 16 << 20)
