# SPDX-License-Identifier: Apache-2.0
"""What graphs are rewritten to."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir

from depth_core.export.simplify import simplify


def _simplified(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    """Simplify a graph of input x and output y, float32 [4, 2]."""
    graph = helper.make_graph(
        list(nodes),
        'any',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [4, 2])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [4, 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid('', 18)]
    model = ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=10)
    )
    simplify(model)
    return ir.serde.serialize_model(model)


def test_sizes_that_are_known_are_not_computed() -> None:
    model = _simplified(
        helper.make_node('Shape', ['x'], ['shape']),
        helper.make_node('Reshape', ['x', 'eight'], ['flat']),
        helper.make_node('Reshape', ['flat', 'shape'], ['again']),
        helper.make_node('Mul', ['again', 'one'], ['same']),
        helper.make_node('Relu', ['same'], ['y']),
        eight=np.array([8]),
        one=np.array(1.0, np.float32),
    )
    assert 'Shape' not in {node.op_type for node in model.graph.node}
    assert 'Mul' not in {node.op_type for node in model.graph.node}
    x = np.arange(-4.0, 4.0, dtype=np.float32).reshape(4, 2)
    (y,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {'x': x})
    np.testing.assert_array_equal(y, np.maximum(x, 0.0))


def test_a_reduction_of_none_is_not_stated() -> None:
    model = _simplified(
        helper.make_node('ScatterND', ['x', 'places', 'rows'], ['y'], reduction='none'),
        places=np.array([[1], [3]]),
        rows=np.array([[5.0, 6.0], [7.0, 8.0]], np.float32),
    )
    (scatter,) = model.graph.node
    assert scatter.op_type == 'ScatterND'
    assert not scatter.attribute
    (y,) = onnxruntime.InferenceSession(model.SerializeToString()).run(
        None, {'x': np.zeros((4, 2), np.float32)}
    )
    np.testing.assert_array_equal(y, [[0.0, 0.0], [5.0, 6.0], [0.0, 0.0], [7.0, 8.0]])


def test_a_reduction_that_says_something_stays() -> None:
    model = _simplified(
        helper.make_node('ScatterND', ['x', 'places', 'rows'], ['y'], reduction='add'),
        places=np.array([[1]]),
        rows=np.array([[5.0, 6.0]], np.float32),
    )
    assert [item.name for item in model.graph.node[0].attribute] == ['reduction']


def test_a_batch_is_counted_after_the_cast() -> None:
    graph = helper.make_graph(
        [
            helper.make_node('Shape', ['image'], ['count'], start=0, end=1),
            helper.make_node('Cast', ['image'], ['floats'], to=TensorProto.FLOAT),
            helper.make_node('Concat', ['count', 'rest'], ['shape'], axis=0),
            helper.make_node('Reshape', ['floats', 'shape'], ['y']),
        ],
        'any',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, ['batch', 2, 3])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, ['batch', 6])],
        [numpy_helper.from_array(np.array([6]), 'rest')],
    )
    opsets = [helper.make_opsetid('', 18)]
    model = ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=10)
    )
    simplify(model)
    proto = ir.serde.serialize_model(model)
    (user,) = (node for node in proto.graph.node if 'image' in node.input)
    assert user.op_type == 'Cast'
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    (y,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {'image': images})
    np.testing.assert_array_equal(y, np.arange(12.0).reshape(2, 6))
