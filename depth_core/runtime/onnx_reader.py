# SPDX-License-Identifier: Apache-2.0
"""The nodes, tensors and types of an ONNX graph, read without an ONNX library.

A Jetson that builds an engine needs no more than TensorRT and this. Weights are not read: only
tensors of a few numbers keep their values, which is where operators keep sizes and counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.onnx_file import read_entry, read_model
from depth_core.protobuf import Field, NotProtobufError, content, fields, packed_integers
from depth_core.runtime.graph import TensorInfo
from depth_core.runtime.onnx_graph import TYPES, Attribute, Node, OnnxGraph, Tensor

_KEPT_BYTES: Final = 4096
"""Tensors up to this size keep their values."""


class _Model(IntEnum):
    """Field numbers of ModelProto; those of the other messages follow."""

    GRAPH = 7
    OPSET_IMPORT = 8
    FUNCTIONS = 25


class _Graph(IntEnum):
    NODE = 1
    INITIALIZER = 5
    INPUT = 11
    OUTPUT = 12
    VALUE_INFO = 13


class _Node(IntEnum):
    INPUT = 1
    OUTPUT = 2
    NAME = 3
    OPERATOR = 4
    ATTRIBUTE = 5
    DOMAIN = 7


class _Attribute(IntEnum):
    NAME = 1
    FLOAT = 2
    INT = 3
    STRING = 4
    TENSOR = 5
    GRAPH = 6
    FLOATS = 7
    INTS = 8
    STRINGS = 9
    GRAPHS = 11


class _Tensor(IntEnum):
    DIMS = 1
    TYPE = 2
    FLOAT_DATA = 4
    INT32_DATA = 5
    INT64_DATA = 7
    NAME = 8
    RAW_DATA = 9
    EXTERNAL_DATA = 13


_FUNCTION_NODE: Final = 7


def read_graph(path: Path) -> OnnxGraph:
    """Read the graph of the ONNX file at `path`.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX.
    """
    return read_model(Path(path), _read)


def _read(file: BinaryIO, size: int) -> OnnxGraph:
    try:
        return _walk_model(file, size)
    except _IMPOSSIBLE as error:
        message = f'a field holds what it cannot ({error})'
        raise NotProtobufError(message) from error


_IMPOSSIBLE: Final = (IndexError, OverflowError, RecursionError, ValueError, struct.error)
"""What comes of a number that is too large, a text that is none, an array of half an element."""


@dataclass
class _Content:
    """What has been found so far."""

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inner: dict[str, TensorInfo] = field(default_factory=dict)


def _walk_model(file: BinaryIO, size: int) -> OnnxGraph:
    opsets: dict[str, int] = {}
    found = _Content()
    ends: tuple[list[TensorInfo], list[TensorInfo]] | None = None
    for item in fields(file, 0, size):
        if item.number == _Model.OPSET_IMPORT:
            domain, version = _opset(file, item)
            opsets['' if domain == 'ai.onnx' else domain] = version
        elif item.number == _Model.GRAPH:
            ends = _walk_graph(file, item, found)
        elif item.number == _Model.FUNCTIONS:
            for inner in fields(file, item.start, item.end):
                if inner.number == _FUNCTION_NODE:
                    _walk_node(file, inner, found)
    if ends is None:
        message = 'it has no graph'
        raise NotProtobufError(message)
    inputs, outputs = ends
    return OnnxGraph(
        opsets=opsets,
        inputs=tuple(info for info in inputs if info.name not in found.tensors),
        outputs=tuple(outputs),
        nodes=tuple(found.nodes),
        tensors=found.tensors,
        inner=found.inner,
    )


def _opset(file: BinaryIO, item: Field) -> tuple[str, int]:
    domain, version = '', 1
    for inner in fields(file, item.start, item.end):
        if inner.number == 1:
            domain = content(file, inner).decode()
        else:
            version = inner.value
    return domain, version


def _walk_graph(
    file: BinaryIO, graph: Field, found: _Content
) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Add the content of a graph to `found`; its own inputs and outputs are returned."""
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    for item in fields(file, graph.start, graph.end):
        if item.number == _Graph.NODE:
            _walk_node(file, item, found)
        elif item.number == _Graph.INITIALIZER:
            tensor = _tensor(file, item)
            found.tensors[tensor.name] = tensor
        elif item.number == _Graph.INPUT:
            inputs.append(_tensor_info(file, item))
        elif item.number == _Graph.OUTPUT:
            outputs.append(_tensor_info(file, item))
        elif item.number == _Graph.VALUE_INFO:
            info = _tensor_info(file, item)
            found.inner[info.name] = info
    return inputs, outputs


def _walk_node(file: BinaryIO, item: Field, found: _Content) -> None:
    text: dict[int, str] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Attribute] = {}
    for inner in fields(file, item.start, item.end):
        if inner.number == _Node.INPUT:
            inputs.append(content(file, inner).decode())
        elif inner.number == _Node.OUTPUT:
            outputs.append(content(file, inner).decode())
        elif inner.number == _Node.ATTRIBUTE:
            name, value = _attribute(file, inner, found)
            if value is not None:
                attributes[name] = value
        elif inner.number in (_Node.NAME, _Node.OPERATOR, _Node.DOMAIN):
            text[inner.number] = content(file, inner).decode()
    domain = text.get(_Node.DOMAIN, '')
    node = Node(
        operator=text.get(_Node.OPERATOR, ''),
        name=text.get(_Node.NAME, ''),
        domain='' if domain == 'ai.onnx' else domain,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        attributes=attributes,
    )
    value = attributes.get('value')
    if node.operator == 'Constant' and outputs and isinstance(value, Tensor):
        found.tensors[outputs[0]] = value
    found.nodes.append(node)


def _attribute(file: BinaryIO, item: Field, found: _Content) -> tuple[str, Attribute | None]:
    name = ''
    value: Attribute | None = None
    several: list[int | float | str] = []
    for inner in fields(file, item.start, item.end):
        if inner.number == _Attribute.NAME:
            name = content(file, inner).decode()
        elif inner.number in (_Attribute.GRAPH, _Attribute.GRAPHS):
            _walk_graph(file, inner, found)
        elif inner.number in (_Attribute.FLOATS, _Attribute.INTS, _Attribute.STRINGS):
            several.extend(_several(file, inner))
        else:
            value = _single(file, inner) if value is None else value
    return name, tuple(several) if several else value


def _single(file: BinaryIO, item: Field) -> Attribute | None:
    if item.number == _Attribute.FLOAT:
        return _floats(content(file, item))[0]
    if item.number == _Attribute.INT:
        return item.value
    if item.number == _Attribute.STRING:
        return _text(content(file, item))
    return _tensor(file, item) if item.number == _Attribute.TENSOR else None


def _several(file: BinaryIO, item: Field) -> Sequence[int | float | str]:
    if item.number == _Attribute.FLOATS:
        return _floats(content(file, item))
    if item.number == _Attribute.INTS:
        return _integers(file, item)
    return [_text(content(file, item))]


def _tensor(file: BinaryIO, item: Field) -> Tensor:
    name, code, dims, external = '', 0, [], None
    stored: dict[int, list[Field]] = {}
    for inner in fields(file, item.start, item.end):
        if inner.number == _Tensor.NAME:
            name = content(file, inner).decode()
        elif inner.number == _Tensor.TYPE:
            code = inner.value
        elif inner.number == _Tensor.DIMS:
            dims.extend(_integers(file, inner))
        elif inner.number == _Tensor.EXTERNAL_DATA:
            key, value = read_entry(file, inner.start, inner.end)
            external = value if key == 'location' else external
        else:
            stored.setdefault(inner.number, []).append(inner)
    dtype, shape = _type_name(code), tuple(dims)
    values = None if external else _values(file, stored, dtype, shape)
    return Tensor(name=name, dtype=dtype, shape=shape, values=values, external=external)


def _values(
    file: BinaryIO, stored: Mapping[int, list[Field]], dtype: str, shape: tuple[int, ...]
) -> NDArray[Any] | None:
    """The values of a tensor that is small and of a type NumPy has."""
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if dtype not in _NUMPY or not 0 <= count * np.dtype(dtype).itemsize <= _KEPT_BYTES:
        return None
    raw = stored.get(_Tensor.RAW_DATA)
    if raw:
        flat = np.frombuffer(content(file, raw[-1]), np.dtype(dtype).newbyteorder('<'))
    else:
        numbers: list[float] = []
        for inner in stored.get(_Tensor.FLOAT_DATA, ()):
            numbers.extend(_floats(content(file, inner)))
        for key in (_Tensor.INT32_DATA, _Tensor.INT64_DATA):
            for inner in stored.get(key, ()):
                numbers.extend(_integers(file, inner))
        if dtype == 'float16':  # kept as the bits of each
            flat = np.asarray(numbers, np.uint16).view(np.float16)
        else:
            flat = np.asarray(numbers, dtype)
    return flat.astype(dtype).reshape(shape) if flat.size == count else None


_NUMPY: Final = frozenset(TYPES.values()) - {'string', 'bfloat16', 'uint4', 'int4'}


def _tensor_info(file: BinaryIO, item: Field) -> TensorInfo:
    """ValueInfoProto: a name (1) and a type (2), of a tensor (1): element (1) and shape (2)."""
    name, code = '', 0
    shape: tuple[int | None, ...] | None = None
    for inner in fields(file, item.start, item.end):
        if inner.number == 1:
            name = content(file, inner).decode()
        for kind in _inside(file, inner, 2):
            for part in _inside(file, kind, 1):
                code = part.value if part.number == 1 else code
                if part.number == 2:  # noqa: PLR2004  the shape
                    shape = tuple(_size(file, dim) for dim in fields(file, part.start, part.end))
    return TensorInfo(name=name, dtype=_type_name(code), shape=shape)


def _inside(file: BinaryIO, item: Field, number: int) -> Iterator[Field]:
    """The fields of `item` when it is field `number`, else none."""
    return fields(file, item.start, item.end) if item.number == number else iter(())


def _size(file: BinaryIO, dim: Field) -> int | None:
    """TensorShapeProto.Dimension: a number (1), or the name (2) of what is free."""
    return next((i.value for i in fields(file, dim.start, dim.end) if i.number == 1), None)


def _type_name(code: int) -> str:
    return TYPES.get(code, f'type {code}')


def _integers(file: BinaryIO, item: Field) -> list[int]:
    return packed_integers(content(file, item)) if item.length else [item.value]


def _floats(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f'<{len(data) // 4}f', data)


def _text(data: bytes) -> str:
    return data.decode('utf-8', 'backslashreplace')
