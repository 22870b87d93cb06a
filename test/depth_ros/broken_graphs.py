# SPDX-License-Identifier: Apache-2.0
"""Stand-ins of public graphs, changed so that something about them is wrong."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from test.foreign import STANDINS


def write_negative_scale(path: Path) -> Path:
    """MoGe-2 whose scale of each image is below zero."""
    model = onnx.load(STANDINS['moge_2'].write(path))
    for node in model.graph.node:
        node.output[:] = ['plain' if name == 'metric_scale' else name for name in node.output]
    model.graph.node.append(helper.make_node('Neg', ['plain'], ['metric_scale']))
    onnx.save(model, path)
    return path


def write_narrow_sky(path: Path) -> Path:
    """Depth Anything 3 with a sky of one column more, `narrow`."""
    model = onnx.load(STANDINS['depth_anything_3_metric'].write(path))
    pool = helper.make_node('AveragePool', ['sky'], ['narrow'], kernel_shape=[1, 504])
    model.graph.node.append(pool)
    shape = helper.make_tensor_value_info('narrow', TensorProto.FLOAT, [1, 1, 504, 1])
    model.graph.output.append(shape)
    onnx.save(model, path)
    return path
