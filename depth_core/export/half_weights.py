# SPDX-License-Identifier: Apache-2.0
"""Weights kept as float16 in a graph that computes in float32: half the file, the same work.

A runtime casts them once, when it prepares the graph.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from onnxscript import ir

TOLERANCE: Final = 2e-2
"""Largest difference allowed, as a fraction of the depth. Rounding moves each weight by at most
2^-11 of itself, and the depth by some 1e-3 over a deep network."""

_LARGE: Final = 1024
"""Elements; smaller constants save nothing, and shapes and ranges of depth are among them."""


def keep_as_half(graph: ir.Graph) -> None:
    """Replace large float32 weights by float16 ones and a Cast each.

    Weights beyond the range of float16 stay float32.
    """
    casts = []
    for value in list(graph.initializers.values()):
        rounded = _rounded(value.const_value)
        if rounded is None or value.is_graph_output():
            continue
        name = str(value.name)
        half = ir.Value(
            name=f'{name}_half',
            type=ir.TensorType(ir.DataType.FLOAT16),
            shape=ir.Shape(rounded.shape),
            const_value=ir.tensor(rounded, name=f'{name}_half'),
        )
        cast = ir.node('Cast', [half], attributes={'to': int(ir.DataType.FLOAT)})
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        del graph.initializers[name]
        cast.outputs[0].name = name
        cast.outputs[0].type, cast.outputs[0].shape = value.type, value.shape
        graph.register_initializer(half)
        casts.append(cast)
    if casts:
        graph.insert_before(graph[0], casts)


def _rounded(tensor: ir.TensorProtocol | None) -> np.ndarray | None:
    """The weight as float16; None where it stays as it is."""
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < _LARGE:
        return None
    values = tensor.numpy()
    if np.abs(values).max() > np.finfo(np.float16).max:
        return None
    return values.astype(np.float16)
