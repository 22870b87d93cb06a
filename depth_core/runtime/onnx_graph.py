# SPDX-License-Identifier: Apache-2.0
"""What an ONNX graph is made of, for whoever judges one without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from depth_core.runtime.graph import TensorInfo

TYPES: Final[Mapping[int, str]] = {
    1: 'float32',
    2: 'uint8',
    3: 'int8',
    4: 'uint16',
    5: 'int16',
    6: 'int32',
    7: 'int64',
    8: 'string',
    9: 'bool',
    10: 'float16',
    11: 'float64',
    12: 'uint32',
    13: 'uint64',
    14: 'complex64',
    15: 'complex128',
    16: 'bfloat16',
    21: 'uint4',
    22: 'int4',
}
"""TensorProto.DataType; eight-bit floats and later ones are named by their number."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A constant of the graph: weights, or the numbers that an operator is given."""

    name: str
    dtype: str
    """NumPy's name of the type."""
    shape: tuple[int, ...]
    values: NDArray[Any] | None = None
    """Of `shape`; None for tensors that are large, external or of a type NumPy lacks."""
    external: str | None = None
    """The file with the values, relative to that of the graph; None when they are inside."""


Attribute: TypeAlias = int | float | str | tuple[int | float | str, ...] | Tensor


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation."""

    operator: str
    name: str
    domain: str
    """Empty for the operators of ONNX itself."""
    inputs: tuple[str, ...]
    """Names of tensors; an optional one that is left out is empty."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """As far as they are stated; graphs of `If` and `Loop` are not kept, their nodes are."""

    def __str__(self) -> str:
        label = self.name or (self.outputs[0] if self.outputs else '')
        return f'{self.domain}{"::" if self.domain else ""}{self.operator} {label!r}'


@dataclass(frozen=True, kw_only=True)
class OnnxGraph:
    """What an ONNX file says, without its weights."""

    opsets: Mapping[str, int]
    """Version of each set of operators by its domain, '' for those of ONNX."""
    inputs: tuple[TensorInfo, ...]
    """Those that are to be given: not those with an initial value."""
    outputs: tuple[TensorInfo, ...]
    nodes: tuple[Node, ...]
    """In the order of the file, those of branches, loops and functions among them."""
    tensors: Mapping[str, Tensor]
    """Constants by name, from initializers and from `Constant` nodes."""
    inner: Mapping[str, TensorInfo]
    """What the file says of tensors between nodes; it need say nothing."""

    @property
    def opset(self) -> int:
        """Version of the operators of ONNX."""
        return self.opsets.get('', 1)

    @cached_property
    def external_files(self) -> tuple[str, ...]:
        """Files beside that of the graph that hold weights, sorted."""
        return tuple(sorted({item.external for item in self.tensors.values() if item.external}))

    @cached_property
    def types(self) -> frozenset[str]:
        """NumPy's names of all types that the graph states or casts to."""
        stated = {item.dtype for item in self.tensors.values()}
        for info in (*self.inputs, *self.outputs, *self.inner.values()):
            stated.add(info.dtype)
        casts = (node.attributes.get('to') for node in self.nodes if node.operator == 'Cast')
        return frozenset(
            stated | {TYPES[to] for to in casts if isinstance(to, int) and to in TYPES}
        )

    def info(self, name: str) -> TensorInfo | None:
        """What is known of the tensor `name`; None when the file does not say."""
        for info in (*self.inputs, *self.outputs):
            if info.name == name:
                return info
        tensor = self.tensors.get(name)
        if tensor is not None:
            return TensorInfo(name=name, dtype=tensor.dtype, shape=tensor.shape)
        return self.inner.get(name)
