# SPDX-License-Identifier: Apache-2.0
"""A graph whose convolutions and matrix products compute in int8, said with Q/DQ nodes.

TensorRT and processors want different graphs. TensorRT takes symmetric activations alone, with
zero point 0, and biases that are not quantised; processors multiply uint8 by int8, where the
whole range of an activation after ReLU counts, and give the weights 7 bits: two products of 8
would not fit where those without VNNI add them, and answers would differ between machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from depth_core.errors import ConfigError, ExportError
from depth_core.export.precision.activations import extents, percentiles
from depth_core.export.precision.graph import HEAVY, Graph, attribute, inferred
from depth_core.export.precision.sessions import NOTHING, Extra

Target: TypeAlias = Literal['tensorrt', 'cpu']

PERCENTILE: Final = 0.99999
"""Of the values of an activation, that int8 resolves; the rest is clipped. A single large value
would cost all others their resolution."""

_QUANTISED: Final = ('Conv', 'Gemm', 'MatMul')
_OPSET: Final = 13
"""From which on a scale for each channel can be said."""


def to_int8(
    graph: Graph, inputs: Sequence[NDArray[Any]], target: Target, extra: Extra = NOTHING
) -> onnx.ModelProto:
    """Rewrite `graph` with int8 weights, one scale a channel, and 8-bit activations.

    Args:
        graph: A graph in fp32.
        inputs: What to calibrate with, one after the other.
        target: For whom.
        extra: What is given to inputs beside the image.

    Returns:
        A valid model with the types and shapes of all tensors.

    Raises:
        ConfigError: The opset of the graph is too old.
        ExportError: There is nothing to quantise, or a number is not finite.
    """
    if graph.opset < _OPSET:
        message = (
            f'the graph is of opset {graph.opset}, and int8 with a scale for each channel needs '
            f'{_OPSET}; export the network again, or convert the graph with '
            'onnx.version_converter.'
        )
        raise ConfigError(message)
    chosen = nodes_in_int8(graph)
    if not chosen:
        message = 'the graph has no convolution or matrix product that int8 would serve; use fp16.'
        raise ExportError(message)
    names = {graph.nodes[index].input[0] for index in chosen}
    measured = {
        name: pair for name, pair in extents(graph, inputs, extra).items() if name in names
    }
    ranges = percentiles(graph, inputs, measured, extra, fraction=PERCENTILE)
    return inferred(_quantised(graph, chosen, ranges, target), 'the graph in int8')


def nodes_in_int8(graph: Graph) -> list[int]:
    """Choose the convolutions and matrix products that compute in int8.

    Not the first, which sees the image, nor the last, whose output is the depth; not depthwise
    ones, which have few terms to average rounding over; not those on a single pixel, as of
    squeeze and excitation, which cost no time; and not products of two activations.
    """
    heavy = graph.of_type(HEAVY)
    others = set(heavy)
    chosen = []
    for index in graph.of_type(_QUANTISED):
        first = not (graph.reachable([index], forwards=False) - {index}) & others
        last = not (graph.reachable([index], forwards=True) - {index}) & others
        node = graph.nodes[index]
        depthwise = node.op_type == 'Conv' and attribute(node, 'group', 1) > 1
        weighted = len(node.input) > 1 and _is_matrix(graph, node.input[1])
        computed = node.input[0] not in graph.initialisers
        if not (first or last or depthwise) and weighted and computed:
            chosen.append(index)
    pixels = {index: _pixels(graph, index) for index in chosen}
    return [index for index in chosen if pixels[index] != 1]


def _is_matrix(graph: Graph, name: str) -> bool:
    """Whether a tensor is stored and has output channels to give a scale each."""
    return name in graph.initialisers and len(graph.initialisers[name].dims) > 1


def _pixels(graph: Graph, index: int) -> int | None:
    """How many pixels node `index` computes; None for matrix products and where it is free."""
    node = graph.nodes[index]
    if node.op_type != 'Conv':
        return None
    sizes = graph.shapes.get(node.output[0], ())[2:]
    return None if not sizes or None in sizes else int(np.prod([size or 0 for size in sizes]))


def _quantised(
    graph: Graph, chosen: Sequence[int], ranges: dict[str, tuple[float, float]], target: Target
) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for index, node in enumerate(model.graph.node):
        node.name = f'node_{index}'  # the quantiser knows nodes by name, and some have none
    signed = target == 'tensorrt'
    data = {
        name: TensorData(lowest=np.float32(min(low, 0.0)), highest=np.float32(max(high, 0.0)))
        for name, (low, high) in ranges.items()
    }
    quantiser = QDQQuantizer(
        model,
        per_channel=True,
        # x86 without VNNI adds two products of 8 bits in 16, which 7 bits of weights fit.
        reduce_range=not signed,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.Percentile, data),
        nodes_to_quantize=[model.graph.node[index].name for index in chosen],
        nodes_to_exclude=[],
        op_types_to_quantize=list(_QUANTISED),
        extra_options={
            'ActivationSymmetric': signed,
            'WeightSymmetric': True,
            'QuantizeBias': False,
            # What follows a convolution stays with it in fp32.
            'OpTypesToExcludeOutputQuantization': list(_QUANTISED),
        },
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    result: onnx.ModelProto = quantiser.model.model
    return result
