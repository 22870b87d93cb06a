# SPDX-License-Identifier: Apache-2.0
"""A graph and its weights as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxscript import ir

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.export import graph_file
from depth_core.export.graph_file import embed_manifest, remove_former_data, write_graph
from depth_core.manifest import Manifest, read_manifest

MANIFEST = Manifest(
    name='sum',
    input=InputSpec(height=16, width=24),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
)
WEIGHTS = np.arange(2 * 500, dtype=np.float32).reshape(2, 500)


def _model() -> ir.Model:
    """Give x + weights + bias: weights of 4000 bytes, a bias of 4."""
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node('Add', ['x', 'weights'], ['sum']),
            onnx.helper.make_node('Add', ['sum', 'bias'], ['y']),
        ],
        'sum',
        [onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [2, 500])],
        [onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [2, 500])],
        [
            onnx.numpy_helper.from_array(WEIGHTS, 'weights'),
            onnx.numpy_helper.from_array(np.array(0.5, np.float32), 'bias'),
        ],
    )
    opsets = [onnx.helper.make_opsetid('', 18)]
    model: ir.Model = ir.serde.deserialize_model(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    )
    return model


def _answer(path: Path) -> np.ndarray:
    x = np.ones((2, 500), np.float32)
    answer: np.ndarray = onnxruntime.InferenceSession(path).run(None, {'x': x})[0]
    return answer


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an ONNX file could not hold 4000 bytes of weights."""
    monkeypatch.setattr(graph_file, 'LARGEST_FILE', (64 << 20) + 2000)


def test_weights_that_fit_are_in_the_file(tmp_path: Path) -> None:
    write_graph(_model(), MANIFEST, tmp_path / 'a.onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['a.onnx']
    np.testing.assert_array_equal(_answer(tmp_path / 'a.onnx'), WEIGHTS + 1.5)


@pytest.mark.usefixtures('small_limit')
def test_weights_that_do_not_are_beside_it(tmp_path: Path) -> None:
    path = tmp_path / 'a.onnx'
    write_graph(_model(), MANIFEST, path)
    (data,) = tmp_path.glob('*.data')
    assert data.name.startswith('a.')
    assert data.read_bytes() == WEIGHTS.tobytes()
    tensors = {
        item.name: item for item in onnx.load(path, load_external_data=False).graph.initializer
    }
    assert [name for name, item in tensors.items() if item.external_data] == ['weights']
    np.testing.assert_array_equal(_answer(path), WEIGHTS + 1.5)


@pytest.mark.usefixtures('small_limit')
def test_weights_of_another_graph_have_another_name(tmp_path: Path) -> None:
    path = tmp_path / 'a.onnx'
    write_graph(_model(), MANIFEST, path)
    (former,) = tmp_path.glob('*.data')
    other = Manifest(name='sum', input=MANIFEST.input, output=MANIFEST.output, licence='CC0')
    write_graph(_model(), other, path)
    assert len(list(tmp_path.glob('*.data'))) == 2
    unrelated = tmp_path / 'ab.0123456789abcdef.data'
    unrelated.write_bytes(b'')
    remove_former_data(path)
    assert not former.exists()
    assert unrelated.exists()
    np.testing.assert_array_equal(_answer(path), WEIGHTS + 1.5)


def test_the_manifest_follows_the_graph(tmp_path: Path) -> None:
    path = tmp_path / 'a.onnx'
    write_graph(_model(), MANIFEST, path)
    embed_manifest(path, MANIFEST)
    assert read_manifest(path) == MANIFEST
    onnx.checker.check_model(path, full_check=True)
    # As if it had been written at once: fields of protobuf follow the order of their numbers.
    assert onnx.load(path).SerializeToString() == path.read_bytes()
    np.testing.assert_array_equal(_answer(path), WEIGHTS + 1.5)
