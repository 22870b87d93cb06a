# SPDX-License-Identifier: Apache-2.0
"""Running plans: on the fakes, which answer what ONNX Runtime does, and late."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import BackendError, ModelError
from depth_core.manifest import Manifest
from depth_core.runtime.backends.base import (
    Backend,
    LimitsBatch,
    MeasuresCopies,
    ResizesImages,
)
from depth_core.runtime.engine import kernel
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.device import open_device
from depth_core.runtime.engine.options import EngineOptions, RunsEngine
from depth_core.runtime.engine.session import EngineSession
from depth_core.runtime.preprocessing import Preprocessor
from test.depth_core.runtime.engine.sessions import depth_of, grey, session_of
from test.fakes import kernels
from test.fakes.gpu import GPU, Gpu
from test.fakes.installation import installed
from test.fakes.plans import fake_plan
from test.standin import write_standin_onnx

VERSIONS = ('8.6.1', '10.3.0', '11.4.0')
WITH_GRAPH = EngineOptions(cuda_graph=True)


@pytest.fixture(scope='module')
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('session') / 'fixed.onnx')


@pytest.fixture(scope='module')
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('session') / 'free.onnx', batch=0)


@pytest.fixture
def no_pycuda() -> Iterator[Gpu]:
    with installed(absent=('pycuda',)) as gpu:
        yield gpu


@pytest.mark.parametrize('absent', ['pycuda', 'cuda'])
@pytest.mark.parametrize('version', VERSIONS)
def test_it_answers_what_the_graph_says(fixed: Path, version: str, absent: str) -> None:
    with installed(version=version, absent=(absent,)) as gpu:
        session = session_of(fixed)
        for kind in (Backend, ResizesImages, LimitsBatch, MeasuresCopies, RunsEngine):
            if kind is not Backend:
                assert isinstance(session, kind)
        for code in (51, 102):
            depth, sigma = session.run(grey(code))
            assert depth.shape == (1, 64, 96)
            assert depth.dtype == np.float32
            assert sigma is not None
            np.testing.assert_allclose(depth, depth_of(code), rtol=1e-6)
            np.testing.assert_allclose(sigma, 0.1 * depth_of(code), rtol=1e-6)
        assert session.copy_s > 0.0
        assert session.engine.tensorrt == f'tensorrt {version}'
        assert session.engine.gpu == 'Fake GPU'
        assert gpu.pageable_copies == 0
        assert gpu.streams[0].waiting == []
        session.close()
        session.close()
        held = (gpu.memory, gpu.pinned, gpu.reserved, gpu.events, list(gpu.streams))
        assert held == ({}, {}, {}, {}, [0])
        with pytest.raises(BackendError, match='has been closed'):
            session.run(grey(1))


def test_several_images_at_once_and_the_shape_is_set_only_when_it_changes(
    free: Path, no_pycuda: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(free, largest=4)
    assert session.largest_batch == 4
    set_shapes: list[tuple[int, ...]] = []
    context = session._execution._loaded.context
    kind = type(context)
    original = kind.set_input_shape

    def spy(self: Any, name: str, shape: tuple[int, ...]) -> bool:
        set_shapes.append(shape)
        return bool(original(self, name, shape))

    monkeypatch.setattr(kind, 'set_input_shape', spy)
    for images in (3, 3, 1, 4):
        batch = np.concatenate([grey(10 * place) for place in range(images)])
        depth, sigma = session.run(batch)
        assert sigma is not None
        assert depth.shape == sigma.shape == (images, 64, 96)
        expected = [depth_of(10 * place) for place in range(images)]
        np.testing.assert_allclose(depth[:, 5, 7], expected, rtol=1e-6)
    assert [shape[0] for shape in set_shapes] == [3, 1, 4]
    for wrong in (5, 0):
        with pytest.raises(ModelError, match=rf'{wrong} images at once, .* 1 to 4'):
            session.run(grey(1, wrong))
    assert no_pycuda.pageable_copies == 0


def test_images_of_any_size_are_resized_on_the_gpu(free: Path, fake_gpu: Gpu) -> None:
    session = session_of(free, largest=3)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (*size, 3), np.uint8) for size in ((128, 192), (64, 96), (33, 50))
    ]
    expected, _ = session.run(Preprocessor(session.manifest)(images))
    expected = expected.copy()
    before = fake_gpu.pageable_copies
    fake_gpu.launches.clear()  # those of the trial at the start
    depth, sigma = session.run_images(images)
    assert sigma is not None
    np.testing.assert_allclose(depth, expected, atol=10.0 / 255 * 1.01)
    assert np.abs(depth - expected).mean() < 0.002
    assert fake_gpu.launches == ['resize_image'] * 3
    assert fake_gpu.pageable_copies == before
    pinned = len(fake_gpu.pinned)
    depth, _ = session.run_images(images[:1])  # less needs no other memory
    np.testing.assert_allclose(depth, expected[:1], atol=10.0 / 255 * 1.01)
    assert len(fake_gpu.pinned) == pinned


def test_a_foreign_input_is_made_on_the_gpu(tmp_path: Path, fake_gpu: Gpu) -> None:
    path, manifest = write_foreign(tmp_path / 'foreign.onnx')
    plan = fake_plan(path)
    session = EngineSession(load_tensorrt('tensorrt'), plan, open_device(), manifest)
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2] = 255  # blue
    fake_gpu.launches.clear()
    depth, sigma = session.run_images([image])
    assert sigma is None
    np.testing.assert_allclose(depth, (1.0 - 0.5) / 0.25, rtol=1e-6)
    assert fake_gpu.launches == ['resize_image']


def write_foreign(path: Path) -> tuple[Path, Manifest]:
    """A graph of NCHW floats in BGR, whose depth is its first channel, as half precision."""
    nodes = [
        helper.make_node('Slice', ['input', 'zero', 'one', 'one'], ['first']),
        helper.make_node('Cast', ['first'], ['output'], to=TensorProto.FLOAT16),
    ]
    graph = helper.make_graph(
        nodes,
        'foreign',
        [helper.make_tensor_value_info('input', TensorProto.FLOAT, [1, 3, 20, 30])],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT16, [1, 1, 20, 30])],
        [
            helper.make_tensor('zero', TensorProto.INT64, [1], [0]),
            helper.make_tensor('one', TensorProto.INT64, [1], [1]),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8), path
    )
    manifest = Manifest(
        name='foreign',
        input=InputSpec(
            height=20,
            width=30,
            name='input',
            layout='NCHW',
            dtype='float32',
            channels='BGR',
            mean=(0.5, 0.0, 0.0),
            std=(0.25, 1.0, 1.0),
        ),
        output=OutputSpec(
            kind=DepthKind.METRIC, min_depth=0.1, max_depth=9.0, depth='output', sigma=None
        ),
    )
    return path, manifest


def test_without_nvrtc_the_processor_resizes_and_one_line_says_so(
    fixed: Path,
    fake_gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(source: str, compute_capability: tuple[int, int]) -> bytes:
        del source, compute_capability
        message = 'NVRTC is not installed: no libnvrtc.so'
        raise BackendError(message)

    monkeypatch.setattr(kernel, 'compile_cubin', refuse)
    with caplog.at_level(logging.WARNING):
        session = session_of(fixed)
        for _ in range(2):
            depth, _ = session.run_images([np.full((128, 192, 3), 51, np.uint8)])
            np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
    (line,) = caplog.messages
    assert 'resized on the processor' in line
    assert 'NVRTC is not installed' in line
    assert fake_gpu.launches == []


def test_a_picture_too_large_for_the_kernel_is_resized_on_the_processor(
    fixed: Path, fake_gpu: Gpu
) -> None:
    session = session_of(fixed)
    fake_gpu.launches.clear()
    wide = np.full((1, (1 << 14) + 1, 3), 51, np.uint8)
    depth, _ = session.run_images([wide])
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
    assert fake_gpu.launches == []


def by_one_column(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.roll(codes, 1, axis=1)


def two_codes_brighter(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.minimum(codes, 253) + np.uint8(2)


@pytest.mark.parametrize(
    'case',
    [
        (by_one_column, (True, True)),
        (by_one_column, (False, False)),
        (by_one_column, (True, False)),
        (two_codes_brighter, (True, True)),
    ],
    ids=lambda case: case[0].__name__,
)
def test_a_kernel_that_is_wrong_in_one_way_of_resizing_is_done_without(
    fixed: Path,
    fake_gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    case: tuple[Any, tuple[bool, bool]],
) -> None:
    right = kernels.resize
    fault, where = case

    def wrong(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        codes = right(image, height, width)
        return (
            fault(codes) if (image.shape[0] > height, image.shape[1] > width) == where else codes
        )

    monkeypatch.setattr(kernels, 'resize', wrong)
    with caplog.at_level(logging.WARNING):
        session = session_of(fixed)
    (line,) = caplog.messages
    assert 'resized on the processor' in line
    assert 'codes off, and one is allowed' in line
    fake_gpu.launches.clear()
    depth, _ = session.run_images([np.full((100, 100, 3), 51, np.uint8)])
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
    assert fake_gpu.launches == []


def test_any_thread_may_ask_and_gets_its_own_answer(free: Path, no_pycuda: Gpu) -> None:
    session = session_of(free, largest=2, options=WITH_GRAPH)
    failures: list[object] = []

    def ask(code: int) -> None:
        try:
            for turn in range(10):
                # What the next call overwrites is looked at under no lock: ask for one number.
                images = 1 + (code + turn) % 2
                with reading:
                    depth, _ = session.run(grey(code, images))
                    found = depth.copy()
                np.testing.assert_allclose(found, depth_of(code), rtol=1e-6)
                assert found.shape[0] == images
        except BaseException as error:  # noqa: BLE001  for the thread that asks
            failures.append(error)

    reading = threading.Lock()
    threads = [threading.Thread(target=ask, args=(code,)) for code in (10, 120, 250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert no_pycuda.current == []


def test_a_cuda_graph_is_recorded_after_a_first_run_and_again_after_another_shape(
    free: Path, no_pycuda: Gpu
) -> None:
    session = session_of(free, largest=2, options=WITH_GRAPH)
    graphs = []
    for images, code in ((1, 10), (1, 20), (1, 30), (2, 40), (2, 50), (1, 60), (1, 70)):
        depth, _ = session.run(grey(code, images))
        np.testing.assert_allclose(depth, depth_of(code), rtol=1e-6)
        graphs.append(list(no_pycuda.graphs))
    # One at a time: none at the first run of a shape, the same until the shape changes.
    assert [len(kept) for kept in graphs] == [0, 1, 1, 0, 1, 0, 1]
    assert graphs[1] == graphs[2]
    assert len({graphs[1][0], graphs[4][0], graphs[6][0]}) == 3
    session.close()
    assert no_pycuda.graphs == {}


def test_where_pycuda_cannot_record_it_says_so_and_goes_on(
    fixed: Path, fake_gpu: Gpu, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        session = session_of(fixed, options=WITH_GRAPH)
    assert ['pycuda cannot record' in line for line in caplog.messages] == [True]
    for code in (51, 102):
        np.testing.assert_allclose(session.run(grey(code))[0], depth_of(code), rtol=1e-6)
    assert fake_gpu.graphs == {}


def test_what_is_dropped_is_given_back_but_not_under_an_answer(
    fixed: Path, no_pycuda: Gpu
) -> None:
    session = session_of(fixed)
    depth, _ = session.run(grey(51))
    del session
    gc.collect()
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
    assert no_pycuda.memory
    del depth, _
    gc.collect()
    assert (no_pycuda.memory, no_pycuda.pinned, no_pycuda.reserved) == ({}, {}, {})


def test_a_fixed_batch_may_be_filled_in_part(tmp_path: Path, fake_gpu: Gpu) -> None:
    path = write_standin_onnx(tmp_path / 'two.onnx', batch=2)
    session = session_of(path)
    depth, _ = session.run_images([np.full((50, 50, 3), 51, np.uint8)])
    assert depth.shape[0] == 2
    np.testing.assert_allclose(depth[0], 4.0, rtol=1e-6)
    with pytest.raises(ModelError, match='1 images at once, and the engine takes 2'):
        session.run(grey(1))
    with pytest.raises(ModelError, match=r'uint8 \[2, 32, 96, 3\]'):
        session.run(grey(1, 2)[:, :32])
    assert GPU is fake_gpu
