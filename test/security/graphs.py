# SPDX-License-Identifier: Apache-2.0
"""Hostile graphs: whose first answer never comes, and whose sizes or manifests are none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SIZE: Final = 32
PLAIN: Final[Mapping[str, Any]] = {
    'version': 2,
    'name': 'hostile',
    'input': {
        'name': 'image',
        'size': {'fixed': [_SIZE, _SIZE]},
        'layout': 'NCHW',
        'dtype': 'float32',
    },
    'depth': {'output': 'depth', 'kind': 'metric', 'min_m': 0.1, 'max_m': 80.0, 'unit_m': 1.0},
}


def _loop(trips: int) -> onnx.ModelProto:
    """A loop that adds its input to a plane, `trips` times."""
    plane = [1, 1, _SIZE, _SIZE]
    body = helper.make_graph(
        [
            helper.make_node('Identity', ['condition'], ['goes_on']),
            helper.make_node('Add', ['before', 'grey'], ['after']),
        ],
        'body',
        [
            helper.make_tensor_value_info('trip', TensorProto.INT64, []),
            helper.make_tensor_value_info('condition', TensorProto.BOOL, []),
            helper.make_tensor_value_info('before', TensorProto.FLOAT, plane),
        ],
        [
            helper.make_tensor_value_info('goes_on', TensorProto.BOOL, []),
            helper.make_tensor_value_info('after', TensorProto.FLOAT, plane),
        ],
    )
    nodes = [
        helper.make_node('ReduceMean', ['image', 'axes'], ['grey'], keepdims=1),
        helper.make_node('Loop', ['trips', '', 'grey'], ['depth'], body=body),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), 'axes'),
        numpy_helper.from_array(np.array(trips, np.int64), 'trips'),
    ]
    return _model(nodes, constants)


def _model(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        'graph',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])],
        [helper.make_tensor_value_info('depth', TensorProto.FLOAT, [1, 1, _SIZE, _SIZE])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)


def write_loop(path: Path, trips: int = 1 << 62) -> None:
    """Write a graph with a loop, and its manifest beside it."""
    onnx.save(_loop(trips), path)
    path.with_suffix('.json').write_text(json.dumps(PLAIN), encoding='utf-8')


def _sizes(node: str) -> Callable[[Path], None]:
    """A graph of one operator that declares a plane of a million times a million."""

    def make(path: Path) -> None:
        write_loop(path, 1)
        shape = np.array([1, 1, 1 << 20, 1 << 20], np.int64)
        constants = [numpy_helper.from_array(shape, 'shape')]
        inputs = ['shape'] if node == 'ConstantOfShape' else ['image', 'shape']
        onnx.save(_model([helper.make_node(node, inputs, ['depth'])], constants), path)

    return make


def _content(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write_loop(path, 1)
        path.write_bytes(content)

    return make


def _metadata(value: str) -> Callable[[Path], None]:
    """A graph with such a manifest inside."""

    def make(path: Path) -> None:
        model = _loop(1)
        model.metadata_props.add(key='depth_ros.manifest', value=value)
        onnx.save(model, path)

    return make


def _weights_elsewhere(path: Path) -> None:
    write_loop(path, 1)
    model = _loop(1)
    weight = model.graph.initializer.add(name='w', data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key='location', value='../../../../../../etc/hostname')
    onnx.save(model, path)


GRAPHS: Final[Mapping[str, Callable[[Path], None]]] = {
    'endless.onnx': write_loop,
    'constant.onnx': _sizes('ConstantOfShape'),
    'expand.onnx': _sizes('Expand'),
    'empty.onnx': _content(b''),
    'noise.onnx': _content(bytes(range(256)) * 8),
    'nested.onnx': _content(b'\x3a\x80\x01' * 1000),
    'length.onnx': _content(b'\x08\x09\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f'),
    'manifest_nested.onnx': _metadata('[' * 100_000),
    'manifest_digits.onnx': _metadata('9' * 5000),
    'manifest_escapes.onnx': _metadata('{"\x1b[2J": 1}'),
    'weights_elsewhere.onnx': _weights_elsewhere,
}
