# SPDX-License-Identifier: Apache-2.0
"""What a graph with fp16 in it answers on a device that really computes in fp16.

ONNX Runtime on the CPU does not: it has no fp16 kernels for most operators, computes them in
fp32, and takes the casts between them out. So each operator is computed in fp32 here on operands
that fp16 holds, and its result is rounded to fp16 by a pair of casts with an Identity between
them, which keeps the pair from being taken out. That is a device whose sums are in fp32 and
whose results are in fp16.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from depth_core.export.precision.graph import FLOAT, FLOAT16, MOVES, inferred, reduces

_EXACT = MOVES | {'Abs', 'Max', 'MaxPool', 'Min', 'Neg', 'Relu', 'Where'}
"""Operators whose results on fp16 numbers are fp16 numbers."""


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` in fp32 with the rounding of its fp16 nodes written out.

    Args:
        model: A graph whose inputs and outputs are not fp16, with the types of all tensors.

    Returns:
        A model that must be run with all optimisation off.
    """
    graph = model.graph
    half = {
        item.name for item in graph.value_info if item.type.tensor_type.elem_type == FLOAT16
    } | {item.name for item in graph.initializer if item.data_type == FLOAT16}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [item for node in graph.node for item in _rounded(node, half)]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    for item in copy.graph.initializer:
        if item.name in half:
            value = onnx.numpy_helper.to_array(item).astype(np.float32)
            item.CopyFrom(onnx.numpy_helper.from_array(value, item.name))
    return inferred(copy, 'the emulation of the graph in fp16')


def _rounded(node: onnx.NodeProto, half: set[str]) -> Iterator[onnx.NodeProto]:
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    exact = node.op_type in _EXACT and not reduces(node)
    rounds = [name for name in node.output if name in half and not exact]
    for position, name in enumerate(node.output):
        if name in rounds:
            changed.output[position] = f'{name}_exact'
    if node.op_type == 'Cast':
        for item in changed.attribute:
            if item.name == 'to' and item.i == FLOAT16:
                item.i = FLOAT
    yield changed
    for name in rounds:
        yield onnx.helper.make_node('Cast', [f'{name}_exact'], [f'{name}_half'], to=FLOAT16)
        yield onnx.helper.make_node('Identity', [f'{name}_half'], [f'{name}_held'])
        yield onnx.helper.make_node('Cast', [f'{name}_held'], [name], to=FLOAT)
