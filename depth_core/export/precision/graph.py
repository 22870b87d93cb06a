# SPDX-License-Identifier: Apache-2.0
"""A graph with the look-ups that rules of precision need."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray

from depth_core.errors import ExportError, ModelError

FLOAT: Final = onnx.TensorProto.FLOAT
FLOAT16: Final = onnx.TensorProto.FLOAT16

HEAVY: Final = frozenset({'Conv', 'ConvTranspose', 'MatMul', 'Gemm', 'Einsum'})
"""Operators that a GPU runs on its matrix units: where the time of a network goes."""

_LARGEST: Final = 2**31 - (64 << 20)
"""Bytes of weights that fit into one protobuf message, with room for the nodes."""

_OWN_DOMAIN: Final = 'ai.onnx'

MOVES: Final = frozenset(
    {
        'Concat',
        'DepthToSpace',
        'Dropout',
        'Expand',
        'Flatten',
        'Gather',
        'GatherElements',
        'GatherND',
        'Pad',
        'Reshape',
        'ScatterElements',
        'ScatterND',
        'Slice',
        'SpaceToDepth',
        'Split',
        'Squeeze',
        'Tile',
        'Transpose',
        'Trilu',
        'Unsqueeze',
    }
)
"""Operators whose output holds values of their input and no others, unless one `reduces`."""


class Graph:
    """A model ready to be looked at: functions inlined, constants as initialisers, no Identity.

    Nodes are meant by their index in `nodes`, which is a topological order.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Take a copy of `model`.

        Raises:
            ModelError: It is not a valid graph of known types and shapes.
        """
        self.model = _normalised(model)
        self.nodes: Sequence[onnx.NodeProto] = list(self.model.graph.node)
        self.types = _types(self.model)
        self.shapes = _shapes(self.model)
        self.initialisers = {item.name: item for item in self.model.graph.initializer}
        self._constants: dict[str, NDArray[Any]] = {}
        self.opset = next((i.version for i in self.model.opset_import if not i.domain), 0)
        self.outputs = {item.name for item in self.model.graph.output}
        self.producers = {
            name: index for index, node in enumerate(self.nodes) for name in node.output if name
        }
        self.consumers: defaultdict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            for name in dict.fromkeys(inputs_of(node)):
                self.consumers[name].append(index)

    def is_float(self, name: str) -> bool:
        """Whether the tensor `name` is fp32."""
        return self.types.get(name) == FLOAT

    def float_inputs(self, index: int) -> list[str]:
        """Name the fp32 tensors that node `index` takes and that are computed or given."""
        return [
            name
            for name in inputs_of(self.nodes[index])
            if self.is_float(name) and name not in self.initialisers
        ]

    def float_outputs(self, index: int) -> list[str]:
        """Name the fp32 tensors that node `index` gives."""
        return [name for name in self.nodes[index].output if self.is_float(name)]

    def constants(self, index: int) -> Iterator[NDArray[Any]]:
        """Each fp32 constant that node `index` takes."""
        for name in inputs_of(self.nodes[index]):
            if name in self.initialisers and self.is_float(name):
                yield self.constant(name)

    def constant(self, name: str) -> NDArray[Any]:
        """The value of the initialiser `name`."""
        if name not in self._constants:
            self._constants[name] = onnx.numpy_helper.to_array(self.initialisers[name])
        return self._constants[name]

    def before(self, index: int) -> list[int]:
        """The nodes that node `index` takes something from."""
        names = inputs_of(self.nodes[index])
        return [self.producers[name] for name in names if name in self.producers]

    def after(self, index: int) -> list[int]:
        """The nodes that take something from node `index`."""
        return [taker for name in self.nodes[index].output for taker in self.consumers[name]]

    def reachable(self, seeds: Iterable[int], *, forwards: bool) -> set[int]:
        """The nodes that can be reached from `seeds`, these included."""
        step = self.after if forwards else self.before
        found: set[int] = set()
        waiting = list(seeds)
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting.extend(step(index))
        return found

    def of_type(self, kinds: Iterable[str]) -> list[int]:
        """The nodes whose operator is one of `kinds`."""
        wanted = frozenset(kinds)
        return [
            index
            for index, node in enumerate(self.nodes)
            if node.op_type in wanted and not _is_foreign(node)
        ]


def inputs_of(node: onnx.NodeProto) -> list[str]:
    """Name what `node` takes, and what the graphs inside it take from around it."""
    names = [name for name in node.input if name]
    for inner in _inner_graphs(node):
        own = {item.name for item in (*inner.input, *inner.initializer)}
        own |= {name for item in inner.node for name in item.output}
        taken = [name for item in inner.node for name in inputs_of(item)]
        taken += [item.name for item in inner.output]
        names += [name for name in taken if name not in own]
    return names


def has_inner_graph(node: onnx.NodeProto) -> bool:
    """Whether `node` is a loop, a branch or the like."""
    return bool(_inner_graphs(node))


def operator(node: onnx.NodeProto) -> str:
    """Name the operator of `node`, with its domain unless it is ONNX's own."""
    return f'{node.domain}.{node.op_type}' if _is_foreign(node) else node.op_type


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401  any attribute
    """The value of an attribute, `default` when it is not given."""
    found = [item for item in node.attribute if item.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else default


def reduces(node: onnx.NodeProto) -> bool:
    """Whether `node` sums or multiplies what it scatters, rather than moving it."""
    return attribute(node, 'reduction', b'none') in {b'add', b'mul'}


def inferred(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Return `model` with the types and shapes of all its tensors.

    Raises:
        ModelError: They contradict each other, or the graph is not valid.
    """
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
        onnx.checker.check_model(model, full_check=True)
    except (
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        ValueError,
        RuntimeError,
    ) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = f'{source} is not a valid ONNX graph: {lines[0]}; export it again.'
        raise ModelError(message) from error
    return model


def load_graph(path: Path) -> onnx.ModelProto:
    """Read the ONNX file at `path`, with the weights that lie beside it.

    Raises:
        ExportError: It is too large to be looked at as one message.
        ModelError: It cannot be read.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # the parser of protobuf has errors of its own, and files go away
        message = f'{path} cannot be read as ONNX: {error}; copy or export it again.'
        raise ModelError(message) from error
    size = sum(_bytes_of(item) for item in model.graph.initializer)
    if size > _LARGEST:
        message = (
            f'the weights of {path} take {size} bytes, and none of more than {_LARGEST} can be '
            'made fp16 or int8: the tools of ONNX hold a graph as one message. Run it in fp32, or '
            'choose a smaller network.'
        )
        raise ExportError(message)
    return model


def _normalised(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = onnx.inliner.inline_local_functions(copy)
    if copy.graph.sparse_initializer:
        message = 'the graph holds sparse initialisers; export it with dense ones.'
        raise ExportError(message)
    _name_one_domain(copy)
    _drop_inputs_with_values(copy.graph)
    _turn_constants_into_initialisers(copy.graph)
    _widen_half_weights(copy.graph)
    _drop_identities(copy.graph)
    return inferred(copy, 'the graph')


def _name_one_domain(model: onnx.ModelProto) -> None:
    """Write the domain of ONNX's own operators in one of its two ways, as nothing."""
    for opset in model.opset_import:
        opset.domain = '' if opset.domain == _OWN_DOMAIN else opset.domain
    waiting = [model.graph]
    while waiting:
        for node in waiting.pop().node:
            node.domain = '' if node.domain == _OWN_DOMAIN else node.domain
            waiting.extend(_inner_graphs(node))


def _drop_inputs_with_values(graph: onnx.GraphProto) -> None:
    """Leave the inputs that have to be given; old exporters list the weights among them."""
    stored = {item.name for item in graph.initializer}
    given = [item for item in graph.input if item.name not in stored]
    del graph.input[:]
    graph.input.extend(given)


def _turn_constants_into_initialisers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        value = _value_of(node) if node.op_type == 'Constant' else None
        if value is None:
            kept.append(node)
            continue
        graph.initializer.add().CopyFrom(value)
        graph.initializer[-1].name = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)


def _widen_half_weights(graph: onnx.GraphProto) -> None:
    """Make fp32 weights of those kept as fp16 and cast: rules of precision look at weights."""
    halves = {item.name: item for item in graph.initializer if item.data_type == FLOAT16}
    casts = [
        node
        for node in graph.node
        if node.op_type == 'Cast' and node.input[0] in halves and attribute(node, 'to', 0) == FLOAT
    ]
    outputs = {item.name for item in graph.output}
    for node in casts:
        if node.output[0] in outputs:
            continue
        values = onnx.numpy_helper.to_array(halves[node.input[0]]).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in inputs_of(node)} | outputs
    idle = [item for name, item in halves.items() if name not in used]
    for item in idle:
        graph.initializer.remove(item)


def _value_of(constant: onnx.NodeProto) -> onnx.TensorProto | None:
    """What a Constant gives, in any of the ways to write numbers; None where it is none."""
    tensor: onnx.TensorProto | None = attribute(constant, 'value', None)
    if tensor is not None:
        return tensor
    for name, kind in (('value_float', np.float32), ('value_int', np.int64)):
        for given in (attribute(constant, name, None), attribute(constant, f'{name}s', None)):
            if given is not None:
                return onnx.numpy_helper.from_array(np.array(given, kind))
    return None


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Take out Identity nodes, but for those that name an output of the graph."""
    outputs = {item.name for item in graph.output}
    inner = {name for node in graph.node if has_inner_graph(node) for name in inputs_of(node)}
    meant: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = meant.get(name, name)
        if node.op_type == 'Identity' and node.output[0] not in outputs | inner:
            meant[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    types = {
        item.name: item.type.tensor_type.elem_type
        for item in (*graph.input, *graph.value_info, *graph.output)
    }
    types |= {item.name: item.data_type for item in graph.initializer}
    return types


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """The sizes of each computed tensor, None where one is free."""
    return {
        item.name: tuple(
            size.dim_value if size.HasField('dim_value') else None
            for size in item.type.tensor_type.shape.dim
        )
        for item in (*model.graph.value_info, *model.graph.output)
    }


def _bytes_of(tensor: onnx.TensorProto) -> int:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims) * kind.itemsize)


def _inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    found = [item.g for item in node.attribute if item.type == onnx.AttributeProto.GRAPH]
    for item in node.attribute:
        found.extend(item.graphs)
    return found


def _is_foreign(node: onnx.NodeProto) -> bool:
    return bool(node.domain)
