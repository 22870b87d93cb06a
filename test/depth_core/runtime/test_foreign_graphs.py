# SPDX-License-Identifier: Apache-2.0
"""Graphs that are not ours, served through a manifest written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from depth_core.contracts import DepthKind
from depth_core.errors import ModelError
from depth_core.runtime import Predictor

pytestmark = pytest.mark.numeric

HEIGHT, WIDTH = 8, 12
SHAPES: dict[str, list[Any]] = {
    'HW': [HEIGHT, WIDTH],
    'NHW': [1, HEIGHT, WIDTH],
    'N1HW': [1, 1, HEIGHT, WIDTH],
    'NHW1': [1, HEIGHT, WIDTH, 1],
}


def write_foreign(
    folder: Path,
    *,
    layout: str = 'NCHW',
    dtype: str = 'float32',
    channel: int = 0,
    output_shape: str = 'N1HW',
    dynamic: bool = False,
    input_keys: dict[str, Any] | None = None,
    output_keys: dict[str, Any] | None = None,
) -> Path:
    """A graph whose only output is channel `channel` of what it is fed, as float."""
    height, width = ('h', 'w') if dynamic else (HEIGHT, WIDTH)
    shape = [1, 3, height, width] if layout == 'NCHW' else [1, height, width, 3]
    kind = TensorProto.FLOAT if dtype == 'float32' else TensorProto.UINT8
    given = [
        height if size == HEIGHT else width if size == WIDTH else size
        for size in SHAPES[output_shape]
    ]
    graph = helper.make_graph(
        [
            helper.make_node('Cast', ['x'], ['floats'], to=TensorProto.FLOAT),
            helper.make_node(
                'Gather', ['floats', 'channel'], ['plane'], axis=1 if layout == 'NCHW' else 3
            ),
            helper.make_node('Reshape', ['plane', 'shape'], ['y']),
        ],
        'foreign',
        [helper.make_tensor_value_info('x', kind, shape)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, given)],
        [
            helper.make_tensor('channel', TensorProto.INT64, [], [channel]),
            helper.make_tensor('shape', TensorProto.INT64, [len(given)], SHAPES[output_shape]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, folder / 'foreign.onnx')
    manifest = {
        'name': 'foreign',
        'input': {
            'name': 'x',
            'height': HEIGHT,
            'width': WIDTH,
            'layout': layout,
            'dtype': dtype,
            **(input_keys or {}),
        },
        'output': {
            'depth': 'y',
            'sigma': None,
            'kind': 'metric',
            'min_depth': 1e-3,
            'max_depth': 1e4,
            **(output_keys or {}),
        },
    }
    (folder / 'foreign.json').write_text(json.dumps(manifest), encoding='utf-8')
    return folder / 'foreign.onnx'


def answer_of(path: Path, rgb: tuple[int, int, int], backend: str) -> float:
    """What the graph was fed in its channel, for an image of one colour."""
    image = np.empty((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    image[:] = rgb
    answer = Predictor.open(path, backend=backend, threads=1).predict(image)
    assert answer.depth_m.shape == (2 * HEIGHT, 2 * WIDTH)
    assert float(np.ptp(answer.depth_m)) < 1e-4
    assert np.isnan(answer.sigma_m).all()
    assert (answer.confidence == 0.0).all()
    return float(answer.depth_m[0, 0])


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
@pytest.mark.parametrize('dtype', ['float32', 'uint8'])
@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_layout_type_and_channel_order(
    tmp_path: Path, backend: str, layout: str, dtype: str, order: str
) -> None:
    keys = {'channels': order, 'scale': 1.0}
    path = write_foreign(tmp_path, layout=layout, dtype=dtype, input_keys=keys)
    expected = {'RGB': 30.0, 'BGR': 50.0}[order]
    assert answer_of(path, (30, 40, 50), backend) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_mean_and_std_are_those_of_the_graphs_channels(tmp_path: Path, backend: str) -> None:
    keys = {'channels': 'BGR', 'mean': [0.1, 0.5, 0.9], 'std': [0.2, 1.0, 4.0]}
    path = write_foreign(tmp_path, channel=0, input_keys=keys)
    # Channel 0 of a BGR graph is blue: (255 / 255 - 0.1) / 0.2.
    assert answer_of(path, (0, 0, 255), backend) == pytest.approx(4.5, rel=1e-6)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('output_shape', SHAPES)
@pytest.mark.parametrize('dynamic', [False, True])
def test_every_usual_shape_of_a_plane(
    tmp_path: Path, backend: str, output_shape: str, dynamic: bool
) -> None:
    path = write_foreign(
        tmp_path, output_shape=output_shape, dynamic=dynamic, input_keys={'scale': 1.0}
    )
    assert answer_of(path, (7, 0, 0), backend) == pytest.approx(7.0)


def test_millimetres_become_metres(tmp_path: Path) -> None:
    path = write_foreign(
        tmp_path,
        input_keys={'scale': 20.0},
        output_keys={'unit_m': 0.001, 'min_depth': 0.1, 'max_depth': 4.9},
    )
    assert answer_of(path, (100, 0, 0), 'onnxruntime') == pytest.approx(2.0)
    # 5.1 m lies beyond the range, which is stated in metres.
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    assert (Predictor.open(path).predict(image).depth_m == np.inf).all()


def test_relative_depth_keeps_its_own_unit_and_its_range(tmp_path: Path) -> None:
    keys = {'kind': 'up_to_scale', 'unit_m': 0.001, 'min_depth': 0.1, 'max_depth': 10.0}
    path = write_foreign(tmp_path, input_keys={'scale': 0.1}, output_keys=keys)
    answer = Predictor.open(path).predict(np.full((HEIGHT, WIDTH, 3), 50, np.uint8))
    assert answer.kind is DepthKind.UP_TO_SCALE
    np.testing.assert_allclose(answer.depth_m, 5.0, rtol=1e-6)
    beyond = Predictor.open(path).predict(np.full((HEIGHT, WIDTH, 3), 100, np.uint8))
    assert (beyond.depth_m == np.inf).all()


def test_inverse_depth_has_no_range(tmp_path: Path) -> None:
    keys = {'kind': 'inverse', 'min_depth': 0.1, 'max_depth': 10.0}
    path = write_foreign(tmp_path, input_keys={'scale': 1.0, 'mean': [60, 0, 0]}, output_keys=keys)
    for code, expected in ((255, 195.0), (60, 0.0), (0, -60.0)):
        answer = Predictor.open(path).predict(np.full((HEIGHT, WIDTH, 3), code, np.uint8))
        assert answer.kind is DepthKind.INVERSE
        np.testing.assert_allclose(answer.depth_m, expected, atol=1e-5)


def write_answer(
    path: Path, operator: str, kind: int, shape: list[int], **attributes: Any
) -> None:
    """A graph beside the manifest of `write_foreign` that answers with its input otherwise."""
    output = helper.make_tensor_value_info('y', kind, shape)
    graph = helper.make_graph(
        [helper.make_node(operator, ['x'], ['y'], **attributes)],
        'answer',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, path)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_more_than_one_plane_is_refused(tmp_path: Path, backend: str) -> None:
    path = write_foreign(tmp_path)
    write_answer(path, 'Identity', TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    with pytest.raises(ModelError, match=r"'y' has shape \[1, 3, 8, 12\], which is not one plane"):
        Predictor.open(path, backend=backend)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_plane_of_another_shape_than_the_image_is_refused(tmp_path: Path, backend: str) -> None:
    path = write_foreign(tmp_path, output_keys={'channel': {'axis': 1, 'index': 0}})
    write_answer(path, 'Transpose', TensorProto.FLOAT, [1, 3, WIDTH, HEIGHT], perm=[0, 1, 3, 2])
    with pytest.raises(ModelError, match=r'planes of 12x8 for images of 8x12, .* nor transposed'):
        Predictor.open(path, backend=backend)
    path = write_foreign(tmp_path)
    write_answer(path, 'Flatten', TensorProto.FLOAT, [1, 3 * HEIGHT * WIDTH])
    with pytest.raises(ModelError, match=r'planes of 1x288 for images of 8x12, .* flattened'):
        Predictor.open(path, backend=backend)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_an_output_of_a_type_without_numbers_is_refused(tmp_path: Path, backend: str) -> None:
    path = write_foreign(tmp_path)
    kind = TensorProto.BFLOAT16
    write_answer(path, 'Cast', kind, [1, 3, HEIGHT, WIDTH], to=kind)
    with pytest.raises(ModelError, match=r"no numbers of the type of output 'y' bf.*: cast it to"):
        Predictor.open(path, backend=backend)
