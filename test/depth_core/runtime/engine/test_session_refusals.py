# SPDX-License-Identifier: Apache-2.0
"""Plans that cannot run, and memory that runs out: said in words, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import BackendError, ModelError
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.device import OutOfDeviceMemoryError, open_device
from depth_core.runtime.engine.session import EngineSession
from test.depth_core.runtime.engine.sessions import grey, session_of
from test.fakes.gpu import Gpu
from test.fakes.installation import installed, write_package
from test.fakes.plans import fake_plan
from test.standin import write_standin_onnx

VERSIONS = ('8.6.1', '10.3.0', '11.4.0')


@pytest.fixture(scope='module')
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('session') / 'fixed.onnx')


@pytest.fixture
def no_pycuda() -> Iterator[Gpu]:
    with installed(absent=('pycuda',)) as gpu:
        yield gpu


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize(
    ('switch', 'words'),
    [
        ('no_engine', 'cannot load the engine: Error Code 2: OutOfMemory'),
        ('no_context', 'cannot prepare the engine to run: Error Code 2: OutOfMemory'),
    ],
)
def test_a_start_that_fails_half_way_leaves_nothing_behind(
    fixed: Path, version: str, switch: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with installed(version=version) as gpu:
        plan = fake_plan(fixed)
        monkeypatch.setenv('FAKE_TENSORRT_RUN', switch)
        with pytest.raises(OutOfDeviceMemoryError) as caught:
            session_of(fixed, plan=plan)
        assert words in str(caught.value)
        assert 'End other programs' in str(caught.value)
        assert '35' not in str(caught.value)
        assert (gpu.memory, gpu.pinned, list(gpu.streams)) == ({}, {}, [0])


@pytest.mark.parametrize('room', [20_000, 45_000, 1_060_000, 1_100_000])
def test_memory_may_run_out_anywhere(
    fixed: Path, room: int, no_pycuda: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fake_plan(fixed)
    monkeypatch.setenv('FAKE_GPU_MEMORY', str(room))
    with pytest.raises(OutOfDeviceMemoryError):
        session_of(fixed, plan=plan)
    gc.collect()
    assert (no_pycuda.memory, no_pycuda.pinned, no_pycuda.reserved) == ({}, {}, {})
    monkeypatch.setenv('FAKE_GPU_MEMORY', str(8 << 30))
    np.testing.assert_allclose(session_of(fixed, plan=plan).run(grey(51))[0], 4.0, rtol=1e-6)


def test_out_of_memory_in_a_run_is_said_and_the_next_run_works(
    fixed: Path, no_pycuda: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(fixed)
    monkeypatch.setenv('FAKE_TENSORRT_RUN', 'no_enqueue')
    with pytest.raises(OutOfDeviceMemoryError, match=r'cannot run the engine: .*OutOfMemory'):
        session.run(grey(1))
    monkeypatch.delenv('FAKE_TENSORRT_RUN')
    np.testing.assert_allclose(session.run(grey(51))[0], 4.0, rtol=1e-6)
    assert no_pycuda.current == []


def test_a_large_picture_may_find_no_memory_and_the_next_one_does(
    fixed: Path, no_pycuda: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(fixed)
    monkeypatch.setenv('FAKE_GPU_MEMORY', str(no_pycuda.used_memory + 100_000))
    with pytest.raises(OutOfDeviceMemoryError):
        session.run_images([np.zeros((400, 400, 3), np.uint8)])
    depth, _ = session.run_images([np.full((100, 100, 3), 51, np.uint8)])
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)


def test_the_real_library_refuses_what_is_no_plan(fixed: Path) -> None:
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is for x86-64 machines')
    trt = load_tensorrt('tensorrt-rtx')  # the real one, before the fakes stand in its place
    with installed() as gpu:
        with pytest.raises(BackendError, match=r'cannot load the engine: .*readHeader'):
            EngineSession(trt, b'nonsense', open_device(), read_manifest(fixed))
        assert (gpu.memory, gpu.pinned, list(gpu.streams)) == ({}, {}, [0])


@pytest.mark.parametrize('version', VERSIONS)
def test_plans_that_are_no_good_here(
    fixed: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = '10.3.0' if version != '10.3.0' else '11.4.0'
    with installed(version=other):
        foreign = fake_plan(fixed)
    with installed(version=version) as gpu:
        plan = fake_plan(fixed)
        with pytest.raises(BackendError, match='Serialization assertion'):
            session_of(fixed, plan=plan[: len(plan) // 2])
        with pytest.raises(BackendError, match=f'expecting library version {version} got {other}'):
            session_of(fixed, plan=foreign)
        monkeypatch.setenv('FAKE_GPU_CC', '8.7')
        with pytest.raises(BackendError, match=r'expecting compute 8\.7 got compute SM86'):
            session_of(fixed, plan=plan)
        assert (gpu.memory, gpu.pinned) == ({}, {})


def test_a_driver_too_old_for_tensorrt_is_said_and_the_process_lives(
    fixed: Path, fake_gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fake_plan(fixed)
    monkeypatch.setenv('FAKE_TENSORRT_CUDA', '13010')
    with pytest.raises(BackendError, match=r'tensorrt 10\.3\.0 does not start: .*update the dri'):
        session_of(fixed, plan=plan)
    gc.collect()
    assert not fake_gpu.crashed
    assert (fake_gpu.memory, fake_gpu.pinned, list(fake_gpu.streams)) == ({}, {}, [0])


def test_a_driver_older_than_the_cuda_of_tensorrt_is_said_before_it_is_touched(
    fixed: Path, fake_gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fake_plan(fixed)
    write_package(tmp_path, 'tensorrt-cu13', '10.3.0.1')
    with monkeypatch.context() as patch:  # undone while the fakes are on the path
        patch.syspath_prepend(str(tmp_path))
        assert session_of(fixed, plan=plan).largest_batch == 1
        patch.setenv('FAKE_GPU_DRIVER', '12080')
        patch.setattr(load_tensorrt('tensorrt').module, 'Runtime', None)
        with pytest.raises(BackendError, match=r'built for CUDA 13, .* up to 12\.8; update'):
            session_of(fixed, plan=plan)
    gc.collect()
    assert (fake_gpu.memory, fake_gpu.pinned, list(fake_gpu.streams)) == ({}, {}, [0])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'input': {'name': 'picture'}}, "says 'picture' uint8"),
        ({'input': {'width': 100}}, '[1, 64, 100, 3]'),
        ({'input': {'batch': 2}}, '[2, 64, 96, 3]'),
        ({'input': {'dtype': 'float32'}}, "says 'image' float32"),
        ({'output': {'depth': 'distance'}}, "depth.output is 'distance'"),
    ],
)
def test_an_engine_that_is_not_its_manifest_names_both(
    fixed: Path, fake_gpu: Gpu, change: dict[str, dict[str, Any]], words: str
) -> None:
    manifest = read_manifest(fixed)
    for part, fields in change.items():
        changed = dataclasses.replace(getattr(manifest, part), **fields)
        manifest = dataclasses.replace(manifest, **{part: changed})
    with pytest.raises(ModelError, match='is not what its manifest describes') as caught:
        EngineSession(load_tensorrt('tensorrt'), fake_plan(fixed), open_device(), manifest)
    assert words in str(caught.value)
    assert (fake_gpu.memory, fake_gpu.pinned) == ({}, {})


def test_an_answer_whose_size_depends_on_the_image_is_refused(
    tmp_path: Path, fake_gpu: Gpu
) -> None:
    shape = [1, 4, 4]
    nodes = [
        helper.make_node('Cast', ['image'], ['codes'], to=TensorProto.FLOAT),
        helper.make_node('ReduceMean', ['codes', 'channels'], ['sigma'], keepdims=0),
        helper.make_node('NonZero', ['sigma'], ['places']),
        helper.make_node('Cast', ['places'], ['depth'], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        'counted',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, [*shape, 3])],
        [
            helper.make_tensor_value_info('depth', TensorProto.FLOAT, [3, 'found']),
            helper.make_tensor_value_info('sigma', TensorProto.FLOAT, shape),
        ],
        [helper.make_tensor('channels', TensorProto.INT64, [1], [3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    onnx.save(model, tmp_path / 'counted.onnx')
    manifest = Manifest(
        name='counted',
        input=InputSpec(height=4, width=4),
        output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=9.0),
    )
    plan = fake_plan(tmp_path / 'counted.onnx')
    with pytest.raises(BackendError, match="shape of 'depth' depends on what is in the image"):
        EngineSession(load_tensorrt('tensorrt'), plan, open_device(), manifest)
    assert (fake_gpu.memory, fake_gpu.pinned) == ({}, {})
