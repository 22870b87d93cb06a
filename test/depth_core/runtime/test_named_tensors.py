# SPDX-License-Identifier: Apache-2.0
"""Inputs beside the image and outputs beside the depth, on every backend that is here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from depth_core.contracts import Intrinsics
from depth_core.errors import ConfigError, DataError, ModelError
from depth_core.geometry import intrinsics_from_hfov
from depth_core.manifest import ExtraInput, Manifest
from depth_core.runtime import Predictor
from depth_core.runtime.engine.options import EngineOptions
from depth_core.runtime.extra_inputs import ExtraInputs, FrameCamera
from depth_core.runtime.graph import TensorInfo
from test.conformance import HERE, open_on

pytestmark = pytest.mark.numeric

HEIGHT, WIDTH = 8, 12
CAMERA = Intrinsics(fx_px=30.0, fy_px=24.0, cx_px=10.0, cy_px=9.0, height=16, width=24)
"""Of an image of twice the size, off centre: 15, 12, 4.75 and 4.25 at the network."""
IMAGE = np.full((16, 24, 3), 51, np.uint8)
MANIFEST: dict[str, Any] = {
    'version': 2,
    'name': 'named',
    'input': {'name': 'x', 'size': {'fixed': [HEIGHT, WIDTH]}, 'dtype': 'float32',
              'layout': 'NCHW'},
    'extra_inputs': [
        {'name': 'K', 'kind': 'K3x3'},
        {'name': 'rays', 'kind': 'rays_unit'},
        {'name': 'tokens', 'kind': 'const', 'value': 3},
    ],
    'depth': {
        'output': 'points', 'kind': 'metric', 'channel': {'axis': 1, 'index': 2},
        'scale_output': 'scale', 'min_m': 0.01, 'max_m': 10000.0,
    },
    'masks': [{'output': 'sky', 'polarity': 'high_is_sky', 'threshold': 0.5, 'fill': 'max'}],
}  # fmt: skip


def write_named(folder: Path, *, dtype: int = TensorProto.FLOAT) -> Path:
    """A graph with z = pixel * (fx + cy) + tokens, in the third plane; scale 2; sky from rays.

    The sky is where the ray points to the right by more than 0.1 of its length.
    """
    image = [1, 3, HEIGHT, WIDTH]
    nodes = [
        helper.make_node('Cast', ['x'], ['wide'], to=TensorProto.FLOAT),
        helper.make_node('Cast', ['tokens'], ['number'], to=TensorProto.FLOAT),
        helper.make_node('Gather', ['K', 'zero'], ['first'], axis=1),  # [1, 3]: fx 0 cx
        helper.make_node('Gather', ['K', 'one'], ['second'], axis=1),
        helper.make_node('Gather', ['first', 'zero'], ['fx'], axis=1),  # [1]
        helper.make_node('Gather', ['second', 'two'], ['cy'], axis=1),
        helper.make_node('Add', ['fx', 'cy'], ['gain']),
        helper.make_node('Mul', ['wide', 'gain'], ['scaled']),
        helper.make_node('Add', ['scaled', 'number'], ['z']),
        helper.make_node('Mul', ['z', 'weights'], ['points']),  # planes z, 10 z, 100 z
        helper.make_node('Gather', ['rays', 'zero'], ['right'], axis=1),  # [1, H, W]
        helper.make_node('Add', ['right', 'less'], ['sky']),
        helper.make_node('Sub', ['number', 'one_f'], ['scale']),
    ]
    given = [
        helper.make_tensor_value_info('x', dtype, image),
        helper.make_tensor_value_info('K', TensorProto.FLOAT, [1, 3, 3]),
        helper.make_tensor_value_info('rays', TensorProto.FLOAT, image),
        helper.make_tensor_value_info('tokens', TensorProto.INT64, [1]),
    ]
    answered = [
        helper.make_tensor_value_info('points', TensorProto.FLOAT, image),
        helper.make_tensor_value_info('sky', TensorProto.FLOAT, [1, HEIGHT, WIDTH]),
        helper.make_tensor_value_info('scale', TensorProto.FLOAT, [1]),
    ]
    constants = [
        helper.make_tensor('zero', TensorProto.INT64, [], [0]),
        helper.make_tensor('one', TensorProto.INT64, [], [1]),
        helper.make_tensor('two', TensorProto.INT64, [], [2]),
        helper.make_tensor('weights', TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 10.0, 100.0]),
        helper.make_tensor('less', TensorProto.FLOAT, [], [0.4]),
        helper.make_tensor('one_f', TensorProto.FLOAT, [1], [1.0]),
    ]
    graph = helper.make_graph(nodes, 'named', given, answered, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / 'named.onnx')
    (folder / 'named.json').write_text(json.dumps(MANIFEST), encoding='utf-8')
    return folder / 'named.onnx'


@pytest.mark.parametrize('name', [name for name in HERE if name != 'tensorrt-rtx'])
def test_camera_constants_and_masks_go_through(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    predictor = open_on(request, write_named(tmp_path), name)
    for camera in (CAMERA, dataclasses.replace(CAMERA, fx_px=42.0), CAMERA):
        depth_m = predictor.predict(IMAGE, camera).depth_m
        # (0.2 * (fx / 2 + 4.25) + 3) * 100 * 2, with the camera of the network's image
        expected = (0.2 * (camera.fx_px / 2.0 + 4.25) + 3.0) * 200.0
        u = (np.arange(24) - 10.0) / camera.fx_px
        v = (np.arange(16) - 9.0) / camera.fy_px
        right = u / np.sqrt(u**2 + v[:, None] ** 2 + 1.0)
        sky = right >= 0.1
        clear = np.abs(right - 0.1) > 0.05  # a pixel of the network is two of the image
        assert (np.isinf(depth_m) == sky)[clear].all()
        assert (sky & clear).any()
        np.testing.assert_allclose(depth_m[~sky & clear], expected, rtol=1e-5)


def test_without_a_camera_it_is_refused_in_words_or_one_is_assumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_named(tmp_path)
    predictor = Predictor.open(path, backend='onnxruntime', threads=1)
    with pytest.raises(DataError, match=r'named \(metric depth\) needs the camera.*camera_info'):
        predictor.predict(IMAGE)
    with pytest.raises(DataError, match=r'belong to images of 16x24 and the image is 8x24'):
        predictor.predict(IMAGE[:8], CAMERA)
    with pytest.raises(DataError, match='1 intrinsics for 2 images'):
        predictor.predict_batch([IMAGE, IMAGE], [CAMERA])
    with caplog.at_level('WARNING'):
        assumed = Predictor.open(path, backend='onnxruntime', threads=1, assumed_hfov_deg=60.0)
    assert 'field of view of 60 degrees is assumed' in caplog.text
    assert assumed.manifest.domain.assumed_hfov_deg == 60.0
    usual = intrinsics_from_hfov(60.0, height=16, width=24)
    np.testing.assert_array_equal(
        assumed.predict(IMAGE).depth_m, predictor.predict(IMAGE, usual).depth_m
    )
    for wrong in (0.0, 180.0, float('nan')):
        with pytest.raises(ConfigError, match='assumed_hfov_deg is'):
            Predictor.open(path, backend='onnxruntime', threads=1, assumed_hfov_deg=wrong)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            {'extra_inputs': MANIFEST['extra_inputs'][:2]},
            ("nobody fills 'tokens'", 'extra_inputs'),
        ),
        (
            {'extra_inputs': [*MANIFEST['extra_inputs'], {'name': 'P', 'kind': 'P3x4'}]},
            ("extra_inputs names 'P'", "takes 'x' float32"),
        ),
        ({'masks': [MANIFEST['masks'][0] | {'output': 'skies'}]}, ("masks[0].output is 'skies'",)),
        (
            {'depth': MANIFEST['depth'] | {'channel': {'axis': 1, 'index': 3}}},
            ("'points' float32 [1, 3, 8, 12] has 3 planes", 'depth.channel says index 3'),
        ),
        (
            {'depth': MANIFEST['depth'] | {'channel': {'axis': 4, 'index': 2}}},
            ('has 4 axes', 'depth.channel says axis 4'),
        ),
        *(
            (
                {'depth': MANIFEST['depth'] | {'channel': {'axis': axis, 'index': 0}}},
                ('holds images, rows or columns', 'depth.channel has to say 1 or 3'),
            )
            for axis in (0, 2, -2)
        ),
        ({'depth': MANIFEST['depth'] | {'rank_hint': 3}}, ('has 4 axes', 'rank_hint is 3')),
        (
            {'extra_inputs': [{'name': 'rays', 'kind': 'K3x3'}, *MANIFEST['extra_inputs'][::2]]},
            (
                "'rays' float32 [1, 3, 8, 12] cannot be filled: K3x3 has 2 or 3 axes",
                'the last two 3 and 3',
            ),
        ),
        (
            {
                'extra_inputs': [
                    MANIFEST['extra_inputs'][0],
                    {'name': 'rays', 'kind': 'rays_unit', 'layout': 'NHWC'},
                    MANIFEST['extra_inputs'][2],
                ]
            },
            ("'rays' float32 [1, 3, 8, 12] cannot be filled", 'layout NHWC is [8, 12, 3]'),
        ),
        (
            {'extra_inputs': [{'name': 'K', 'kind': 'focal'}, *MANIFEST['extra_inputs'][1:]]},
            ("'K' float32 [1, 3, 3] cannot be filled", 'focal is one number'),
        ),
        *(
            (
                {
                    'extra_inputs': [
                        *MANIFEST['extra_inputs'][:2],
                        {'name': 'tokens', 'kind': 'const', 'value': value},
                    ]
                },
                ("'tokens' int64 [1] cannot be filled", said, 'its type does not hold'),
            )
            for value, said in ((1.5, 'const 1.5'), (1e30, 'const 1e+30'))
        ),
        (
            {'masks': [MANIFEST['masks'][0] | {'output': 'scale'}]},
            ("output 'scale'", 'one plane'),
        ),
    ],
)
def test_a_graph_that_is_otherwise_says_where(
    tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    path = write_named(tmp_path)
    path.with_suffix('.json').write_text(json.dumps(MANIFEST | change), encoding='utf-8')
    with pytest.raises(ModelError) as caught:
        Predictor.open(path, backend='onnxruntime', threads=1).predict(IMAGE, CAMERA)
    for word in words:
        assert word in str(caught.value)


def test_half_precision_is_taken_when_the_manifest_says_so(tmp_path: Path) -> None:
    path = write_named(tmp_path, dtype=TensorProto.FLOAT16)
    with pytest.raises(ModelError, match=r"'x' float16 .*manifest says 'x' float32"):
        Predictor.open(path, backend='onnxruntime', threads=1)
    half = MANIFEST | {'input': MANIFEST['input'] | {'dtype': 'float16'}}
    predictor = Predictor.open(
        path, manifest=Manifest.from_json(json.dumps(half)), backend='onnxruntime', threads=1
    )
    depth_m = predictor.predict(IMAGE, CAMERA).depth_m
    np.testing.assert_allclose(depth_m[:, :4], (0.2 * 19.25 + 3.0) * 200.0, rtol=2e-3)


def test_another_manifest_counts_in_place_of_the_one_beside_the_graph(tmp_path: Path) -> None:
    path = write_named(tmp_path)
    path.with_suffix('.json').rename(tmp_path / 'mine.json')
    with pytest.raises(ModelError, match='has no manifest'):
        Predictor.open(path, backend='onnxruntime', threads=1)
    predictor = Predictor.open(
        path, manifest=tmp_path / 'mine.json', backend='onnxruntime', threads=1
    )
    assert predictor.manifest.name == 'named'
    with pytest.raises(ModelError, match=r'yours\.json does not exist'):
        Predictor.open(path, manifest=tmp_path / 'yours.json')


def test_an_engine_is_built_and_proven_by_that_manifest_too(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.getfixturevalue('fake_gpu')
    path = write_named(tmp_path)
    path.with_suffix('.json').rename(tmp_path / 'mine.json')
    options = EngineOptions(cache_dir=tmp_path / 'engines')
    predictor = Predictor.open(
        path, manifest=tmp_path / 'mine.json', backend='tensorrt', strict=True, engine=options
    )
    depth_m = predictor.predict(IMAGE, CAMERA).depth_m
    np.testing.assert_allclose(depth_m[:, :4], (0.2 * 19.25 + 3.0) * 200.0, rtol=1e-5)


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_weights_that_were_not_copied_are_named(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    path = write_named(tmp_path)
    model = onnx.load(path)
    weights = next(item for item in model.graph.initializer if item.name == 'weights')
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights), weights.name))
    onnx.save_model(
        model, path, save_as_external_data=True, location='named.data', size_threshold=0
    )
    open_on(request, path, name)
    (tmp_path / 'named.data').unlink()
    with pytest.raises(ModelError, match=r"keeps weights in 'named\.data'.*copy both together"):
        Predictor.open(path, backend=name, threads=1)


SEEN = Intrinsics(fx_px=3.0, fy_px=4.0, cx_px=1.0, cy_px=0.0, height=2, width=3)
FRAME = FrameCamera(
    Intrinsics(fx_px=30.0, fy_px=40.0, cx_px=14.5, cy_px=4.5, height=20, width=30), SEEN
)


@pytest.mark.parametrize(
    ('item', 'info', 'expected'),
    [
        (
            ExtraInput(name='a', kind='K3x3'), ('float32', (3, 3)),
            [[3, 0, 1], [0, 4, 0], [0, 0, 1]],
        ),
        (
            ExtraInput(name='a', kind='K3x3', at='camera'), ('float64', (None, 3, 3)),
            [[[30, 0, 14.5], [0, 40, 4.5], [0, 0, 1]]],
        ),
        (
            ExtraInput(name='a', kind='P3x4'), ('float16', (1, 3, 4)),
            [[[3, 0, 1, 0], [0, 4, 0, 0], [0, 0, 1, 0]]],
        ),
        (ExtraInput(name='a', kind='focal'), ('float32', ()), 3.5),
        (ExtraInput(name='a', kind='focal', focal='fy'), ('float32', (1, 1)), [[4.0]]),
        (ExtraInput(name='a', kind='const', value=1800), ('int64', ()), 1800),
        (ExtraInput(name='a', kind='const', value=2), ('int32', (1,)), [2]),
    ],
)  # fmt: skip
def test_what_each_kind_is_filled_with(
    item: ExtraInput, info: tuple[str, tuple[int | None, ...]], expected: Any
) -> None:
    manifest = dataclasses.replace(Manifest.from_json(json.dumps(MANIFEST)), extra_inputs=(item,))
    dtype, shape = info
    inputs = ExtraInputs(manifest, [TensorInfo(name='a', dtype=dtype, shape=shape)])
    filled = inputs.fill([FRAME], 1)['a']
    assert filled.dtype == dtype
    np.testing.assert_allclose(filled, expected, rtol=1e-6, strict=False)
    assert filled.shape == np.shape(expected)
    assert inputs.fill([FRAME], 1)['a'] is filled  # as long as the camera is the same


def test_rays_have_length_one_and_point_where_the_pixel_is() -> None:
    size = {'name': 'x', 'size': {'fixed': [2, 3]}}
    manifest = Manifest.from_json(json.dumps(MANIFEST | {'input': size}))
    shapes: dict[Literal['NCHW', 'NHWC'], tuple[int, ...]] = {
        'NCHW': (1, 3, 2, 3), 'NHWC': (1, 2, 3, 3)
    }  # fmt: skip
    for layout, shape in shapes.items():
        item = ExtraInput(name='a', kind='rays_unit', layout=layout)
        inputs = ExtraInputs(
            dataclasses.replace(manifest, extra_inputs=(item,)),
            [TensorInfo(name='a', dtype='float32', shape=shape)],
        )
        rays = inputs.fill([FRAME], 1)['a'][0]
        rays = rays if layout == 'NHWC' else np.moveaxis(rays, 0, -1)
        # Row 1, column 2: (1 / 3, 1 / 4, 1), of length 13 / 12.
        np.testing.assert_allclose(rays[1, 2], np.array([4.0, 3.0, 12.0]) / 13.0, rtol=1e-6)
        np.testing.assert_allclose(rays[0, 1], [0.0, 0.0, 1.0], atol=1e-7)


def test_one_matrix_cannot_hold_two_cameras() -> None:
    manifest = Manifest.from_json(json.dumps(MANIFEST))
    item = ExtraInput(name='a', kind='K3x3')
    inputs = ExtraInputs(
        dataclasses.replace(manifest, extra_inputs=(item,)),
        [TensorInfo(name='a', dtype='float32', shape=(3, 3))],
    )
    other = FrameCamera(FRAME.image, dataclasses.replace(SEEN, fx_px=5.0))
    with pytest.raises(ModelError, match='no axis for images, and 2 images of different cameras'):
        inputs.fill([FRAME, other], 2)
