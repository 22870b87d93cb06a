# SPDX-License-Identifier: Apache-2.0
"""Sizes that a graph leaves free are numbers before a runtime plans for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from depth_core.contracts import DepthKind, InputSpec, OutputSpec, SizeRule
from depth_core.errors import ModelError
from depth_core.manifest import Manifest, manifest_path, write_manifest
from depth_core.runtime import Predictor
from depth_core.runtime.backends import BackendRequest, open_warm
from depth_core.runtime.fixed_shapes import leaves_size_free, read_input_dims, with_fixed_inputs

pytestmark = pytest.mark.numeric

NAMED = ('batch', 3, 'H', 'W')
NAMELESS = ('batch', 3, None, None)
ALIKE = ('batch', 3, 'side', 'side')
ALL = {'named': NAMED, 'nameless': NAMELESS, 'alike': ALIKE, 'batch alike': ('N', 3, 'N', 'W')}


def write(path: Path, shape: tuple[Any, ...], **keys: Any) -> Path:
    """A graph that answers the mean of the channels plus the number of its columns."""
    image = helper.make_tensor_value_info('image', TensorProto.FLOAT, shape)
    depth = helper.make_tensor_value_info('depth', TensorProto.FLOAT, None)
    nodes = [
        helper.make_node('ReduceMean', ['image', 'axis'], ['mean'], keepdims=0),
        helper.make_node('Shape', ['image'], ['columns'], start=3, end=4),
        helper.make_node('Cast', ['columns'], ['added'], to=TensorProto.FLOAT),
        helper.make_node('Add', ['mean', 'added'], ['depth']),
    ]
    axis = helper.make_tensor('axis', TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, 'means', [image], [depth], [axis])
    opsets = [helper.make_opsetid('', 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    spec = InputSpec(
        height=6, width=8, layout='NCHW', dtype='float32', scale=1.0, **{'batch': 1, **keys}
    )
    output = OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=1e3, sigma=None)
    write_manifest(manifest_path(path), Manifest(name='means', input=spec, output=output))
    return path


@pytest.mark.parametrize('shape', ALL.values(), ids=ALL)
def test_a_session_is_made_for_the_size_that_is_asked_for(
    tmp_path: Path, shape: tuple[Any, ...]
) -> None:
    path = write(tmp_path / 'means.onnx', shape)
    expected = tuple('' if size is None else size for size in shape)
    assert read_input_dims(path) == {'image': expected}
    assert leaves_size_free(path, InputSpec(height=6, width=8, layout='NCHW'))
    for size in (None, (4, 10)):
        height, width = size or (6, 8)
        request = BackendRequest(path=path, threads=1, size=size)
        backend: Any = open_warm('onnxruntime', request)
        assert backend._session.get_inputs()[0].shape == [1, 3, height, width]
        depth, _ = backend.run(np.full((1, 3, height, width), 2.0, np.float32))
        np.testing.assert_array_equal(depth, np.full((1, height, width), 2.0 + width))


@pytest.mark.parametrize('shape', [NAMED, NAMELESS, ALL['batch alike']])
def test_a_free_batch_stays_free(tmp_path: Path, shape: tuple[Any, ...]) -> None:
    path = write(tmp_path / 'means.onnx', shape, batch=0)
    backend: Any = open_warm('onnxruntime', BackendRequest(path=path, threads=1))
    assert backend._session.get_inputs()[0].shape[1:] == [3, 6, 8]
    for count in (1, 3):
        depth, _ = backend.run(np.ones((count, 3, 6, 8), np.float32))
        assert depth.shape == (count, 6, 8)


def test_only_the_shape_of_the_input_changes(tmp_path: Path) -> None:
    data = write(tmp_path / 'means.onnx', NAMELESS).read_bytes()
    fixed = onnx.load_from_string(with_fixed_inputs(data, {'image': (None, None, 300, 70000)}))
    before = onnx.load_from_string(data)
    dims = fixed.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in dims] == ['batch', 3, 300, 70000]
    for model in (fixed, before):
        model.graph.ClearField('input')
    assert fixed == before
    assert with_fixed_inputs(data, {'another': (1,)}) == data


def test_a_rule_for_a_graph_of_one_size_is_refused(tmp_path: Path) -> None:
    rule = SizeRule(mode='pixels', target=48)
    path = write(tmp_path / 'means.onnx', (1, 3, 6, 8), size=rule, resize='keep_aspect')
    with pytest.raises(ModelError, match=r'one size alone.*input\.size: pixels 48.*letterbox'):
        Predictor.open(path, backend='onnxruntime', threads=1)
