# SPDX-License-Identifier: Apache-2.0
"""The sizes that an ONNX graph leaves free in its inputs, by name, and how they are fixed.

A runtime plans memory and kernels for one size and folds what follows from it only when the
sizes of the inputs are numbers. Most runtimes fix them themselves; for one that does not,
`with_fixed_inputs` writes the numbers into the bytes of the file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from depth_core.contracts import InputSpec
from depth_core.onnx_file import read_model
from depth_core.protobuf import Field, content, fields, head, varint

Dim: TypeAlias = 'int | str'
"""A size, or what the graph calls one that is free; '' when it has no name."""

_GRAPH: Final = 7
"""Of ModelProto."""
_INPUT: Final = 11
"""Of GraphProto."""
_NAME: Final = 1
_TYPE: Final = 2
"""Both of ValueInfoProto."""
_TENSOR_TYPE: Final = 1
"""Of TypeProto."""
_SHAPE: Final = 2
"""Of TypeProto.Tensor."""
_DIM: Final = 1
"""Of TensorShapeProto; a dimension has a number (1) or a name (2)."""


def read_input_dims(path: Path) -> dict[str, tuple[Dim, ...]]:
    """Read the shape of each input of the graph at `path`, as far as it states one.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX.
    """
    return read_model(path, _read_dims)


def leaves_size_free(path: Path, spec: InputSpec) -> bool:
    """Whether the graph at `path` leaves both height and width of its image free.

    Raises:
        ModelError: The file is missing, truncated or not ONNX.
    """
    dims = read_input_dims(path).get(spec.name, ())
    axes = (1, 2) if spec.layout == 'NHWC' else (2, 3)
    return len(dims) > max(axes) and all(isinstance(dims[axis], str) for axis in axes)


def _read_dims(file: BinaryIO, size: int) -> dict[str, tuple[Dim, ...]]:
    found = {}
    for graph in _inside(file, Field(_GRAPH, 0, 0, size), _GRAPH):
        for info in _inside(file, graph, _INPUT):
            name = next((content(file, item) for item in _inside(file, info, _NAME)), b'')
            for shape in _shapes(file, info):
                dims = tuple(_dim(file, dim) for dim in _inside(file, shape, _DIM))
                found[name.decode()] = dims
    return found


def _shapes(file: BinaryIO, info: Field) -> list[Field]:
    """The shape of a ValueInfoProto; none where it states none."""
    return [
        shape
        for kind in _inside(file, info, _TYPE)
        for tensor in _inside(file, kind, _TENSOR_TYPE)
        for shape in _inside(file, tensor, _SHAPE)
    ]


def _dim(file: BinaryIO, dim: Field) -> Dim:
    for item in fields(file, dim.start, dim.end):
        if item.number == 1:
            return item.value
        if item.number == 2:  # noqa: PLR2004  the name
            return content(file, item).decode()
    return ''


def _inside(file: BinaryIO, item: Field, number: int) -> list[Field]:
    """The fields of `item` of this number."""
    return [inner for inner in fields(file, item.start, item.end) if inner.number == number]


def with_fixed_inputs(model: bytes, shapes: Mapping[str, Sequence[int | None]]) -> bytes:
    """Write sizes into the inputs of an ONNX file.

    Args:
        model: The bytes of the file.
        shapes: The shape of each input that is to be fixed; None leaves a size as it is.

    Returns:
        The file with these shapes, otherwise the same.

    Raises:
        NotProtobufError: The bytes are no ONNX file.
        ValueError: A shape has another number of sizes than its input.
    """
    file = io.BytesIO(model)

    def fixed(info: Field) -> bytes:
        name = next((content(file, item) for item in _inside(file, info, _NAME)), b'').decode()
        if name not in shapes:
            return content(file, info)
        path = (_TYPE, _TENSOR_TYPE, _SHAPE)
        return _edited(file, info, path, lambda shape: _fixed_shape(file, shape, shapes[name]))

    return _edited(file, Field(0, 0, 0, len(model)), (_GRAPH, _INPUT), fixed)


def _edited(
    file: BinaryIO, message: Field, path: Sequence[int], edit: Callable[[Field], bytes]
) -> bytes:
    """The bytes of `message`, with the content of every field at `path` as `edit` gives it."""
    number, *deeper = path
    parts = []
    start = message.start
    for item in fields(file, message.start, message.end):
        if item.number == number:
            inner = _edited(file, item, deeper, edit) if deeper else edit(item)
            parts.append(head(number, len(inner)) + inner)
        else:
            file.seek(start)
            parts.append(file.read(item.end - start))
        start = item.end
    return b''.join(parts)


def _fixed_shape(file: BinaryIO, shape: Field, sizes: Sequence[int | None]) -> bytes:
    """A TensorShapeProto with the sizes that are known."""
    parts = []
    for dim, size in zip(_inside(file, shape, _DIM), sizes, strict=True):
        inner = content(file, dim) if size is None else _SIZE_KEY + varint(size)
        parts.append(head(_DIM, len(inner)) + inner)
    return b''.join(parts)


_SIZE_KEY: Final = b'\x08'
"""Before the number of a dimension: field 1, an integer."""
