# SPDX-License-Identifier: Apache-2.0
"""Weights kept as float16 in graphs that compute in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxscript import ir

from depth_core.export.half_weights import TOLERANCE, keep_as_half
from depth_core.export.precision.graph import Graph
from depth_core.runtime import Predictor
from test.exports import Exports

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def _made(weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node('MatMul', ['x', 'weights'], ['product']),
            onnx.helper.make_node('Add', ['product', 'bias'], ['y']),
        ],
        'linear',
        [onnx.helper.make_tensor_value_info('x', FLOAT, [1, 32])],
        [onnx.helper.make_tensor_value_info('y', FLOAT, [1, 40])],
        [onnx.numpy_helper.from_array(item, name) for item, name in
         ((weights, 'weights'), (bias, 'bias'))],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid('', 18)]
    model = ir.serde.deserialize_model(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    )
    keep_as_half(model.graph)
    return ir.serde.serialize_model(model)


def _weights(size: float) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(3)
    weights = size * source.standard_normal((32, 40)).astype(np.float32)
    return weights, source.standard_normal(40).astype(np.float32)


def test_large_weights_are_rounded_and_small_ones_are_not() -> None:
    weights, bias = _weights(1.0)
    model = _made(weights, bias)
    onnx.checker.check_model(model, full_check=True)
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    assert kinds == {'weights_half': FLOAT16, 'bias': FLOAT}
    x = np.linspace(-1.0, 1.0, 32, dtype=np.float32)[None]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {'x': x})
    rounded = weights.astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(found, x @ rounded + bias, rtol=0.0, atol=1e-4)
    assert np.abs(x @ weights.astype(np.float64) + bias - found).max() > 1e-4


def test_what_float16_cannot_hold_stays() -> None:
    weights, bias = _weights(1e5)
    model = _made(weights, bias)
    assert {item.data_type for item in model.graph.initializer} == {FLOAT}
    assert [node.op_type for node in model.graph.node] == ['MatMul', 'Add']


def test_rules_of_precision_see_the_weights() -> None:
    weights, bias = _weights(1.0)
    graph = Graph(_made(weights, bias))
    assert [node.op_type for node in graph.nodes] == ['MatMul', 'Add']
    assert set(graph.initialisers) == {'weights', 'bias'}
    np.testing.assert_array_equal(graph.constant('weights'), weights.astype(np.float16))


@pytest.mark.parametrize(
    'backend',
    [
        pytest.param('onnxruntime', marks=pytest.mark.numeric),
        # Not with the kernels of other processors: limited to SSE4.1, OpenVINO cannot compile
        # float16 weights (docs/engines.md), and the next backend of a chain is taken.
        'openvino',
    ],
)
def test_a_network_answers_nearly_as_before(
    backend: str, exports: Exports, tmp_path: Path
) -> None:
    pytest.importorskip('openvino', reason='OpenVINO is not installed')
    path = exports('densedepth_small')
    model = ir.load(path)
    keep_as_half(model.graph)
    half = tmp_path / 'half.onnx'
    ir.save(model, half)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    image = np.random.default_rng(5).integers(0, 256, (96, 128, 3), np.uint8)
    expected, found = (
        Predictor.open(item, backend=backend, threads=1).predict(image).depth_m
        for item in (path, half)
    )
    difference = np.abs(found - expected) / expected
    assert 0.0 < difference.max() < TOLERANCE
