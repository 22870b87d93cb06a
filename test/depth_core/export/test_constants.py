# SPDX-License-Identifier: Apache-2.0
"""What of a graph is computed when it is exported."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir

from depth_core.export.constants import fold_large_constants

TABLE = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)


def _folded(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.GraphProto:
    """Fold a graph of input x and output y, float32 [2, 2]."""
    graph = helper.make_graph(
        list(nodes),
        'any',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [2, 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid('', 18)]
    model = ir.serde.deserialize_model(helper.make_model(graph, opset_imports=opsets))
    fold_large_constants(model.graph)
    return ir.serde.serialize_model(model).graph


def _value(graph: onnx.GraphProto, name: str) -> np.ndarray:
    (found,) = (item for item in graph.initializer if item.name == name)
    return numpy_helper.to_array(found)


def test_a_table_is_looked_up_once() -> None:
    graph = _folded(
        helper.make_node('Gather', ['table', 'index'], ['rows']),
        helper.make_node('Transpose', ['rows'], ['bias'], perm=[1, 0]),
        helper.make_node('Add', ['x', 'bias'], ['y']),
        table=TABLE,
        index=np.array([2, 0]),
    )
    (add,) = graph.node
    assert add.op_type == 'Add'
    np.testing.assert_array_equal(_value(graph, add.input[1]), [[5.0, 1.0], [6.0, 2.0]])


def test_equal_values_are_stored_once() -> None:
    graph = _folded(
        helper.make_node('Gather', ['table', 'index'], ['one']),
        helper.make_node('Gather', ['table', 'index'], ['other']),
        helper.make_node('Add', ['x', 'one'], ['sum']),
        helper.make_node('Add', ['sum', 'other'], ['y']),
        table=TABLE,
        index=np.array([1, 1]),
    )
    assert [node.op_type for node in graph.node] == ['Add', 'Add']
    assert graph.node[0].input[1] == graph.node[1].input[1]
    np.testing.assert_array_equal(_value(graph, graph.node[0].input[1]), [[3.0, 4.0], [3.0, 4.0]])


def test_repeating_a_value_is_left_to_the_graph() -> None:
    graph = _folded(
        helper.make_node('Add', ['low', 'high'], ['middle']),
        helper.make_node('Expand', ['middle', 'shape'], ['plane']),
        helper.make_node('Add', ['x', 'plane'], ['y']),
        low=np.array(1.0, np.float32),
        high=np.array(2.0, np.float32),
        shape=np.array([2, 2]),
    )
    assert [node.op_type for node in graph.node] == ['Expand', 'Add']
    assert _value(graph, graph.node[0].input[0]) == pytest.approx(3.0)


def test_what_an_image_reaches_stays() -> None:
    graph = _folded(
        helper.make_node('Mul', ['x', 'two'], ['twice']),
        helper.make_node('Add', ['twice', 'two'], ['y']),
        two=np.array(2.0, np.float32),
    )
    assert [node.op_type for node in graph.node] == ['Mul', 'Add']


def test_a_broadcast_that_a_constant_and_an_image_need_serves_both() -> None:
    graph = _folded(
        helper.make_node('Expand', ['one', 'shape'], ['plane']),
        helper.make_node('Gather', ['plane', 'index'], ['row']),
        helper.make_node('Mul', ['x', 'plane'], ['product']),
        helper.make_node('Add', ['product', 'row'], ['y']),
        one=np.array(3.0, np.float32),
        shape=np.array([2, 2]),
        index=np.array([1]),
    )
    assert [node.op_type for node in graph.node] == ['Expand', 'Mul', 'Add']
    np.testing.assert_array_equal(_value(graph, graph.node[2].input[1]), [[3.0, 3.0]])


def _branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    given = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [given])


def _if(taken: str) -> onnx.NodeProto:
    """Choose by a constant between twice a value from outside and its negative."""
    return helper.make_node(
        'If',
        ['chosen'],
        ['either'],
        then_branch=_branch('then', helper.make_node('Add', [taken, taken], ['twice'])),
        else_branch=_branch('else', helper.make_node('Neg', [taken], ['less'])),
    )


def test_a_branch_that_takes_the_image_is_not_constant() -> None:
    graph = _folded(
        _if('x'),
        helper.make_node('Add', ['either', 'one'], ['y']),
        chosen=np.array(True),  # noqa: FBT003  the value of a tensor
        one=np.array(1.0, np.float32),
    )
    assert [node.op_type for node in graph.node] == ['If', 'Add']


def test_a_broadcast_that_a_branch_takes_stays() -> None:
    graph = _folded(
        helper.make_node('Expand', ['one', 'shape'], ['plane']),
        _if('plane'),
        helper.make_node('Add', ['x', 'either'], ['y']),
        chosen=np.array(True),  # noqa: FBT003  the value of a tensor
        one=np.array(1.0, np.float32),
        shape=np.array([2, 2]),
    )
    assert [node.op_type for node in graph.node] == ['Expand', 'If', 'Add']


def test_what_only_a_branch_takes_is_kept_for_it() -> None:
    branches = [
        _branch(name, helper.make_node('Mul', ['x', 'sum'], [f'{name}_out']))
        for name in ('then', 'else')
    ]
    graph = _folded(
        helper.make_node('Add', ['one', 'one'], ['sum']),
        helper.make_node('Cast', ['first'], ['condition'], to=TensorProto.BOOL),
        helper.make_node(
            'If', ['condition'], ['y'], then_branch=branches[0], else_branch=branches[1]
        ),
        one=np.array(1.0, np.float32),
        first=np.array(1.0, np.float32),
    )
    (branch,) = [node for node in graph.node if node.op_type == 'If']
    taken = branch.attribute[0].g.node[0].input[1]
    assert _value(graph, taken) == pytest.approx(2.0)
