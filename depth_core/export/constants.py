# SPDX-License-Identifier: Apache-2.0
"""Parts of a graph that no image reaches, computed once, by ONNX Runtime.

Tables of relative positions resized and laid out for the tokens of this size, masks of shifted
windows, shares of pooling cells: each depends on weights and sizes alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxscript import ir

BROADCASTS: Final = frozenset({'ConstantOfShape', 'Expand', 'Tile'})
"""Operators that repeat a few values: a file that held what they give would only be larger."""


def fold_large_constants(graph: ir.Graph) -> None:
    """Replace nodes whose inputs are all constant by the values they give.

    Equal values become one initializer. A node that broadcasts stays where others than constants
    need what it gives.

    Args:
        graph: Changed in place; its constants are initializers, not Constant nodes.
    """
    every = nodes = _constant_nodes(graph)
    while broadcasts := {
        node
        for node in nodes
        if node.op_type in BROADCASTS and _needed_by_others([node], inside=nodes)
    }:
        nodes = [node for node in nodes if node not in broadcasts]
    wanted = _needed_by_others(nodes, inside=nodes)
    if not wanted:
        return
    kept: dict[tuple[object, ...], ir.Value] = {}
    for value, array in zip(wanted, _computed(every, wanted, graph.opset_imports), strict=True):
        key = (array.dtype, array.shape, hashlib.sha256(np.ascontiguousarray(array).data).digest())
        if key not in kept:
            kept[key] = ir.Value(name=f'{value.name}_folded', const_value=ir.tensor(array))
            graph.register_initializer(kept[key])
        value.replace_all_uses_with(kept[key])
    graph.remove(nodes, safe=True)


def _constant_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Nodes that no input of the graph reaches, in the order in which they are run.

    Branches and loops are not among them: they take values from around them that are no inputs.
    """
    constant = set(graph.initializers.values())
    nodes = []
    for node in graph:
        known = all(value is None or value in constant for value in node.inputs)
        fixed = any(value.is_graph_output() for value in node.outputs)
        if known and node.inputs and not fixed and not _holds_graphs(node):
            nodes.append(node)
            constant.update(node.outputs)
    return nodes


def _holds_graphs(node: ir.Node) -> bool:
    kinds = {item.type for item in node.attributes.values()}
    return not kinds.isdisjoint({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})


def _needed_by_others(nodes: Sequence[ir.Node], *, inside: Sequence[ir.Node]) -> list[ir.Value]:
    """What `nodes` give to any that is not `inside`, nodes of branches and loops included."""
    own = set(inside)
    return [
        value
        for node in nodes
        for value in node.outputs
        if any(user not in own for user in value.consumers())
    ]


def _computed(
    constant: Sequence[ir.Node], wanted: Sequence[ir.Value], opsets: Mapping[str, int]
) -> list[NDArray[Any]]:
    """Run what of `constant` leads to `wanted`. Weights are fed as inputs, not copied."""
    needed: set[ir.Value | None] = set(wanted)
    nodes: list[ir.Node] = []
    for node in reversed(constant):
        if not needed.isdisjoint(node.outputs):
            nodes.insert(0, node)
            needed.update(node.inputs)
    feeds = {
        str(value.name): value.const_value.numpy()
        for node in nodes
        for value in node.inputs
        if value is not None and value.const_value is not None
    }
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    graph = onnx.helper.make_graph(
        [ir.serde.serialize_node(node) for node in nodes],
        'constants',
        inputs,
        [onnx.ValueInfoProto(name=value.name) for value in wanted],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(*item) for item in opsets.items()],
        ir_version=10,
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    return [np.asarray(array) for array in session.run(None, feeds)]
