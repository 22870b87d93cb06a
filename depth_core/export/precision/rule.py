# SPDX-License-Identifier: Apache-2.0
"""Which nodes of a graph must stay in fp32 when the rest computes in fp16.

fp16 keeps 11 bits, ends at 65504 and loses bits below 6.1e-5. Convolutions and matrix products,
where the time goes, bear that: rounding averages out over their sums. What follows the last of
them does not, since each pixel's depth is computed there from one or two numbers, often through
an exponential or a reciprocal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
import onnx

from depth_core.export.precision.graph import (
    FLOAT,
    FLOAT16,
    HEAVY,
    MOVES,
    Graph,
    attribute,
    operator,
    reduces,
)

LARGEST: Final = 65504.0
"""The largest number of fp16."""

SMALLEST_NORMAL: Final = 2.0**-14
"""Below this fp16 has fewer than 11 bits; an epsilon of 1e-8 would become 0."""

ACTIVATION_LIMIT: Final = 2.0**13
"""Largest activation on the calibration images that fp16 is given: an eighth of what it holds,
since other images reach further."""

_WINDOW: Final = 9
"""Most values that are averaged in fp16: eight at the limit above add up to more than it holds."""

_ARITHMETIC: Final = frozenset(
    {
        'Abs',
        'Add',
        'BatchNormalization',
        'Ceil',
        'Celu',
        'Clip',
        'Div',
        'Elu',
        'Erf',
        'Floor',
        'Gelu',
        'HardSigmoid',
        'HardSwish',
        'LeakyRelu',
        'Max',
        'Min',
        'Mul',
        'Neg',
        'PRelu',
        'Relu',
        'Round',
        'Selu',
        'Sigmoid',
        'Sign',
        'Softsign',
        'Sub',
        'Tanh',
        'ThresholdedRelu',
        'Where',
    }
)
_WINDOWS: Final = frozenset({'AveragePool', 'GlobalMaxPool', 'MaxPool', 'Resize'})
_COMPARISONS: Final = frozenset(
    {'Equal', 'Greater', 'GreaterOrEqual', 'IsInf', 'IsNaN', 'Less', 'LessOrEqual'}
)

FP16_OPERATORS: Final = HEAVY | _ARITHMETIC | _WINDOWS | _COMPARISONS | MOVES | {'Cast'}
"""What may compute in fp16. Sums over many values, norms, Softmax, Exp, Log, Pow, Softplus,
GridSample and whatever is not known here may not."""

_EXACT: Final = frozenset({onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.BOOL})
"""Types all of whose values fp16 holds."""

_DIVISORS: Final = frozenset({'Clip', 'Div', 'Max', 'Reciprocal'})
"""Where a small constant keeps something from being 0, and must not become 0 itself."""

_SUMS: Final = frozenset(
    {'GlobalAveragePool', 'ReduceL2', 'ReduceMean', 'ReduceSum', 'ReduceSumSquare'}
)


def nodes_in_fp32(graph: Graph, largest: Mapping[str, float]) -> dict[int, str]:
    """Choose the nodes that keep fp32.

    Args:
        graph: A graph in fp32.
        largest: Largest magnitude of each activation on the calibration images; a tensor that
            is not in it is taken to fit.

    Returns:
        Each node that keeps fp32, by its index, with the reason in a few words.
    """
    reasons: dict[int, str] = {}
    for chosen, reason in (
        (unable(graph), 'this operator loses too much in fp16'),
        (before_heavy(graph), 'it prepares the input'),
        (tail(graph), 'it is after the last convolution or matrix product'),
        (norms(graph), 'it is part of a norm'),
        (log_terms(graph), 'it is a term of a logarithm'),
        (coordinates(graph), 'it computes where to sample'),
        (whole_numbers(graph), 'it computes whole numbers'),
        (out_of_range(graph, largest), 'its numbers do not fit fp16'),
    ):
        for index in chosen:
            reasons.setdefault(index, reason)
    for index in enclosed(graph, reasons):
        reasons[index] = 'everything around it keeps fp32'
    for index in exact_casts(graph, reasons):
        del reasons[index]
    return reasons


def unable(graph: Graph) -> set[int]:
    """The nodes that sum many values or whose operator is never given fp16.

    Whole numbers that are made floating are among them.
    """
    found = {
        index
        for index, node in enumerate(graph.nodes)
        if operator(node) not in FP16_OPERATORS
        or not _takes_fp16(node, graph.opset)
        or reduces(node)
        or (
            math.prod(attribute(node, 'kernel_shape', ())) > _WINDOW
            and node.op_type == 'AveragePool'
        )
    }
    return found | {
        index
        for index in graph.of_type({'Cast'})
        if not graph.is_float(graph.nodes[index].input[0])
        and graph.types.get(graph.nodes[index].input[0]) not in _EXACT
    }


def _takes_fp16(node: onnx.NodeProto, opset: int) -> bool:
    """Whether ONNX defines the operator for fp16; Celu it never does, IsInf since opset 20."""
    schema = onnx.defs.get_schema(node.op_type, opset)
    return any('tensor(float16)' in item.types for item in schema.inputs)


def tail(graph: Graph) -> set[int]:
    """The nodes from which no convolution or matrix product is reachable."""
    heavy = graph.of_type(HEAVY)
    return set(range(len(graph.nodes))) - graph.reachable(heavy, forwards=False)


def before_heavy(graph: Graph) -> set[int]:
    """The nodes that no convolution or matrix product leads to: normalisation and constants."""
    heavy = graph.of_type(HEAVY)
    return set(range(len(graph.nodes))) - graph.reachable(heavy, forwards=True)


def norms(graph: Graph) -> set[int]:
    """The nodes of norms that are written out: x - mean, its square, mean, root, quotient."""
    found: set[int] = set()
    for total in graph.of_type(_SUMS):
        roots = _along(graph, total, {'Sqrt', 'Pow'}, through={'Add', 'Max', 'Clip'})
        if roots:
            squares = _of(graph, graph.before(total), {'Abs', 'Mul', 'Pow'})
            centred = _of(graph, (i for s in squares for i in graph.before(s)), {'Sub'})
            quotients = _of(graph, (i for r in roots for i in graph.after(r)), {'Div', 'Mul'})
            inverse = _of(graph, (i for r in roots for i in graph.after(r)), {'Reciprocal'})
            quotients |= _of(graph, (i for r in inverse for i in graph.after(r)), {'Mul'})
            found |= {total} | roots | squares | centred | quotients
    return found


def log_terms(graph: Graph) -> set[int]:
    """The arithmetic around logarithms, up to a convolution, a sum or a softmax on each side.

    A relative error of p is an absolute one of log p, which the exponential that follows turns
    into a factor: terms like n log p of a log-binomial cost percents.
    """
    passed = _ARITHMETIC | MOVES | {'Pow', 'Reciprocal', 'Sqrt', 'Cast'}
    found: set[int] = set()
    waiting = graph.of_type({'Log', 'LogSoftmax'})
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += _of(graph, [*graph.before(index), *graph.after(index)], passed)
    return found


def coordinates(graph: Graph) -> set[int]:
    """The arithmetic that computes the grids of GridSample."""
    grids = [graph.nodes[index].input[1] for index in graph.of_type({'GridSample'})]
    return _arithmetic_before(
        graph, [graph.producers[name] for name in grids if name in graph.producers]
    )


def whole_numbers(graph: Graph) -> set[int]:
    """The arithmetic whose result is cut to whole numbers or to true and false.

    fp16 has no 2049, and rounds 2.9999 to 3.
    """
    floating = {FLOAT, FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    casts = [
        index
        for index in graph.of_type({'Cast'})
        if graph.is_float(graph.nodes[index].input[0])
        and attribute(graph.nodes[index], 'to', FLOAT) not in floating
    ]
    return _arithmetic_before(graph, casts)


def _arithmetic_before(graph: Graph, seeds: Iterable[int]) -> set[int]:
    """`seeds`, and what leads to them from the last convolution or matrix product on."""
    found: set[int] = set()
    waiting = list(seeds)
    while waiting:
        index = waiting.pop()
        if index not in found and graph.nodes[index].op_type not in HEAVY:
            found.add(index)
            waiting += graph.before(index)
    return found


def out_of_range(graph: Graph, largest: Mapping[str, float]) -> set[int]:
    """The nodes with a constant or an activation that fp16 cannot hold."""
    found = set()
    for index, node in enumerate(graph.nodes):
        names = [*graph.float_inputs(index), *graph.float_outputs(index)]
        fits = all(largest.get(name, 0.0) <= ACTIVATION_LIMIT for name in names)
        for value in graph.constants(index):
            sizes = np.abs(value[value != 0.0])
            # One weight of many that is nearly 0 harms nothing, unless something is divided by it.
            counts = sizes.min if node.op_type in _DIVISORS else sizes.max
            if sizes.size:
                fits &= bool(sizes.max() <= LARGEST and counts() >= SMALLEST_NORMAL)
        if not fits:
            found.add(index)
    return found


def enclosed(graph: Graph, kept: Collection[int]) -> set[int]:
    """The nodes between others in fp32 and with no heavy one among them.

    Nothing would be gained by a cast to fp16 and back.
    """
    light = [
        index
        for index, node in enumerate(graph.nodes)
        if index not in kept and node.op_type not in HEAVY
    ]
    from_fp32: set[int] = set()
    for index in light:
        names = graph.float_inputs(index)
        givers = [graph.producers[name] for name in names if name in graph.producers]
        if all(giver in kept or giver in from_fp32 for giver in givers):
            from_fp32.add(index)
    to_fp32: set[int] = set()
    for index in reversed(light):
        takers = [i for name in graph.float_outputs(index) for i in graph.consumers[name]]
        if all(taker in kept or taker in to_fp32 for taker in takers):
            to_fp32.add(index)
    return from_fp32 & to_fp32


def exact_casts(graph: Graph, kept: Collection[int]) -> set[int]:
    """Casts of small whole numbers that something in fp16 takes: one cast does, and is exact."""
    return {
        index
        for index in graph.of_type({'Cast'})
        if index in kept
        and graph.types.get(graph.nodes[index].input[0]) in _EXACT
        and any(taker not in kept for taker in graph.after(index))
    }


def _of(graph: Graph, nodes: Iterable[int], kinds: Collection[str]) -> set[int]:
    return {index for index in nodes if graph.nodes[index].op_type in kinds}


def _along(
    graph: Graph, start: int, wanted: Collection[str], *, through: Collection[str]
) -> set[int]:
    """The nodes of a kind that follow `start`, with those passed on the way to them."""
    found: set[int] = set()
    for index in graph.after(start):
        if graph.nodes[index].op_type in wanted:
            found.add(index)
        elif graph.nodes[index].op_type in through:
            further = _along(graph, index, wanted, through=through)
            found |= further | ({index} if further else set())
    return found
