# SPDX-License-Identifier: Apache-2.0
"""Small graphs to build engines from: uint8 image in, depth and sigma out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.manifest import METADATA_KEY, Manifest

HEIGHT, WIDTH = 16, 24

MANIFEST = Manifest(
    name='small',
    input=InputSpec(height=HEIGHT, width=WIDTH),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=10.0),
)


def write_graph(
    path: Path,
    *,
    batch: int | str = 1,
    size: tuple[int | str, int | str] = (HEIGHT, WIDTH),
    extra: Sequence[NodeProto] = (),
    initializers: Sequence[TensorProto] = (),
    opset: int = 18,
    half: bool = False,
    external: bool = False,
) -> Path:
    """Write an image -> conv -> relu graph; `extra` takes `features` on to `more`.

    Args:
        path: Where to.
        batch: Images at once; a name leaves it free.
        size: Height and width; names leave them free.
        extra: Nodes between the convolution and the depth.
        initializers: Constants of those.
        opset: Of the file.
        half: The convolution computes in fp16.
        external: Weights in a file of their own.
    """
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weight = np.random.default_rng(0).normal(0.0, 0.1, (1, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node('Cast', ['image'], ['codes'], 'cast', to=kind),
        helper.make_node('Transpose', ['codes'], ['planes'], 'planes', perm=[0, 3, 1, 2]),
        helper.make_node('Conv', ['planes', 'weight'], ['features'], 'conv', pads=[1, 1, 1, 1]),
        *extra,
        helper.make_node('Cast', ['more' if extra else 'features'], ['wide'], 'wide', to=1),
        helper.make_node('Softplus', ['wide'], ['positive']),
        helper.make_node('Squeeze', ['positive', 'one'], ['depth']),
        helper.make_node('Mul', ['depth', 'tenth'], ['sigma']),
    ]
    cast = np.float16 if half else np.float32
    constants = [
        numpy_helper.from_array(weight.astype(cast), 'weight'),
        numpy_helper.from_array(np.array([1]), 'one'),
        numpy_helper.from_array(np.array(0.1, np.float32), 'tenth'),
        *initializers,
    ]
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        'small',
        [make('image', TensorProto.UINT8, [batch, *size, 3])],
        [make(name, TensorProto.FLOAT, [batch, *size]) for name in ('depth', 'sigma')],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)])
    model.ir_version = 8
    helper.set_model_props(model, {METADATA_KEY: MANIFEST.to_json()})
    onnx.save(
        model, path, save_as_external_data=external, location='weights.bin', size_threshold=0
    )
    return path
