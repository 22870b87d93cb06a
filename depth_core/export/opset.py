# SPDX-License-Identifier: Apache-2.0
"""The same graph in the operators of an earlier opset, for runtimes that know no later one.

torch.onnx writes opset 18 and later; asked for an earlier one it leaves some graphs as they are
and writes others that are not valid. From 17 to 18 little has changed of what these networks use:
reductions take their axes as an input, and some operators have more attributes, whose usual value
says nothing new.
"""

from __future__ import annotations

from typing import Any, Final

import onnx
from onnxscript import ir

from depth_core.errors import ExportError

OPSET: Final = 18
"""What torch.onnx writes, and newer runtimes take."""
LOWEST: Final = 17
"""What TensorRT 8.5 and 8.6 take at most."""
OPSETS: Final = (LOWEST, OPSET)

_REDUCTIONS: Final = (
    'ReduceL1', 'ReduceL2', 'ReduceLogSum', 'ReduceLogSumExp', 'ReduceMax', 'ReduceMean',
    'ReduceMin', 'ReduceProd', 'ReduceSumSquare',
)  # fmt: skip
"""Those whose axes have been an input since opset 18; ReduceSum has had them so since 13."""
_USUAL: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    **{name: {'noop_with_empty_axes': (0,)} for name in _REDUCTIONS},
    'Pad': {'mode': ('constant', 'reflect', 'edge')},
    'Resize': {'antialias': (0,), 'keep_aspect_ratio_policy': ('stretch',)},
    'ScatterElements': {'reduction': ('none', 'add', 'mul')},
    'ScatterND': {'reduction': ('none', 'add', 'mul')},
    'Split': {},
}
"""Operators that opset 18 has changed, and what 17 takes for granted or knows of attributes."""
_KNOWN_BEFORE: Final = ('mode', 'reduction')
_MOST_INPUTS: Final = {'Pad': 3}


def lower(model: ir.Model, name: str) -> None:
    """Rewrite a graph of opset 18 as one of opset 17, in place.

    Args:
        model: The graph; its answers stay the same.
        name: Of the network, for messages.

    Raises:
        ExportError: An operator, or what is used of it, has no equal in opset 17.
    """
    for node in tuple(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.domain == '' and _since(node) == OPSET:
            _lower_node(node, name)
    model.graph.opset_imports[''] = LOWEST


def _since(node: ir.Node) -> int:
    return int(onnx.defs.get_schema(node.op_type, OPSET).since_version)


def _lower_node(node: ir.Node, name: str) -> None:
    usual = _USUAL.get(node.op_type)
    if usual is None:
        raise _without_equal(node, name, 'the operator')
    for attribute, values in usual.items():
        if attribute in node.attributes:
            if node.attributes[attribute].value not in values:
                raise _without_equal(node, name, f'its {attribute}')
            if attribute not in _KNOWN_BEFORE:
                del node.attributes[attribute]
    if node.op_type in _REDUCTIONS:
        _state_axes(node, name)
    if 'axes' in node.attributes and node.op_type == 'Resize':
        raise _without_equal(node, name, 'its axes')
    if len(node.inputs) > _MOST_INPUTS.get(node.op_type, len(node.inputs)):
        raise _without_equal(node, name, 'its axes')
    if node.op_type == 'Split':
        _share_equally(node, name)


def _state_axes(node: ir.Node, name: str) -> None:
    """Turn the axes that a reduction takes as an input into an attribute."""
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None:
        return
    values = ir.convenience.get_const_tensor(axes)
    if values is None:
        raise _without_equal(node, name, 'that its axes are computed')
    node.attributes['axes'] = ir.AttrInt64s('axes', values.numpy().tolist())
    node.resize_inputs(1)


def _share_equally(node: ir.Node, name: str) -> None:
    """Leave out how many parts there are, which opset 17 counts itself where they are equal."""
    stated = node.attributes.pop('num_outputs', None)
    if stated is None:
        return
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    axis = node.attributes.get_int('axis', 0)
    length = None if shape is None else shape[axis]
    if not isinstance(length, int) or length % stated.as_int():
        raise _without_equal(node, name, 'that its parts differ')


def _without_equal(node: ir.Node, name: str, what: str) -> ExportError:
    message = (
        f'{name} cannot be expressed in ONNX opset {LOWEST}: {what} has no equal there, in '
        f'{node.op_type} {node.name!r}; export it at opset {OPSET}, which TensorRT 10 and later '
        'take.'
    )
    return ExportError(message)
