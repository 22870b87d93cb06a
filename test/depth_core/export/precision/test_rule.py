# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from depth_core.export.precision.graph import Graph
from depth_core.export.precision.rule import ACTIVATION_LIMIT, nodes_in_fp32
from test.depth_core.export.precision.graphs import (
    conv,
    log_binomial,
    model,
    node,
    operators,
    weights,
)

SQUARE = {'w': weights(3, 3, 1, 1)}


def kept(graph: Graph, **largest: float) -> dict[str, str]:
    """The name of the output of each node that keeps fp32, with the reason."""
    chosen = nodes_in_fp32(graph, largest)
    return {graph.nodes[index].output[0]: reason for index, reason in chosen.items()}


def test_what_follows_the_last_convolution_keeps_fp32_and_what_precedes_the_first() -> None:
    nodes = [
        node('Div', ['image', 'codes'], ['unit']),
        conv('unit', 'a'),
        node('Relu', ['a'], ['b']),
        conv('b', 'c'),
        node('Sigmoid', ['c'], ['d']),
        node('Mul', ['d', 'codes'], ['depth']),
    ]
    graph = Graph(model(nodes, SQUARE | {'codes': np.float32(255.0)}))
    assert kept(graph) == {
        'unit': 'it prepares the input',
        'd': 'it is after the last convolution or matrix product',
        'depth': 'it is after the last convolution or matrix product',
    }


@pytest.mark.parametrize(
    ('operator', 'constants'),
    [
        ('Softmax', ()),
        ('Exp', ()),
        ('Log', ()),
        ('Softplus', ()),
        ('InstanceNormalization', ('three', 'three')),
        ('LayerNormalization', ('eight',)),
        ('ReduceMean', ()),
        ('Reciprocal', ()),
        ('GlobalAveragePool', ()),
        ('Celu', ()),  # ONNX defines it for fp32 alone
    ],
)
def test_an_operator_that_loses_too_much_keeps_fp32(
    operator: str, constants: tuple[str, ...]
) -> None:
    nodes = [
        conv('image', 'a'),
        node(operator, ['a', *constants], ['b']),
        node('Add', ['a', 'b'], ['c']),
        conv('c', 'depth'),
    ]
    ones = {'three': np.ones(3, np.float32), 'eight': np.ones(8, np.float32)}
    assert 'b' in kept(Graph(model(nodes, SQUARE | ones)))


@pytest.mark.parametrize(('opset', 'keeps'), [(19, True), (20, False)])
def test_an_operator_keeps_fp32_before_onnx_defines_it_for_fp16(opset: int, keeps: bool) -> None:
    nodes = [
        conv('image', 'a'),
        node('IsInf', ['a'], ['infinite']),
        node('Where', ['infinite', 'zero', 'a'], ['b']),
        conv('b', 'depth'),
    ]
    constants = SQUARE | {'zero': np.float32(0.0)}
    graph = Graph(model(nodes, constants, opset=opset))
    assert ('infinite' in kept(graph)) == keeps
    assert 'b' not in kept(graph)


def test_a_norm_that_is_written_out_keeps_fp32_as_a_whole() -> None:
    nodes = [
        conv('image', 'x'),
        node('ReduceMean', ['x', 'axis'], ['mean']),
        node('Sub', ['x', 'mean'], ['centred']),
        node('Mul', ['centred', 'centred'], ['squares']),
        node('ReduceMean', ['squares', 'axis'], ['variance']),
        node('Add', ['variance', 'epsilon'], ['safe']),
        node('Sqrt', ['safe'], ['deviation']),
        node('Div', ['centred', 'deviation'], ['normed']),
        node('Mul', ['normed', 'gain'], ['scaled']),
        conv('scaled', 'depth'),
    ]
    constants = {'axis': np.array([1]), 'epsilon': np.float32(1e-3), 'gain': np.float32(2.0)}
    found = kept(Graph(model(nodes, SQUARE | constants)))
    norm = {'mean', 'centred', 'squares', 'variance', 'safe', 'deviation', 'normed'}
    assert set(found) == norm
    assert found['squares'] == 'it is part of a norm'


def test_the_terms_of_logarithms_keep_fp32_between_convolution_and_softmax() -> None:
    graph = Graph(log_binomial())
    found = nodes_in_fp32(graph, {})
    assert operators(graph, found) == {
        'Sigmoid': 1, 'Clip': 1, 'Sub': 1, 'Log': 2, 'Mul': 2, 'Add': 2, 'Div': 1, 'Softmax': 1,
        'Reshape': 1,
    }  # fmt: skip
    heavy = {i for i, item in enumerate(graph.nodes) if item.op_type in {'Conv', 'MatMul'}}
    assert not heavy & set(found)


@pytest.mark.parametrize(
    ('constant', 'keeps'),
    [(1e-8, True), (1e-3, False), (7e4, True), (6e4, False), (0.0, False)],
)
def test_a_constant_that_fp16_cannot_hold_keeps_its_node(constant: float, keeps: bool) -> None:
    nodes = [conv('image', 'a'), node('Add', ['a', 'c'], ['b']), conv('b', 'depth')]
    graph = Graph(model(nodes, SQUARE | {'c': np.float32(constant)}))
    assert ('b' in kept(graph)) is keeps


@pytest.mark.parametrize(
    ('operator', 'constant', 'keeps'),
    [
        ('Add', [1e-8, 1e-8, 1e-7], True),  # an epsilon for each channel
        ('Mul', [1e-6, 1e-6, 1e-6], True),  # a gain that nothing has trained yet
        ('Mul', [1e-6, 1.0, 1.0], False),
        ('Div', [1e-6, 1.0, 1.0], True),
        ('Max', [1e-6, 1.0, 1.0], True),
    ],
)
def test_small_constants_of_any_size_keep_their_node(
    operator: str, constant: list[float], keeps: bool
) -> None:
    nodes = [conv('image', 'a'), node(operator, ['a', 'c'], ['b']), conv('b', 'depth')]
    channels = np.array(constant, np.float32).reshape(1, 3, 1, 1)
    assert ('b' in kept(Graph(model(nodes, SQUARE | {'c': channels})))) is keeps


@pytest.mark.parametrize(
    'constant',
    [
        node('Constant', [], ['c'], value_float=1e-8),
        node('Constant', [], ['c'], value_floats=[1e-8]),
    ],
)
def test_a_small_constant_that_is_a_node_keeps_what_takes_it(constant: NodeProto) -> None:
    nodes = [
        conv('image', 'a'),
        constant,
        node('Add', ['a', 'c'], ['b']),
        conv('b', 'depth'),
    ]
    graph = Graph(model(nodes, SQUARE))
    assert kept(graph) == {'b': 'its numbers do not fit fp16'}
    assert 'Constant' not in {item.op_type for item in graph.nodes}


@pytest.mark.parametrize(('side', 'keeps'), [(3, False), (4, True)])
def test_an_average_of_many_values_keeps_fp32(side: int, keeps: bool) -> None:
    pool = node('AveragePool', ['a'], ['b'], kernel_shape=[side, side])
    graph = Graph(model([conv('image', 'a'), pool, conv('b', 'depth')], SQUARE))
    assert ('b' in kept(graph)) is keeps


def test_what_is_cut_to_whole_numbers_keeps_fp32() -> None:
    nodes = [
        conv('image', 'a'),
        node('Mul', ['a', 'many'], ['scaled']),
        node('Floor', ['scaled'], ['floor']),
        node('Cast', ['floor'], ['index'], to=TensorProto.INT64),
        node('Cast', ['index'], ['again'], to=TensorProto.FLOAT),
        conv('again', 'b'),
        node('Mul', ['b', 'many'], ['c']),
        conv('c', 'depth'),
    ]
    found = kept(Graph(model(nodes, SQUARE | {'many': np.float32(1000.0)})))
    assert set(found) == {'scaled', 'floor', 'index', 'again'}
    assert found['scaled'] == 'it computes whole numbers'


@pytest.mark.parametrize(('reduction', 'keeps'), [('none', False), ('add', True), ('max', False)])
def test_sums_of_what_is_scattered_keep_fp32(reduction: str, keeps: bool) -> None:
    scatter = node('ScatterND', ['a', 'index', 'more'], ['b'], reduction=reduction)
    constants = {'index': np.array([[0]]), 'more': np.ones((1, 3, 8, 8), np.float32)}
    graph = Graph(model([conv('image', 'a'), scatter, conv('b', 'depth')], SQUARE | constants))
    assert ('b' in kept(graph)) is keeps


def test_weights_that_fp16_cannot_hold_keep_their_convolution() -> None:
    nodes = [conv('image', 'a'), conv('a', 'b', 'large'), conv('b', 'depth')]
    large = np.full((3, 3, 1, 1), 1e5, np.float32)
    assert kept(Graph(model(nodes, SQUARE | {'large': large}))) == {
        'b': 'its numbers do not fit fp16'
    }
    # One weight of many that is nearly zero does no harm.
    small = weights(3, 3, 1, 1)
    small[0, 0] = 1e-9
    assert kept(Graph(model(nodes, SQUARE | {'large': small}))) == {}


def test_an_activation_beyond_the_limit_keeps_what_makes_it_and_what_takes_it() -> None:
    nodes = [conv('image', 'a'), conv('a', 'b'), conv('b', 'c'), conv('c', 'depth')]
    graph = Graph(model(nodes, SQUARE))
    assert kept(graph, a=ACTIVATION_LIMIT, b=10.0) == {}
    found = kept(graph, b=ACTIVATION_LIMIT * 1.01)
    assert set(found) == {'b', 'c'}


def test_nothing_is_cast_to_fp16_and_back_for_nothing() -> None:
    nodes = [
        conv('image', 'a'),
        node('Softmax', ['a'], ['b']),
        node('Mul', ['b', 'gain'], ['c']),
        node('Transpose', ['c'], ['d'], perm=[0, 1, 3, 2]),
        node('Exp', ['d'], ['e']),
        conv('e', 'depth'),
    ]
    found = kept(Graph(model(nodes, SQUARE | {'gain': np.float32(3.0)})))
    assert found['c'] == found['d'] == 'everything around it keeps fp32'


def test_the_grid_of_a_sampler_keeps_fp32() -> None:
    nodes = [
        conv('image', 'a'),
        conv('a', 'offsets', 'two'),
        node('Transpose', ['offsets'], ['moved'], perm=[0, 2, 3, 1]),
        node('Add', ['moved', 'base'], ['grid']),
        node('GridSample', ['a', 'grid'], ['sampled']),
        conv('sampled', 'depth'),
    ]
    constants = {'two': weights(2, 3, 1, 1), 'base': np.zeros((1, 8, 8, 2), np.float32)}
    assert set(kept(Graph(model(nodes, SQUARE | constants)))) == {'moved', 'grid', 'sampled'}


def test_small_whole_numbers_become_fp16_in_one_cast() -> None:
    nodes = [
        node('Cast', ['image'], ['codes'], to=TensorProto.FLOAT),
        conv('codes', 'a'),
        conv('a', 'depth'),
    ]
    assert kept(Graph(model(nodes, SQUARE, dtype=TensorProto.UINT8))) == {}
    # fp16 does not hold every number of 32 bits.
    assert set(kept(Graph(model(nodes, SQUARE, dtype=TensorProto.INT32)))) == {'codes'}
