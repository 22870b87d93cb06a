# SPDX-License-Identifier: Apache-2.0
"""Nodes of an ONNX graph that some TensorRT computes wrong or refuses; see `graph_checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from depth_core.runtime.onnx_graph import Node, OnnxGraph

LARGEST_TOPK: Final = 3840

_LINEAR: Final = 20
"""Opset in which GridSample's `bilinear` and `bicubic` became `linear` and `cubic`."""
_CHANNEL_SCALES: Final = 21
"""Opset in which GroupNormalization got a scale for each channel."""

_PASSING: Final = frozenset(
    {'Add', 'Cast', 'Div', 'Dropout', 'Identity', 'Mul', 'Reshape', 'Sub', 'Transpose', 'Where'}
)
"""What may stand between the products and the softmax of an attention."""

_NOT_ON_CODES: Final = frozenset(
    {'Constant', 'DequantizeLinear', 'QuantizeLinear', 'Shape', 'Size'}
)
"""What may have uint8 at hand: for its size, or as a zero point, which is judged apart."""

_NEVER: Final = frozenset(
    {
        'AffineGrid',
        'Col2Im',
        'ConcatFromSequence',
        'Det',
        'DynamicQuantizeLinear',
        'MaxUnpool',
        'SequenceAt',
        'SequenceConstruct',
        'SplitToSequence',
        'Unique',
    }
)


@dataclass(frozen=True)
class Subject:
    """A graph, with who makes and who takes each of its tensors."""

    graph: OnnxGraph

    @cached_property
    def makers(self) -> Mapping[str, Node]:
        """The node that gives a tensor, by its name."""
        return {name: node for node in self.graph.nodes for name in node.outputs}

    @cached_property
    def takers(self) -> Mapping[str, list[Node]]:
        """The nodes that take a tensor, by its name."""
        found: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    def of(self, *operators: str) -> list[Node]:
        """The nodes of these operators of ONNX."""
        return [
            node for node in self.graph.nodes if not node.domain and node.operator in operators
        ]

    def dtype(self, name: str) -> str | None:
        """NumPy's name of the type of a tensor; None when the file does not say."""
        info = self.graph.info(name)
        return None if info is None else info.dtype

    def rank(self, name: str) -> int | None:
        """How many axes a tensor has; None when the file does not say."""
        info = self.graph.info(name)
        return None if info is None or info.shape is None else len(info.shape)


Pattern: TypeAlias = Callable[[Subject], Iterable[Node]]


def renamed_grid_sample(subject: Subject) -> Iterable[Node]:
    """GridSample whose mode has the name of opset 20 and later."""
    nodes = subject.of('GridSample') if subject.graph.opset >= _LINEAR else []
    return [node for node in nodes if node.attributes.get('mode', 'linear') != 'nearest']


def volume_grid_sample(subject: Subject) -> Iterable[Node]:
    """GridSample of volumes."""
    return [
        node
        for node in subject.of('GridSample')
        if any(subject.rank(name) == 5 for name in node.inputs[:2])  # noqa: PLR2004  N, C, D, H, W
    ]


def scatter_says_none(subject: Subject) -> Iterable[Node]:
    """ScatterND that states that it reduces nothing."""
    return [n for n in subject.of('ScatterND') if n.attributes.get('reduction') == 'none']


def scatter_reduces(subject: Subject) -> Iterable[Node]:
    """ScatterND that adds, multiplies or compares."""
    return [n for n in subject.of('ScatterND') if n.attributes.get('reduction', 'none') != 'none']


def scatter_elements_reduces(subject: Subject) -> Iterable[Node]:
    """ScatterElements that adds, multiplies or compares."""
    nodes = subject.of('ScatterElements')
    return [node for node in nodes if node.attributes.get('reduction', 'none') != 'none']


def uint8_inside(subject: Subject) -> Iterable[Node]:
    """Any operation on uint8 codes but a cast from an input of the graph or to an output."""
    given = {info.name for info in subject.graph.inputs}
    wanted = {info.name for info in subject.graph.outputs}
    for node in subject.graph.nodes:
        if node.operator in _NOT_ON_CODES:
            continue
        taken = [name for name in node.inputs if subject.dtype(name) == 'uint8']
        made = [name for name in node.outputs if subject.dtype(name) == 'uint8']
        if node.operator == 'Cast':
            if node.attributes.get('to') == 2:  # noqa: PLR2004  uint8 in TensorProto.DataType
                made = list(node.outputs)
            taken = [name for name in taken if name not in given]
            made = [name for name in made if name not in wanted]
        if taken or made:
            yield node


def unsupported_resize(subject: Subject) -> Iterable[Node]:
    """Resize that filters before it shrinks, keeps an aspect, or crops."""
    for node in subject.of('Resize'):
        stated = node.attributes
        if (
            stated.get('antialias', 0)
            or stated.get('keep_aspect_ratio_policy', 'stretch') != 'stretch'
            or stated.get('coordinate_transformation_mode') == 'tf_crop_and_resize'
        ):
            yield node


def never_supported(subject: Subject) -> Iterable[Node]:
    """Operators that no version has."""
    return subject.of(*sorted(_NEVER))


def attention_operator(subject: Subject) -> Iterable[Node]:
    """The operator Attention of opset 23."""
    return subject.of('Attention')


def attention(subject: Subject) -> Iterable[Node]:
    """The softmax of each attention: a product of two tensors before it, and one after it."""
    return [
        node
        for node in subject.of('Softmax')
        if _leads(subject, node, forward=False) and _leads(subject, node, forward=True)
    ]


def half_attention(subject: Subject) -> Iterable[Node]:
    """Attention of which a product is, or may be, in fp16."""
    for node in attention(subject):
        products = [
            *_leads(subject, node, forward=False),
            *_leads(subject, node, forward=True),
        ]
        types = {subject.dtype(name) for item in products for name in item.inputs}
        if types != {'float32'}:
            yield node


def _leads(subject: Subject, start: Node, *, forward: bool) -> list[Node]:
    """The matrix products that `start` leads to, or comes from, through elementwise nodes."""
    found, waiting, seen = [], [start], set()
    while waiting:
        node = waiting.pop()
        if forward:
            beside = [item for name in node.outputs for item in subject.takers.get(name, ())]
        else:
            beside = [subject.makers[name] for name in node.inputs if name in subject.makers]
        for item in beside:
            if item.outputs in seen:
                continue
            seen.add(item.outputs)
            if item.operator in ('MatMul', 'Einsum'):
                # A product with weights is a layer, not an attention.
                if not any(name in subject.graph.tensors for name in item.inputs):
                    found.append(item)
            elif item.operator in _PASSING:
                waiting.append(item)
    return found


def large_topk(subject: Subject) -> Iterable[Node]:
    """TopK of more elements than TensorRT sorts."""
    for node in subject.of('TopK'):
        count = subject.graph.tensors.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if count is not None and count.values is not None and count.values.max() > LARGEST_TOPK:
            yield node


def half_log_sum_exp(subject: Subject) -> Iterable[Node]:
    """ReduceLogSumExp in fp16, as far as the file says."""
    return [
        node
        for node in subject.of('ReduceLogSumExp')
        if subject.dtype(node.inputs[0]) in ('float16', None)
    ]


def quantized_for_processors(subject: Subject) -> Iterable[Node]:
    """Q/DQ whose zero point is not 0, to uint8, or from int32, as biases are kept."""
    for node in subject.of('QuantizeLinear', 'DequantizeLinear'):
        # Without a zero point it is 0, and of uint8 unless the node says otherwise.
        name = node.inputs[2] if len(node.inputs) > 2 else ''  # noqa: PLR2004
        zero = subject.graph.tensors.get(name)
        shifted = zero is not None and zero.values is not None and np.any(zero.values != 0)
        if node.operator == 'DequantizeLinear':
            refused = subject.dtype(node.inputs[0]) == 'int32'
        elif node.attributes.get('output_dtype', 0):
            refused = node.attributes['output_dtype'] == 2  # noqa: PLR2004  uint8
        else:
            refused = not name or subject.dtype(name) == 'uint8'
        if shifted or refused:
            yield node


def reduction_over_stated_axes(subject: Subject) -> Iterable[Node]:
    """Reductions that take their axes as an input, all but ReduceSum since opset 18."""
    return [
        node
        for node in subject.graph.nodes
        if not node.domain
        and node.operator.startswith('Reduce')
        and node.operator != 'ReduceSum'
        and len(node.inputs) > 1
    ]


def layer_normalization(subject: Subject) -> Iterable[Node]:
    """The operators LayerNormalization and GroupNormalization."""
    return subject.of('LayerNormalization', 'GroupNormalization')


def channel_group_normalization(subject: Subject) -> Iterable[Node]:
    """GroupNormalization as opset 21 defines it."""
    return subject.of('GroupNormalization') if subject.graph.opset >= _CHANNEL_SCALES else []


def einsum_ellipsis(subject: Subject) -> Iterable[Node]:
    """Einsum with axes that are not named."""
    return [n for n in subject.of('Einsum') if '...' in str(n.attributes.get('equation', ''))]
