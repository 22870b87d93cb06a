# SPDX-License-Identifier: Apache-2.0
"""A network of each family in fp16: within the limits, and built by TensorRT; some in int8."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import onnx
import pytest

from depth_core.export.precision import PrecisionRequest, write_precision
from depth_core.export.precision.graph import Graph, load_graph
from depth_core.export.precision.image_sets import image_sets
from depth_core.export.precision.int8 import to_int8
from depth_core.manifest import METADATA_KEY, read_manifest
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


@pytest.mark.parametrize('name', ['cliffnet_small', 'selfsup_small'])
def test_it_is_built_in_int8(name: str, exports: Exports, tmp_path: Path) -> None:
    # The quick ones; the shipped DenseDepth is in test_command.py.
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is for x86-64 machines')
    source = exports(name)
    manifest = dataclasses.replace(
        read_manifest(source), precision='int8', precision_target='tensorrt', parity=None
    )
    images, _ = image_sets(None, manifest)
    converted = to_int8(Graph(load_graph(source)), images.inputs, 'tensorrt')
    onnx.helper.set_model_props(converted, {METADATA_KEY: manifest.to_json()})
    path = tmp_path / 'm.int8.onnx'
    onnx.save(converted, path)
    trt, options = load_tensorrt('tensorrt-rtx'), EngineOptions()
    assert build_plan(trt, path, manifest, precision='int8', options=options, targets=('8.6',))


@pytest.mark.numeric
def test_a_free_batch_stays_free(exports: Exports, tmp_path: Path) -> None:
    path = tmp_path / 'm.onnx'
    shutil.copy(exports('densedepth_small'), path)
    half, manifest = write_precision(PrecisionRequest(onnx=path, precision='fp16'))
    assert manifest.input.batch == 0
    (image,) = load_graph(half).graph.input
    assert not image.type.tensor_type.shape.dim[0].HasField('dim_value')
