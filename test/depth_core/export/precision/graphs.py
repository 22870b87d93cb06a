# SPDX-License-Identifier: Apache-2.0
"""Small graphs written by hand, whose answers and types can be told by looking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.export.precision.graph import Graph, operator
from depth_core.manifest import Manifest

HEIGHT, WIDTH = 8, 8

MANIFEST = Manifest(
    name='small',
    input=InputSpec(height=HEIGHT, width=WIDTH, layout='NCHW', dtype='float32'),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0, sigma=None),
)

node = helper.make_node


def conv(source: str, target: str, weight: str = 'w', **attributes: Any) -> NodeProto:
    """A convolution of 1x1."""
    return node('Conv', [source, weight], [target], **attributes)


def model(
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Any],
    *,
    dtype: int = TensorProto.FLOAT,
    shape: Sequence[int] = (1, 3, HEIGHT, WIDTH),
    outputs: Collection[str] = ('depth',),
    opset: int = 18,
) -> onnx.ModelProto:
    """A model from `image` to `outputs`; the nodes and initialisers are what is given."""
    graph = helper.make_graph(
        nodes,
        'small',
        [helper.make_tensor_value_info('image', dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


def weights(*shape: int, seed: int = 0, size: float = 1.0) -> Any:
    """Drawn weights, fp32."""
    return np.random.default_rng(seed).normal(0.0, size, shape).astype(np.float32)


def operators(graph: Graph, chosen: Collection[int]) -> Counter[str]:
    """How often each operator is among the chosen nodes."""
    return Counter(operator(graph.nodes[index]) for index in chosen)


def log_binomial() -> onnx.ModelProto:
    """Depth as the expectation over 256 bins under a binomial of a predicted p, as in ZoeDepth.

    The expectation is a matrix product, so that the logarithms are not after the last one.
    """
    bins = 256
    k = np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1)
    chosen = np.cumsum(np.log(np.arange(1, bins, dtype=np.float64)))
    log_factorial = np.concatenate([[0.0], chosen])
    coefficients = log_factorial[-1] - log_factorial - log_factorial[::-1]
    nodes = [
        conv('image', 'logit', group=1),
        node('Sigmoid', ['logit'], ['raw']),
        node('Clip', ['raw', 'least', 'most'], ['p']),
        node('Sub', ['one', 'p'], ['q']),
        node('Log', ['p'], ['log_p']),
        node('Log', ['q'], ['log_q']),
        node('Mul', ['log_p', 'k'], ['k_log_p']),
        node('Mul', ['log_q', 'rest'], ['rest_log_q']),
        node('Add', ['k_log_p', 'rest_log_q'], ['powers']),
        node('Add', ['powers', 'coefficients'], ['logits']),
        node('Div', ['logits', 'temperature'], ['sharpened']),
        node('Softmax', ['sharpened'], ['probability'], axis=1),
        node('Transpose', ['probability'], ['last'], perm=[0, 2, 3, 1]),
        node('MatMul', ['last', 'centres'], ['expected']),
        node('Reshape', ['expected', 'plane'], ['depth']),
    ]
    return model(
        nodes,
        {
            'w': weights(1, 3, 1, 1, seed=3, size=2.0),
            'least': np.float32(1e-4),
            'most': np.float32(1.0 - 1e-4),
            'one': np.float32(1.0),
            'temperature': np.float32(0.0212),
            'k': k,
            'rest': np.float32(bins - 1) - k,
            'coefficients': coefficients.astype(np.float32).reshape(1, bins, 1, 1),
            'centres': np.geomspace(0.5, 80.0, bins, dtype=np.float32).reshape(bins, 1),
            'plane': np.array([1, HEIGHT, WIDTH], np.int64),
        },
    )
