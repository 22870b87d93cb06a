# SPDX-License-Identifier: Apache-2.0
"""Real builds with TensorRT for RTX, which needs no GPU to build for one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from depth_core.contracts import InputSpec
from depth_core.errors import BackendError, ConfigError, ModelError
from depth_core.runtime.engine import build
from depth_core.runtime.engine.api import TensorRt, load_tensorrt
from depth_core.runtime.engine.build import build_plan, profile_shapes
from depth_core.runtime.engine.builder import BuildRequest
from depth_core.runtime.engine.builder_process import BuilderProcess
from depth_core.runtime.engine.options import BuildCancelledError, BuildProgress, EngineOptions
from depth_core.runtime.graph import TensorInfo
from depth_core.runtime.onnx_graph import OnnxGraph
from depth_core.runtime.onnx_reader import read_graph
from test.depth_core.runtime.engine.graphs import HEIGHT, MANIFEST, WIDTH, write_graph

PATIENCE_S = 240.0

pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is for x86-64 machines')

TARGETS = ('8.6',)


def deep(layers: int) -> list[NodeProto]:
    """Nodes of a convolution of 64 channels after another."""
    nodes = [helper.make_node('Conv', ['features', 'widen'], ['c0'])]
    for index in range(layers):
        nodes.append(helper.make_node('Conv', [f'c{index}', f'w{index}'], [f'r{index}']))
        nodes.append(helper.make_node('Relu', [f'r{index}'], [f'c{index + 1}']))
    nodes.append(helper.make_node('Conv', [f'c{layers}', 'narrow'], ['more']))
    return nodes


def deep_weights(layers: int) -> list[TensorProto]:
    """Weights of `deep`, each layer's its own."""
    generator = np.random.default_rng(0)
    shapes = {'widen': (64, 1, 1, 1), 'narrow': (1, 64, 1, 1)}
    shapes |= {f'w{index}': (64, 64, 1, 1) for index in range(layers)}
    return [
        numpy_helper.from_array(generator.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


@pytest.fixture(scope='module')
def trt() -> TensorRt:
    return load_tensorrt('tensorrt-rtx')


def test_a_plan_is_built_and_progress_reported(
    trt: TensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, '_REPORT_S', 0.0)
    told: list[BuildProgress] = []
    plan = build_plan(
        trt,
        write_graph(tmp_path / 'small.onnx'),
        MANIFEST,
        precision='fp32',
        options=EngineOptions(report=told.append),
        targets=TARGETS,
    )
    assert len(plan) > 1000
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases[:3] == ['starting', 'parsing', 'building']
    assert 'building: Building engine' in phases
    assert len(phases) > 5  # the builder's own
    fractions = [item.fraction for item in told if item.fraction is not None]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < fractions[-1] <= 1.0
    assert [item.elapsed_s for item in told] == sorted(item.elapsed_s for item in told)
    assert list(tmp_path.iterdir()) == [tmp_path / 'small.onnx']


def test_weights_in_a_file_of_their_own_are_found(trt: TensorRt, tmp_path: Path) -> None:
    path = write_graph(tmp_path / 'small.onnx', external=True)
    assert read_graph(path).external_files == ('weights.bin',)
    options = EngineOptions()
    assert build_plan(trt, path, MANIFEST, precision='fp32', options=options, targets=TARGETS)


def test_a_free_batch_and_free_sizes_get_a_profile(trt: TensorRt, tmp_path: Path) -> None:
    path = write_graph(tmp_path / 'small.onnx', batch='n', size=('h', 'w'))
    manifest = replace(MANIFEST, input=InputSpec(height=HEIGHT, width=WIDTH, batch=0))
    assert profile_shapes(read_graph(path), manifest, 4) == {
        'image': [[1, HEIGHT, WIDTH, 3], [4, HEIGHT, WIDTH, 3], [4, HEIGHT, WIDTH, 3]]
    }
    options = EngineOptions(max_batch=4, workspace_bytes=64 << 20)
    assert build_plan(trt, path, manifest, precision='fp32', options=options, targets=TARGETS)


def test_a_free_size_that_the_manifest_does_not_state_is_refused() -> None:
    image = TensorInfo(name='image', dtype='float32', shape=(None, 3, None, None))
    planes = replace(MANIFEST, input=InputSpec(height=16, width=24, layout='NCHW', batch=0))
    graph = OnnxGraph(opsets={}, inputs=(image,), outputs=(), nodes=(), tensors={}, inner={})
    assert profile_shapes(graph, planes, 2) == {
        'image': [[1, 3, 16, 24], [2, 3, 16, 24], [2, 3, 16, 24]]
    }
    anything = replace(image, shape=None)
    assert profile_shapes(replace(graph, inputs=(anything,)), planes, 1) == {
        'image': [[1, 3, 16, 24]] * 3
    }
    other = TensorInfo(name='other', dtype='float32', shape=(1, None))
    with pytest.raises(ConfigError, match=r"'other' float32 \[1, \?\] leaves sizes free"):
        profile_shapes(replace(graph, inputs=(image, other)), planes, 1)


def test_more_images_than_the_graph_takes_are_refused(trt: TensorRt, tmp_path: Path) -> None:
    path = write_graph(tmp_path / 'small.onnx')
    with pytest.raises(ConfigError, match=r'4 images at once .* takes 1'):
        build_plan(trt, path, MANIFEST, precision='fp32', options=EngineOptions(max_batch=4))


def test_fp16_needs_a_graph_in_fp16(trt: TensorRt, tmp_path: Path) -> None:
    wide = write_graph(tmp_path / 'wide.onnx')
    options = EngineOptions()
    with pytest.raises(BackendError, match=r'no fp16 tensors.*--precision fp16'):
        build_plan(trt, wide, MANIFEST, precision='fp16', options=options, targets=TARGETS)
    half = write_graph(tmp_path / 'half.onnx', half=True)
    assert build_plan(trt, half, MANIFEST, precision='fp16', options=options, targets=TARGETS)


def test_an_operator_is_refused_by_name(trt: TensorRt, tmp_path: Path) -> None:
    unknown = helper.make_node('NotAnOperator', ['features'], ['more'], 'the_node')
    path = write_graph(tmp_path / 'small.onnx', extra=[unknown])
    with pytest.raises(BackendError, match=r"NotAnOperator.*'the_node'") as caught:
        build_plan(trt, path, MANIFEST, precision='fp32', options=EngineOptions(), targets=TARGETS)
    assert '35' not in str(caught.value)


def test_a_target_it_does_not_build_for_is_answered_with_those_it_does(
    trt: TensorRt, tmp_path: Path
) -> None:
    path = write_graph(tmp_path / 'small.onnx')
    with pytest.raises(BackendError, match=r'capability 8\.7; it builds for .*8\.6'):
        build_plan(trt, path, MANIFEST, precision='fp32', options=EngineOptions(), targets=['8.7'])


def test_a_manifest_of_another_graph_is_refused(trt: TensorRt, tmp_path: Path) -> None:
    path = write_graph(tmp_path / 'small.onnx')
    other = replace(MANIFEST, input=InputSpec(height=HEIGHT, width=2 * WIDTH))
    with pytest.raises(ModelError, match='not what its manifest describes'):
        build_plan(trt, path, other, precision='fp32', options=EngineOptions(), targets=TARGETS)


def test_a_build_is_cancelled(trt: TensorRt, tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(BuildCancelledError, match='nothing of it is kept'):
        build_plan(
            trt,
            write_graph(tmp_path / 'small.onnx'),
            MANIFEST,
            precision='fp32',
            options=EngineOptions(cancelled=cancelled),
            targets=TARGETS,
        )


PROGRAM = """
import os, signal, sys
from pathlib import Path
from depth_core.errors import run_command
from depth_core.manifest import read_manifest
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.build import build_plan
from depth_core.runtime.engine.options import EngineOptions

def tell(progress):
    if progress.phase == 'building':
        task = f'/proc/{os.getpid()}/task/{os.getpid()}/children'
        print(Path(task).read_text(), flush=True)
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))

path = Path(sys.argv[1])
run_command(lambda: build_plan(
    load_tensorrt('tensorrt-rtx'), path, read_manifest(path), precision='fp32',
    options=EngineOptions(report=tell), targets=['8.6']))
"""
"""Builds, and sends itself a signal as soon as the builder is at work."""


@pytest.mark.parametrize(('name', 'status'), [('SIGINT', 130), ('SIGKILL', -signal.SIGKILL)])
def test_ending_a_build_leaves_no_process_and_no_file(
    name: str, status: int, tmp_path: Path
) -> None:
    # The builder is at work for seconds; however this ends, it must be gone at once.
    path = write_graph(tmp_path / 'deep.onnx', extra=deep(400), initializers=deep_weights(400))
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(path), name],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == status
    assert done.stderr == ('interrupted\n' if name == 'SIGINT' else '')
    (builder,) = map(int, done.stdout.split())
    assert gone(builder)
    assert list(tmp_path.iterdir()) == [path]


def gone(process: int) -> bool:
    """Whether a process ends, soon enough to be waited for."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE_S)[0])
    finally:
        os.close(descriptor)


def listen(builder: BuilderProcess, until: str = '') -> None:
    """Hear what a builder says, until it is in a phase or at an end."""
    while builder.said(10.0).get('phase') != until:
        pass


@pytest.mark.parametrize(
    ('ending', 'told'),
    [
        (signal.SIGSEGV, r'the builder crashed \(SIGSEGV\).*cannot build this graph'),
        (signal.SIGKILL, 'killed, as Linux does when memory runs out'),
    ],
)
def test_a_builder_that_is_gone_takes_nobody_with_it(
    ending: signal.Signals, told: str, tmp_path: Path
) -> None:
    path = write_graph(tmp_path / 'deep.onnx', extra=deep(400), initializers=deep_weights(400))
    with contextlib.closing(BuilderProcess(request_for(path))) as builder:
        builder.start()
        listen(builder, until='building')
        choice = Path(f'/proc/{builder._process.pid}/oom_score_adj')
        assert choice.read_text() == '1000\n'  # Linux ends it rather than the one that waits
        os.kill(builder._process.pid, ending)
        with pytest.raises(BackendError, match=told):
            listen(builder)


def test_no_process_to_build_in_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_graph(tmp_path / 'small.onnx')
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, 'tempdir', str(tmp_path / 'nowhere'))
        with pytest.raises(BackendError, match=r'no process can be started.*temporary'):
            BuilderProcess(request_for(path))
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'no_python'))
    with pytest.raises(BackendError, match=r'no process can be started.*No such file'):
        BuilderProcess(request_for(path))


def request_for(path: Path) -> BuildRequest:
    return BuildRequest(
        flavour='tensorrt-rtx',
        onnx=str(path),
        half=False,
        quantised=False,
        shapes={},
        targets=TARGETS,
    )
