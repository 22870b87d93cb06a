# SPDX-License-Identifier: Apache-2.0
"""A network of each family in fp16: within the limits, and built by TensorRT."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from depth_core.export.precision import PrecisionRequest, write_precision
from depth_core.export.precision.graph import load_graph
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.build import build_plan
from depth_core.runtime.engine.options import EngineOptions
from test.exports import Exports

FAMILIES = ('zoedepth_small', 'urcdc_small', 'cliffnet_small', 'selfsup_small')
"""One of each but DenseDepth, which is shipped and tested so."""


@pytest.mark.numeric
@pytest.mark.parametrize('name', FAMILIES)
def test_it_keeps_the_limits_and_builds(name: str, exports: Exports, tmp_path: Path) -> None:
    path = tmp_path / f'{name}.onnx'
    shutil.copy(exports(name), path)
    half, manifest = write_precision(PrecisionRequest(onnx=path, precision='fp16'))
    error = manifest.precision_error
    assert error is not None
    assert 0.0 < error.depth.mean < 4e-3
    casts = [item for item in load_graph(half).graph.node if item.op_type == 'Cast']
    assert len(casts) < 110  # a norm, a softmax or a mean takes two
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is for x86-64 machines')
    trt = load_tensorrt('tensorrt-rtx')
    options = EngineOptions()
    assert build_plan(trt, half, manifest, precision='fp16', options=options, targets=('8.6',))


@pytest.mark.numeric
def test_a_free_batch_stays_free(exports: Exports, tmp_path: Path) -> None:
    path = tmp_path / 'm.onnx'
    shutil.copy(exports('densedepth_small', batch=0), path)
    half, manifest = write_precision(PrecisionRequest(onnx=path, precision='fp16'))
    assert manifest.input.batch == 0
    (image,) = load_graph(half).graph.input
    assert not image.type.tensor_type.shape.dim[0].HasField('dim_value')
