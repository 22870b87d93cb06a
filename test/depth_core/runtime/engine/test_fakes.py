# SPDX-License-Identifier: Apache-2.0
"""That the fakes are as awkward as what they stand for."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.depth_core.runtime.engine.tensorrt_names import column, read_table
from test.fakes.gpu import Gpu
from test.fakes.installation import installed
from test.standin import write_standin_onnx

VERSIONS = ('8.6.1', '10.3.0', '11.4.0')


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('fakes') / 'standin.onnx')


def make_logger(trt: Any) -> Any:
    class Collector(trt.ILogger):  # type: ignore[misc]  # the module is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            del severity
            self.lines.append(msg)

    return Collector()


def build(trt: Any, logger: Any, onnx: Path) -> bytes:
    builder = trt.Builder(logger)
    explicit = getattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH', None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(onnx))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    return bytes(plan)


@pytest.mark.parametrize('version', VERSIONS)
def test_nothing_is_computed_before_somebody_waits(standin: Path, version: str) -> None:
    with installed(version=version) as gpu:
        trt = importlib.import_module('tensorrt')
        cuda = importlib.import_module('pycuda.driver')
        assert trt.__version__ == version
        cuda.init()
        context = cuda.Device(0).retain_primary_context()
        context.push()
        logger = make_logger(trt)
        engine = trt.Runtime(logger).deserialize_cuda_engine(build(trt, logger, standin))
        execution = engine.create_execution_context()
        stream = cuda.Stream(1)
        image = cuda.pagelocked_empty((64, 96, 3), np.uint8)
        depth = cuda.pagelocked_empty((64, 96), np.float32)
        blocks = {
            'image': cuda.mem_alloc(image.nbytes),
            'depth': cuda.mem_alloc(depth.nbytes),
            'sigma': cuda.mem_alloc(depth.nbytes),
        }
        cuda.memcpy_htod_async(int(blocks['image']), image, stream)
        image[:] = 51  # written after the copy was handed over, yet before it was made
        assert not execution.execute_async_v3(stream.handle)
        assert 'address' in logger.lines[0]
        for name, block in blocks.items():
            assert execution.set_tensor_address(name, int(block))
        assert execution.execute_async_v3(stream.handle)
        cuda.memcpy_dtoh_async(depth, int(blocks['depth']), stream)
        depth[:] = 0.0
        assert depth.max() == 0.0
        stream.synchronize()
        np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
        assert gpu.pageable_copies == 0
        context.pop()


def test_a_thread_without_the_context_is_refused(fake_gpu: Gpu) -> None:
    cuda = importlib.import_module('pycuda.driver')
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    caught: list[Exception] = []

    def call() -> None:
        try:
            cuda.mem_alloc(16)
        except cuda.LogicError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert 'invalid device context' in str(caught[0])
    cuda.mem_alloc(16).free()
    assert not fake_gpu.memory
    context.pop()


def test_the_last_line_of_an_error_is_misleading(fake_gpu: Gpu, standin: Path) -> None:
    trt = importlib.import_module('tensorrt')
    logger = make_logger(trt)
    plan = build(trt, logger, standin)
    assert trt.Runtime(logger).deserialize_cuda_engine(plan[: len(plan) // 2]) is None
    assert 'Serialization' in logger.lines[0]
    assert 'cudaError 35' in logger.lines[-1]
    assert fake_gpu.used_memory == 0


@pytest.mark.parametrize(
    ('version', 'names', 'absent'),
    [
        ('8.6.1', ('BuilderFlag.FP16',), ('IProgressMonitor', 'DataType.INT64')),
        ('10.3.0', ('NetworkDefinitionCreationFlag.EXPLICIT_BATCH', 'IProgressMonitor'), ()),
        ('11.4.0', ('IProgressMonitor',), ('NetworkDefinitionCreationFlag.EXPLICIT_BATCH',)),
    ],
)
def test_versions_differ_in_what_they_have(
    version: str, names: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    with installed(version=version):
        trt: Any = importlib.import_module('tensorrt')
        for name in (*names, *absent):
            head, _, tail = name.partition('.')
            there = hasattr(trt, head) and (not tail or hasattr(getattr(trt, head), tail))
            assert there == (name in names), name
        with pytest.raises(TypeError):
            assert trt.Dims([1]) == trt.Dims([1])
        with pytest.raises(TypeError):
            _ = 1 << trt.BuilderFlag.TF32


@pytest.mark.parametrize('version', [*VERSIONS, 'rtx-1.7.1'])
def test_they_have_the_names_that_the_real_versions_have(version: str) -> None:
    table = read_table()
    names = {*table.everywhere, *table.only}
    flavour = 'tensorrt_rtx' if version.startswith('rtx') else 'tensorrt'
    with installed(version='10.3.0' if flavour == 'tensorrt_rtx' else version):
        found = column(importlib.import_module(flavour), names)
    assert found == {name for name in names if table.has(name, version)}


def test_child_processes_find_them_and_the_real_ones_come_back(fake_gpu: Gpu) -> None:
    assert fake_gpu.count == 1
    program = 'import tensorrt, tensorrt_rtx, pycuda.driver; print(tensorrt.__version__)'
    finished = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert finished.stdout.split() == ['10.3.0']
    with installed(absent=('pycuda',)), pytest.raises(ModuleNotFoundError):
        importlib.import_module('pycuda.driver')
