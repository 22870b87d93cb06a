# SPDX-License-Identifier: Apache-2.0
"""What is asked of each version of TensorRT, seen by fakes that keep it in the plan."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from depth_core.errors import BackendError
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine import build
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.build import build_plan, prepare
from depth_core.runtime.engine.builder import compile_plan
from depth_core.runtime.engine.device import open_device
from depth_core.runtime.engine.options import BuildCancelledError, BuildProgress, EngineOptions
from depth_core.runtime.engine.timings import LIMIT_BYTES, keep_timings, use_timings
from test.depth_core.runtime.engine.graphs import HEIGHT, MANIFEST, WIDTH, write_graph
from test.fakes.gpu import Gpu
from test.fakes.installation import installed
from test.fakes.trt.builder import read_plan

VERSIONS = ('8.6.1', '10.3.0', '11.4.0')
TF32 = {'8.6.1': 7, '10.3.0': 6, '11.4.0': 6}
FP16, OBEY = 0, 10
"""Numbers of flags, as the bindings of each version have them (the latter two of 8)."""


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home' / 'depth_ros' / 'engines'


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Iterator[str]:
    with installed(version=request.param):
        yield request.param


def header(path: Path, *, precision: Precision = 'fp32', **options: Any) -> dict[str, Any]:
    """Build in this process, and read what the plan says of how it was asked for."""
    trt = load_tensorrt('tensorrt')
    engine = EngineOptions(**options)
    gpu = open_device().info
    request = prepare(trt, path, MANIFEST, precision=precision, options=engine, gpu=gpu)
    content = read_plan(compile_plan(trt, request, lambda *_: None))
    assert content is not None
    return content[0]


@pytest.fixture
def graph(tmp_path: Path) -> Callable[..., Path]:
    """Write a graph that TensorRT 8 knows the opset of, too."""
    return lambda **options: write_graph(tmp_path / 'small.onnx', opset=17, **options)


def test_each_version_is_asked_in_its_own_way(version: str, graph: Callable[..., Path]) -> None:
    built = header(graph(), workspace_bytes=1 << 28)
    assert built['version'] == version
    assert built['workspace'] == 1 << 28
    assert not built['flags'] >> TF32[version] & 1, 'TF32 is not fp32'
    # Explicit batch is bit 0 of 8, strong types bit 1 of 10; 11 has neither to ask for.
    assert built['network_flags'] == {'8.6.1': 1, '10.3.0': 2, '11.4.0': 0}[version]
    assert built['parser_flags'] == (['NATIVE_INSTANCENORM'] if version == '8.6.1' else [])
    assert built['precisions'] == {}


def test_fp16_is_a_flag_in_8_only_and_holds_the_rest_to_fp32(
    version: str, graph: Callable[..., Path]
) -> None:
    built = header(graph(half=True), precision='fp16')
    if version == '8.6.1':
        assert built['flags'] >> FP16 & 1
        assert built['flags'] >> OBEY & 1
        assert set(built['precisions'].values()) == {'FLOAT'}
        assert 'wide' in built['precisions']
        assert 'conv' not in built['precisions']
    else:
        assert built['flags'] == 0
        assert built['precisions'] == {}


def test_free_sizes_get_a_profile(version: str, graph: Callable[..., Path]) -> None:
    built = header(graph(batch='n', size=('h', 'w')), max_batch=3)
    shapes = [[1, HEIGHT, WIDTH, 3], [3, HEIGHT, WIDTH, 3], [3, HEIGHT, WIDTH, 3]]
    assert built['profiles'] == [{'image': shapes}], version


def test_timings_are_kept_for_the_next_build(
    version: str,
    graph: Callable[..., Path],
    cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header(graph())
    path = cache_folder / 'timings' / f'{version}-Fake_GPU.timings'
    assert path.read_bytes() == b'timed '
    assert path.stat().st_mode & 0o777 == 0o600
    header(graph())
    kept = path.read_bytes()
    assert kept == 2 * b'timed '
    monkeypatch.setenv('FAKE_GPU_NAME', 'Another: GPU/2')  # has its own
    header(graph())
    assert path.read_bytes() == kept
    assert path.with_name(f'{version}-Another_GPU_2.timings').read_bytes() == b'timed '


def test_timings_beyond_their_limit_are_begun_anew(tmp_path: Path, fake_gpu: Gpu) -> None:
    del fake_gpu  # installed
    path = tmp_path / 'timings' / 'many.timings'
    path.parent.mkdir(mode=0o700)
    with path.open('wb') as file:
        file.truncate(LIMIT_BYTES + 1)
    path.chmod(0o600)
    trt = load_tensorrt('tensorrt')
    config = trt.module.Builder(trt.logger).create_builder_config()
    timings = use_timings(config, path)
    assert timings is not None
    timings.content += b'timed '
    keep_timings(config, path)
    assert path.read_bytes() == b'timed '


def test_timings_that_others_may_write_are_not_used(
    graph: Callable[..., Path], cache_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with installed():
        header(graph())
        path = cache_folder / 'timings' / '10.3.0-Fake_GPU.timings'
        path.chmod(0o666)
        header(graph())
    assert 'are not used' in caplog.text
    assert path.read_bytes() == b'timed '


def test_where_the_gpu_shares_memory_the_builder_takes_half_of_what_is_left(
    graph: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / 'meminfo'
    memory.write_text('MemTotal: 65536 kB\nMemFree: 2048 kB\nMemAvailable:   8192 kB\n')
    monkeypatch.setattr(build, '_MEMORY', memory)
    with installed():
        assert header(graph())['workspace'] is None
        monkeypatch.setenv('FAKE_GPU_INTEGRATED', '1')
        assert header(graph())['workspace'] == 4 << 20
        assert header(graph(), workspace_bytes=1 << 20)['workspace'] == 1 << 20
        memory.write_text('no such line\n')
        assert header(graph())['workspace'] is None


def test_out_of_memory_is_said_in_words(
    version: str, graph: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_BUILD', 'out_of_memory')
    with pytest.raises(BackendError, match=rf'{version} ran out of memory.*workspace_mb'):
        header(graph())


def test_an_operator_is_refused_by_its_name_and_that_of_its_node(
    version: str, graph: Callable[..., Path]
) -> None:
    strange = helper.make_node('Optional', ['features'], ['more'], 'the_node')
    with pytest.raises(BackendError, match=r"operator Optional of node 'the_node'") as caught:
        header(graph(extra=[strange]))
    assert version in str(caught.value)


def test_no_driver_is_said_in_words(
    version: str, graph: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = load_tensorrt('tensorrt')
    request = prepare(trt, graph(), MANIFEST, precision='fp32', options=EngineOptions())
    monkeypatch.setenv('FAKE_GPU_DRIVER', 'none')
    with pytest.raises(BackendError, match=rf'{version} cannot start its builder.*nvidia-smi'):
        compile_plan(trt, request, lambda *_: None)


def test_progress_is_reported_where_the_builder_says_nothing(
    graph: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # TensorRT 8 has no monitor; time is told all the same, and a build can be given up.
    caplog.set_level(logging.INFO)
    monkeypatch.setenv('FAKE_TENSORRT_BUILD_S', '60')
    monkeypatch.setattr(build, '_REPORT_S', 0.1)
    monkeypatch.setattr(build, '_LOG_S', 0.0)
    cancelled = threading.Event()
    told: list[BuildProgress] = []

    def report(progress: BuildProgress) -> None:
        told.append(progress)
        if len(told) == 5:
            cancelled.set()

    options = EngineOptions(report=report, cancelled=cancelled)
    with installed(version='8.6.1'), pytest.raises(BuildCancelledError, match='nothing of it'):
        build_plan(load_tensorrt('tensorrt'), graph(), MANIFEST, precision='fp32', options=options)
    assert [item.elapsed_s for item in told] == sorted(item.elapsed_s for item in told)
    assert {item.fraction for item in told} == {None}
    assert caplog.text.count('tensorrt 8.6.1 builds small.onnx: ') > 3


def test_targets_are_for_rtx(version: str, graph: Callable[..., Path]) -> None:
    with pytest.raises(BackendError, match=rf'{version} builds for the GPU that is here'):
        build_plan(
            load_tensorrt('tensorrt'),
            graph(),
            MANIFEST,
            precision='fp32',
            options=EngineOptions(),
            targets=['8.6'],
        )


def test_no_tensorrt_is_said_in_words() -> None:
    with (
        installed(absent=('tensorrt',)),
        pytest.raises(BackendError, match=r'tensorrt is not installed.*JetPack'),
    ):
        load_tensorrt('tensorrt')
