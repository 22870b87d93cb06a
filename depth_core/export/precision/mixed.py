# SPDX-License-Identifier: Apache-2.0
"""A graph that computes in fp16 where it may: fp32 inputs and outputs, casts written out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np
import onnx

from depth_core.export.precision.graph import (
    FLOAT,
    FLOAT16,
    Graph,
    has_inner_graph,
    inferred,
    inputs_of,
)

_FP32_INPUTS: Final = {'Resize': 1}
"""From which input on an operator takes fp32 whatever its type: the scales of Resize."""

_SUFFIX: Final = '_fp16'


def to_mixed(graph: Graph, kept: Collection[int]) -> onnx.ModelProto:
    """Rewrite `graph` with all floating-point nodes in fp16 but for `kept`.

    A tensor keeps its name in fp32; `<name>_fp16` is the same in fp16. A cast between the two
    is written once, before its first use, so that no cast ever follows another.

    Args:
        graph: A graph in fp32.
        kept: Nodes that stay in fp32, by index.

    Returns:
        A valid model with the types and shapes of all tensors.

    Raises:
        ModelError: The result is not valid, since an operator does not take fp16.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    rewriter = _Rewriter(graph, kept)
    nodes = list(rewriter.nodes())
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in inputs_of(node)} | graph.outputs
    weights = [item for item in graph.initialisers.values() if item.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*weights, *rewriter.weights.values()])
    return inferred(model, 'the graph in fp16')


class _Rewriter:
    """Goes through the nodes in their order and gives each its types."""

    def __init__(self, graph: Graph, kept: Collection[int]) -> None:
        self._graph = graph
        self._fp16 = {
            index
            for index in range(len(graph.nodes))
            if index not in kept
            and not has_inner_graph(graph.nodes[index])
            and (graph.float_inputs(index) or graph.float_outputs(index))
        }
        self._names = set(graph.types)
        self._present = {
            item.name for item in graph.model.graph.input if graph.is_float(item.name)
        }
        self._halves: dict[str, str] = {}
        self.weights: dict[str, onnx.TensorProto] = {}
        """New initialisers in fp16, by name."""

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Every node of the new graph, in order."""
        for index, node in enumerate(self._graph.nodes):
            changed = onnx.NodeProto()
            changed.CopyFrom(node)
            if index in self._fp16:
                yield from self._halved(changed)
            else:
                yield from self._whole(inputs_of(node))
                self._present.update(self._graph.float_outputs(index))
                yield changed
        yield from self._whole(sorted(self._graph.outputs))

    def _halved(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        first_fp32 = _FP32_INPUTS.get(node.op_type, len(node.input))
        for position, name in enumerate(node.input):
            if not self._graph.is_float(name):
                continue
            if position >= first_fp32:
                yield from self._whole([name])
                continue
            half = self._half(name)
            if name in self._graph.initialisers:
                self._store(name, half)
            elif half not in self._present:
                self._present.add(half)
                yield _cast(name, half, FLOAT16)
            node.input[position] = half
        for position, name in enumerate(node.output):
            if self._graph.is_float(name):
                node.output[position] = self._half(name)
                self._present.add(node.output[position])
        for item in node.attribute:
            if node.op_type == 'Cast' and item.name == 'to' and item.i == FLOAT:
                item.i = FLOAT16
        yield node

    def _whole(self, names: list[str]) -> Iterator[onnx.NodeProto]:
        """Casts back to fp32, for the tensors that are there in fp16 alone."""
        for name in names:
            half = self._halves.get(name, '')
            if half in self._present and name not in self._present:
                self._present.add(name)
                yield _cast(half, name, FLOAT)

    def _half(self, name: str) -> str:
        if name not in self._halves:
            half = f'{name}{_SUFFIX}'
            while half in self._names:
                half += '_'
            self._names.add(half)
            self._halves[name] = half
        return self._halves[name]

    def _store(self, name: str, half: str) -> None:
        if half not in self.weights:
            with np.errstate(over='ignore'):  # measured and refused as any other difference
                value: Any = self._graph.constant(name).astype(np.float16)
            self.weights[half] = onnx.numpy_helper.from_array(value, half)


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return onnx.helper.make_node('Cast', [source], [target], name=f'cast_{target}', to=kind)
