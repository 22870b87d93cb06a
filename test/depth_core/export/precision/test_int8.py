# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from depth_core.errors import ConfigError, DataError, ExportError
from depth_core.export.precision.activations import extents, percentiles
from depth_core.export.precision.graph import Graph
from depth_core.export.precision.int8 import Target, nodes_in_int8, to_int8
from depth_core.export.precision.sessions import open_session
from test.depth_core.export.precision.graphs import conv, model, node, weights

IMAGES = [
    np.random.default_rng(seed).uniform(0.0, 1.0, (1, 4, 8, 8)).astype(np.float32)
    for seed in range(4)
]


def network(**changes: Any) -> onnx.ModelProto:
    """First, two in the middle, a depthwise, a squeeze and an excitation, last."""
    nodes = [
        conv('image', 'first'),
        node('Relu', ['first'], ['a']),
        conv('a', 'middle', 'w2'),
        conv('middle', 'depthwise', 'dw', group=4),
        node('GlobalAveragePool', ['depthwise'], ['pooled']),
        conv('pooled', 'squeezed', 'w2'),
        node('Mul', ['depthwise', 'squeezed'], ['excited']),
        node('Conv', ['excited', 'w3', 'bias'], ['another']),
        conv('another', 'depth', 'w4'),
    ]
    constants = {
        'w': weights(4, 4, 1, 1),
        'w2': weights(4, 4, 1, 1, seed=1),
        'dw': weights(4, 1, 1, 1, seed=2),
        'w3': weights(4, 4, 1, 1, seed=3),
        'bias': weights(4, seed=4),
        'w4': weights(1, 4, 1, 1, seed=5),
    }
    return model(nodes, constants, shape=(1, 4, 8, 8), **changes)


def quantisers(result: onnx.ModelProto) -> dict[str, tuple[str, float, int]]:
    """Of each quantised activation: type, scale and zero point."""
    stored = {item.name: onnx.numpy_helper.to_array(item) for item in result.graph.initializer}
    return {
        item.input[0]: (
            str(stored[item.input[2]].dtype),
            float(stored[item.input[1]]),
            int(stored[item.input[2]]),
        )
        for item in result.graph.node
        if item.op_type == 'QuantizeLinear'
    }


def test_the_first_the_last_and_the_small_ones_keep_fp32() -> None:
    graph = Graph(network())
    assert [graph.nodes[index].output[0] for index in nodes_in_int8(graph)] == [
        'middle',
        'another',
    ]


def test_a_product_of_two_activations_keeps_fp32() -> None:
    nodes = [
        node('MatMul', ['image', 'w'], ['a']),
        node('MatMul', ['a', 'a'], ['b']),
        node('MatMul', ['b', 'w'], ['c']),
        node('MatMul', ['c', 'w'], ['depth']),
    ]
    graph = Graph(model(nodes, {'w': weights(8, 8)}, shape=(1, 4, 8, 8)))
    assert [graph.nodes[index].output[0] for index in nodes_in_int8(graph)] == ['c']


def test_tensorrt_gets_symmetric_activations_and_biases_in_fp32() -> None:
    result = to_int8(Graph(network()), IMAGES, 'tensorrt')
    onnx.checker.check_model(result, full_check=True)
    found = quantisers(result)
    assert set(found) == {'a', 'excited'}
    assert all(kind == 'int8' and zero == 0 for kind, _, zero in found.values())
    stored = {item.name: item for item in result.graph.initializer}
    assert stored['bias'].data_type == TensorProto.FLOAT
    assert TensorProto.INT32 not in {item.data_type for item in stored.values()}
    scales = [
        stored[item.input[1]]
        for item in result.graph.node
        if item.op_type == 'DequantizeLinear' and stored.get(item.input[0]) is not None
    ]
    assert [list(item.dims) for item in scales] == [[4], [4]]  # one for each output channel
    assert [item.version for item in result.opset_import] == [18]


def test_processors_get_unsigned_activations_with_the_whole_range() -> None:
    found = quantisers(to_int8(Graph(network()), IMAGES, 'cpu'))
    assert {kind for kind, _, _ in found.values()} == {'uint8'}
    graph = Graph(network())
    low, high = extents(graph, IMAGES)['a']
    _, scale, zero = found['a']
    assert low == zero == 0  # after ReLU every code is for positive numbers
    assert scale == pytest.approx(high / 255.0, rel=1e-3)
    signed = quantisers(to_int8(Graph(network()), IMAGES, 'tensorrt'))
    assert signed['a'][1] == pytest.approx(high / 127.5, rel=1e-2)


@pytest.mark.parametrize(('target', 'largest'), [('tensorrt', 127), ('cpu', 64)])
def test_weights_for_processors_have_seven_bits(target: Target, largest: int) -> None:
    """Two products of 8 bits, added in 16 by those without VNNI, would saturate."""
    result = to_int8(Graph(network()), IMAGES, target)
    stored = [onnx.numpy_helper.to_array(item) for item in result.graph.initializer]
    codes = [item for item in stored if item.dtype == np.int8 and item.ndim == 4]
    assert len(codes) == 2
    assert {int(np.abs(item.astype(int)).max()) for item in codes} <= {largest - 1, largest}


def test_a_product_with_a_vector_keeps_fp32() -> None:
    nodes = [
        conv('image', 'a'),
        node('MatMul', ['a', 'v'], ['b']),
        node('Unsqueeze', ['b', 'last'], ['c']),
        conv('c', 'depth'),
    ]
    constants = {'w': weights(4, 4, 1, 1), 'v': weights(8), 'last': np.array([3])}
    assert not nodes_in_int8(Graph(model(nodes, constants, shape=(1, 4, 8, 8))))


def test_the_answer_stays_near() -> None:
    source = network()
    expected = open_session(source, optimise=True).run(None, {'image': IMAGES[0]})[0]
    for target in ('tensorrt', 'cpu'):
        result = to_int8(Graph(source), IMAGES, target)
        found = open_session(result, optimise=False).run(None, {'image': IMAGES[0]})[0]
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        assert 0.0 < difference < 0.05


def test_extents_and_percentiles_are_those_of_the_images() -> None:
    nodes = [node('Mul', ['image', 'two'], ['a']), node('Neg', ['a'], ['depth'])]
    graph = Graph(model(nodes, {'two': np.float32(2.0)}, shape=(1000,)))
    ramp = np.linspace(0.0, 1.0, 1000, dtype=np.float32)
    measured = extents(graph, [ramp, 3.0 * ramp])
    assert measured['a'] == pytest.approx((0.0, 6.0))
    assert measured['depth'] == pytest.approx((-6.0, 0.0))
    inner = percentiles(graph, [ramp], {'a': (0.0, 2.0)}, fraction=0.9)
    assert inner['a'] == pytest.approx((0.2, 1.8), abs=3e-3)
    assert percentiles(graph, [ramp], {'a': (1.0, 1.0)}, fraction=0.9) == {'a': (1.0, 1.0)}


def test_percentiles_of_parts_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph(network())
    measured = extents(graph, IMAGES)
    expected = percentiles(graph, IMAGES, measured, fraction=0.99)
    monkeypatch.setattr('depth_core.export.precision.activations._TOGETHER', 1100)
    assert percentiles(graph, IMAGES, measured, fraction=0.99) == expected


def test_a_value_beyond_its_extent_counts_as_its_end() -> None:
    graph = Graph(model([node('Neg', ['image'], ['depth'])], {}, shape=(4,)))
    ones = [np.ones(4, np.float32)]
    low, high = percentiles(graph, ones, {'depth': (-0.5, 0.5)}, fraction=0.9)['depth']
    assert -0.5 <= low < high < -0.49


def test_no_image_is_refused_in_words() -> None:
    graph = Graph(network())
    with pytest.raises(DataError, match='no image to calibrate with; give a folder'):
        extents(graph, [])
    with pytest.raises(DataError, match='no image to calibrate with; give a folder'):
        percentiles(graph, [], {'a': (0.0, 1.0)}, fraction=0.9)


def test_numbers_that_are_not_finite_are_refused() -> None:
    graph = Graph(model([node('Log', ['image'], ['depth'])], {}, shape=(2,)))
    with pytest.raises(ExportError, match=r"tensor 'depth' .* is -inf to 0"):
        extents(graph, [np.array([0.0, 1.0], np.float32)])


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'opset 12.* needs 13'):
        to_int8(Graph(network(opset=12)), IMAGES, 'tensorrt')
    alone = Graph(model([conv('image', 'depth')], {'w': weights(1, 4, 1, 1)}, shape=(1, 4, 8, 8)))
    with pytest.raises(ExportError, match='no convolution or matrix product that int8'):
        to_int8(alone, IMAGES, 'cpu')
