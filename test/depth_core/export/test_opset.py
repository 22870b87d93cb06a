# SPDX-License-Identifier: Apache-2.0
"""Graphs of opset 17, for TensorRT 8: the same answers, and nothing in them that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxscript import ir

from depth_core.errors import BackendError, ConfigError, ExportError
from depth_core.export import export_onnx
from depth_core.export.opset import lower
from depth_core.models import list_models
from depth_core.runtime import Predictor
from depth_core.runtime.backends import BackendRequest, Precision, open_named
from depth_core.runtime.engine.graph_checks import check_operators
from depth_core.runtime.engine.options import EngineOptions, Flavour
from depth_core.runtime.onnx_reader import read_graph
from test.depth_core.export.test_onnx import TinyModel
from test.exports import SMALL, Exports
from test.fakes.installation import installed

PRECISIONS: tuple[Precision, ...] = ('fp32', 'fp16')


class Release(TypedDict):
    """Which TensorRT."""

    flavour: Flavour
    release: tuple[int, ...]


TENSORRT_8_6 = Release(flavour='tensorrt', release=(8, 6, 1))


@pytest.mark.parametrize('name', list_models())
def test_every_network_has_a_graph_that_tensorrt_8_6_takes(
    name: str, exports: Exports, tmp_path: Path
) -> None:
    with pytest.raises(BackendError, match=r'opsets up to 17.*depth_core.export --opset 17'):
        check_operators(read_graph(exports(name)), **TENSORRT_8_6, precision='fp32')
    model = ir.load(exports(name))
    lower(model, name)
    path = tmp_path / 'lower.onnx'
    ir.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    graph = read_graph(path)
    assert graph.opset == 17
    for precision in PRECISIONS:
        check_operators(graph, **TENSORRT_8_6, precision=precision)
    if name in SMALL:
        rows = [open_named('onnxruntime', BackendRequest(path=p)) for p in (exports(name), path)]
        spec = rows[0].manifest.input
        shape = (1, spec.height, spec.width, 3)
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        for planes in zip(*(row.run(image) for row in rows), strict=True):
            usual, lower_opset = (np.asarray(plane) for plane in planes)
            np.testing.assert_allclose(lower_opset, usual, rtol=1e-5)


def test_an_export_at_opset_17_is_proven_and_served_by_tensorrt_8(tmp_path: Path) -> None:
    path = tmp_path / 'tiny.onnx'
    parity = export_onnx(TinyModel(), path, opset=17).parity
    assert parity is not None
    assert parity.images > 0
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    expected = Predictor.open(path, backend='onnxruntime').predict(image)
    options = EngineOptions(cache_dir=tmp_path / 'engines')
    with installed(version='8.6.1'):
        answer = Predictor.open(path, backend='tensorrt', engine=options).predict(image)
    np.testing.assert_allclose(answer.depth_m, expected.depth_m, rtol=1e-5)
    with pytest.raises(ConfigError, match='opset is 16; graphs are written in 17 or 18'):
        export_onnx(TinyModel(), path, opset=16)


IMAGE = helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 6, 8, 8])
AXES = helper.make_tensor_value_info('axes', TensorProto.INT64, [2])


def graph_of(op: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> ir.Model:
    """A node of opset 18 on an image; axes are computed, or the constant 2, 3."""
    names = [f'y{place}' for place in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, names, name='it', **attributes)],
        'one',
        [IMAGE, AXES],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in names],
        [
            helper.make_tensor('known', TensorProto.INT64, [2], [2, 3]),
            helper.make_tensor('pads', TensorProto.INT64, [4], [1, 1, 1, 1]),
            helper.make_tensor('sizes', TensorProto.INT64, [4], [1, 6, 4, 4]),
        ],
    )
    opsets = [helper.make_opsetid('', 18)]
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=opsets))


@pytest.mark.parametrize(
    ('model', 'left'),
    [
        (graph_of('ReduceMean', ['x', 'known'], keepdims=1), {'axes': [2, 3], 'keepdims': 1}),
        (graph_of('ReduceMax', ['x'], noop_with_empty_axes=0), {}),
        (
            graph_of('Resize', ['x', '', '', 'sizes'], antialias=0, mode='linear'),
            {'mode': b'linear'},
        ),
        (graph_of('Split', ['x'], 3, axis=1, num_outputs=3), {'axis': 1}),
    ],
    ids=['mean', 'max', 'resize', 'split'],
)
def test_what_opset_18_added_is_written_as_before(
    model: ir.Model, left: dict[str, object]
) -> None:
    lower(model, 'it')
    written = ir.serde.serialize_model(model)
    onnx.checker.check_model(written, full_check=True)
    (node,) = written.graph.node
    assert {item.name: helper.get_attribute_value(item) for item in node.attribute} == left


@pytest.mark.parametrize(
    ('model', 'what'),
    [
        (graph_of('Mish', ['x']), 'the operator has no equal there, in Mish'),
        (graph_of('ReduceMean', ['x', 'axes']), 'that its axes are computed'),
        (graph_of('ReduceMean', ['x'], noop_with_empty_axes=1), 'its noop_with_empty_axes'),
        (graph_of('Resize', ['x', '', '', 'sizes'], antialias=1), 'its antialias'),
        (graph_of('Resize', ['x', '', '', 'known'], axes=[2, 3]), 'its axes'),
        (graph_of('Pad', ['x', 'pads', '', 'known']), 'its axes'),
        (graph_of('Split', ['x'], 4, axis=1, num_outputs=4), 'that its parts differ'),
    ],
    ids=['mish', 'computed', 'none', 'antialias', 'resized', 'padded', 'uneven'],
)
def test_what_opset_17_cannot_say_is_refused(model: ir.Model, what: str) -> None:
    with pytest.raises(ExportError, match=what) as caught:
        lower(model, 'net')
    assert str(caught.value).startswith('net cannot be expressed in ONNX opset 17: ')
