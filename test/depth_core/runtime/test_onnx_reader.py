# SPDX-License-Identifier: Apache-2.0
"""Graphs as our own reader sees them, held against the ONNX library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from depth_core.errors import ModelError
from depth_core.runtime.graph import TensorInfo
from depth_core.runtime.onnx_graph import Tensor
from depth_core.runtime.onnx_reader import read_graph

node = helper.make_node
info = helper.make_tensor_value_info


def model() -> onnx.ModelProto:
    """A graph with something of everything that is read."""
    branch = helper.make_graph(
        [node('Neg', ['x'], ['n'], 'inside')], 'then', [], [info('n', TensorProto.FLOAT, None)]
    )
    other = helper.make_graph(
        [node('Identity', ['x'], ['i'])], 'else', [], [info('i', TensorProto.FLOAT, None)]
    )
    nodes = [
        node('Slice', ['x', 'starts', 'ends', '', 'steps'], ['s'], 'cut'),
        node('If', ['yes'], ['chosen'], 'if', then_branch=branch, else_branch=other),
        node('Constant', [], ['pi'], value=numpy_helper.from_array(np.array([3.25], np.float32))),
        node('Cast', ['chosen'], ['half'], to=TensorProto.FLOAT16),
        node(
            'Special',
            ['half'],
            ['y'],
            domain='our.own',
            number=-7,
            ratio=0.5,
            text='a word',
            numbers=[1, -2, 3],
            ratios=[0.5, -0.25],
            words=['a', 'b'],
        ),
    ]
    constants = [
        helper.make_tensor('starts', TensorProto.INT64, [2], [0, -3]),
        numpy_helper.from_array(np.array([9, 9]), 'ends'),
        helper.make_tensor('steps', TensorProto.INT32, [2], [1, 1]),
        helper.make_tensor('yes', TensorProto.BOOL, [], [True]),
        helper.make_tensor('halves', TensorProto.FLOAT16, [2], np.array([0.5, -2.0], np.float16)),
        helper.make_tensor('scalar', TensorProto.FLOAT, [], [0.125]),
        helper.make_tensor('code', TensorProto.UINT8, [1], [200]),
        numpy_helper.from_array(np.zeros((33, 33), np.float32), 'weights'),
    ]
    graph = helper.make_graph(
        nodes,
        'all',
        [
            info('x', TensorProto.FLOAT, ['n', 3, None]),
            info('weights', TensorProto.FLOAT, [33, 33]),
        ],
        [info('y', TensorProto.FLOAT, None)],
        constants,
        value_info=[info('s', TensorProto.FLOAT, [1, 2])],
    )
    opsets = [helper.make_opsetid('', 18), helper.make_opsetid('our.own', 3)]
    return helper.make_model(graph, opset_imports=opsets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(model(), tmp_path / 'all.onnx')
    return tmp_path / 'all.onnx'


def test_nodes_are_read_with_those_of_branches(path: Path) -> None:
    graph = read_graph(path)
    assert graph.opsets == {'': 18, 'our.own': 3}
    assert graph.opset == 18
    operators = [item.operator for item in graph.nodes]
    assert sorted(operators) == ['Cast', 'Constant', 'Identity', 'If', 'Neg', 'Slice', 'Special']
    cut = next(item for item in graph.nodes if item.name == 'cut')
    assert cut.inputs == ('x', 'starts', 'ends', '', 'steps')
    assert cut.outputs == ('s',)
    assert str(cut) == "Slice 'cut'"
    special = graph.nodes[-1]
    assert special.domain == 'our.own'
    assert str(special) == "our.own::Special 'y'"
    assert special.attributes == {
        'number': -7,
        'ratio': 0.5,
        'text': 'a word',
        'numbers': (1, -2, 3),
        'ratios': (0.5, -0.25),
        'words': ('a', 'b'),
    }


def test_small_tensors_have_their_values_and_large_ones_only_their_shape(path: Path) -> None:
    graph = read_graph(path)
    for item in model().graph.initializer:
        tensor = graph.tensors[item.name]
        expected = numpy_helper.to_array(item)
        assert tensor.shape == expected.shape
        assert tensor.dtype == str(expected.dtype)
        if item.name == 'weights':
            assert tensor.values is None
        else:
            np.testing.assert_array_equal(tensor.values, expected)
            assert tensor.values is not None
            assert tensor.values.dtype == expected.dtype
    pi = graph.tensors['pi']
    assert isinstance(pi, Tensor)
    np.testing.assert_array_equal(pi.values, [3.25])


def test_inputs_outputs_and_types_are_as_declared(path: Path) -> None:
    graph = read_graph(path)
    # An input with an initial value need not be given.
    assert graph.inputs == (TensorInfo(name='x', dtype='float32', shape=(None, 3, None)),)
    assert graph.outputs == (TensorInfo(name='y', dtype='float32', shape=None),)
    assert graph.info('s') == TensorInfo(name='s', dtype='float32', shape=(1, 2))
    assert graph.info('starts') == TensorInfo(name='starts', dtype='int64', shape=(2,))
    assert graph.info('chosen') is None
    assert {'float16', 'int64', 'uint8', 'bool'} <= graph.types
    assert graph.external_files == ()


def test_weights_of_other_files_are_named_and_not_looked_for(tmp_path: Path) -> None:
    path = tmp_path / 'outside.onnx'
    onnx.save(model(), path, save_as_external_data=True, location='w.bin', size_threshold=1024)
    (tmp_path / 'w.bin').unlink()
    graph = read_graph(path)
    assert graph.external_files == ('w.bin',)
    assert graph.tensors['weights'].external == 'w.bin'
    assert graph.tensors['weights'].shape == (33, 33)


def test_a_file_that_is_cut_or_damaged_is_refused_or_read(path: Path) -> None:
    proto = model()
    del proto.graph.initializer[-1]  # weights, in which damage does not show
    whole = proto.SerializeToString()
    generator = np.random.default_rng(0)
    damaged: list[bytes] = [whole[:length] for length in range(0, len(whole), 7)]
    for _ in range(400):
        changed = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            changed[place] = generator.integers(0, 256)
        damaged.append(bytes(changed))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            read_graph(path)
        except ModelError as error:
            assert 'is not a whole ONNX file' in str(error)  # noqa: PT017  others pass
            refused += 1
    assert refused > len(damaged) / 2


def test_the_shipped_graph_is_read_as_the_library_reads_it(repository: Path) -> None:
    path = repository / 'trt_engines' / 'densedepth_small.onnx'
    graph, proto = read_graph(path), onnx.load(path).graph
    read: list[tuple[Any, ...]] = [
        (item.operator, item.name, item.inputs, item.outputs) for item in graph.nodes
    ]
    assert read == [
        (item.op_type, item.name, tuple(item.input), tuple(item.output)) for item in proto.node
    ]
    assert [item.name for item in graph.inputs] == [item.name for item in proto.input]
    assert set(graph.inner) == {item.name for item in proto.value_info}
