# SPDX-License-Identifier: Apache-2.0
"""Every backend that is here gives the numbers of a computation apart from it.

Graphs of other people in the forms that a manifest can state are computed again in NumPy, in
float64; `test_conformance_networks` has our own. TensorRT runs on the fakes; a runtime that is
absent has to say so.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from depth_core.contracts import DepthKind, DepthMap, Uint8Array
from depth_core.errors import BackendError
from depth_core.geometry import intrinsics_from_hfov, resize_intrinsics
from depth_core.runtime import BACKENDS, Precision, Predictor
from depth_core.runtime.engine.options import EngineOptions
from test.conformance import ABSENT, HERE, open_on, pictures

pytestmark = pytest.mark.numeric

HEIGHT, WIDTH = 16, 24
WEIGHTS = (0.5, -0.25, 1.5)
OFFSET = 70.0
"""Large enough for every depth to be positive."""

CAMERA = intrinsics_from_hfov(60.0, height=HEIGHT, width=WIDTH)
CANONICAL_FOCAL_PX = 100.0

GRAPH_BACKENDS = tuple(name for name, entry in BACKENDS.items() if '.onnx' in entry.suffixes)


@dataclass(frozen=True)
class Form:
    """One way in which a graph takes images and states depth."""

    layout: str
    dtype: str
    channels: str
    kind: DepthKind
    sigma: bool
    batch: int

    def __str__(self) -> str:
        sigma = 'sigma' if self.sigma else 'alone'
        return f'{self.layout}-{self.dtype}-{self.channels}-{self.kind}-{sigma}-{self.batch}'

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.array([0.1, 0.5, 0.3] if self.dtype == 'float32' else [0.0] * 3)

    @property
    def std(self) -> NDArray[np.float64]:
        return np.array([0.2, 0.5, 1.0] if self.dtype == 'float32' else [1.0] * 3)

    @property
    def factor(self) -> float:
        """What `CAMERA` multiplies the answers with."""
        return CAMERA.fx_px / CANONICAL_FOCAL_PX if self.kind is DepthKind.CANONICAL else 1.0

    @property
    def scale(self) -> float:
        return 1.0 / 255.0 if self.dtype == 'float32' else 1.0


FORMS = (
    Form('NHWC', 'uint8', 'RGB', DepthKind.METRIC, sigma=True, batch=1),
    Form('NHWC', 'uint8', 'BGR', DepthKind.UP_TO_SCALE, sigma=False, batch=0),
    Form('NHWC', 'float32', 'RGB', DepthKind.INVERSE, sigma=False, batch=2),
    Form('NHWC', 'float32', 'BGR', DepthKind.METRIC, sigma=True, batch=0),
    Form('NCHW', 'uint8', 'RGB', DepthKind.INVERSE, sigma=True, batch=0),
    Form('NCHW', 'uint8', 'BGR', DepthKind.METRIC, sigma=False, batch=1),
    Form('NCHW', 'float32', 'RGB', DepthKind.UP_TO_SCALE, sigma=True, batch=1),
    Form('NCHW', 'float32', 'BGR', DepthKind.CANONICAL, sigma=True, batch=1),
)


def test_the_forms_cover_every_pair_of_choices() -> None:
    values: list[set[Any]] = [
        {'NHWC', 'NCHW'}, {'uint8', 'float32'}, {'RGB', 'BGR'}, set(DepthKind), {True, False}
    ]  # fmt: skip
    rows = [(form.layout, form.dtype, form.channels, form.kind, form.sigma) for form in FORMS]
    for one, other in itertools.combinations(range(3), 2):
        assert {(row[one], row[other]) for row in rows} == set(
            itertools.product(values[one], values[other])
        )
    assert {form.kind for form in FORMS} == set(DepthKind)
    assert {form.batch for form in FORMS} == {0, 1, 2}


def write_form(folder: Path, form: Form) -> Path:
    """A graph with depth = weights . input + offset, and sigma = depth squared where wanted."""
    images = form.batch or 'images'
    channel_last = form.layout == 'NHWC'
    shape = [images, HEIGHT, WIDTH, 3] if channel_last else [images, 3, HEIGHT, WIDTH]
    kind = TensorProto.UINT8 if form.dtype == 'uint8' else TensorProto.FLOAT
    weights = [1, 1, 1, 3] if channel_last else [1, 3, 1, 1]
    nodes = [
        helper.make_node('Cast', ['x'], ['floats'], to=TensorProto.FLOAT),
        helper.make_node('Mul', ['floats', 'weights'], ['weighted']),
        helper.make_node('ReduceSum', ['weighted', 'axis'], ['sum'], keepdims=0),
        helper.make_node('Add', ['sum', 'offset'], ['y']),
        *([helper.make_node('Mul', ['y', 'y'], ['spread'])] if form.sigma else []),
    ]
    outputs = ['y', *(['spread'] if form.sigma else [])]
    graph = helper.make_graph(
        nodes,
        'form',
        [helper.make_tensor_value_info('x', kind, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [images, HEIGHT, WIDTH])
            for name in outputs
        ],
        [
            helper.make_tensor('weights', TensorProto.FLOAT, weights, WEIGHTS),
            helper.make_tensor('axis', TensorProto.INT64, [1], [3 if channel_last else 1]),
            helper.make_tensor('offset', TensorProto.FLOAT, [], [OFFSET]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path = folder / 'form.onnx'
    onnx.save(model, path)
    manifest = {
        'name': 'form',
        'input': {
            'name': 'x', 'height': HEIGHT, 'width': WIDTH, 'layout': form.layout,
            'dtype': form.dtype, 'channels': form.channels, 'batch': form.batch,
            'mean': form.mean.tolist(), 'std': form.std.tolist(), 'scale': form.scale,
        },
        'output': {
            'depth': 'y', 'sigma': 'spread' if form.sigma else None, 'kind': str(form.kind),
            'min_depth': 1e-3, 'max_depth': 1e4,
            'canonical_focal_px': (
                CANONICAL_FOCAL_PX if form.kind is DepthKind.CANONICAL else None
            ),
        },
    }  # fmt: skip
    path.with_suffix('.json').write_text(json.dumps(manifest), encoding='utf-8')
    return path


def expected_of(form: Form, image: Uint8Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth and sigma of an image of the graph's size, in float64."""
    ordered = image[..., ::-1] if form.channels == 'BGR' else image
    seen = (ordered.astype(np.float64) * form.scale - form.mean) / form.std
    depth = seen @ np.array(WEIGHTS) + OFFSET
    sigma = depth**2 if form.sigma else np.full_like(depth, np.nan)
    return depth * form.factor, sigma * form.factor


def check(form: Form, answer: DepthMap, image: Uint8Array) -> None:
    """Compare with NumPy; sums of a few products in float32 round by some 1e-7 of the largest."""
    depth, sigma = expected_of(form, image)
    assert answer.kind is (DepthKind.METRIC if form.kind is DepthKind.CANONICAL else form.kind)
    np.testing.assert_allclose(answer.depth_m, depth, rtol=1e-5)
    np.testing.assert_allclose(answer.sigma_m, sigma, rtol=1e-5)


@pytest.mark.parametrize(
    ('name', 'form'),
    [
        (name, form)
        for name in HERE
        for form in (FORMS[1:2] if name == 'tensorrt-rtx' else FORMS)  # the session of tensorrt
    ],
    ids=str,
)
def test_a_foreign_graph_gives_the_numbers_of_numpy(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, form: Form
) -> None:
    path = write_form(tmp_path, form)
    predictor = open_on(request, path, name, max_batch=1 if form.batch == 1 else 2)
    images = pictures(3, HEIGHT, WIDTH)
    check(form, predictor.predict(images[0], CAMERA), images[0])
    answers = predictor.predict_batch(images, [CAMERA] * 3)
    for answer, image in zip(answers, images, strict=True):
        check(form, answer, image)
    # Pixels of 2x2 equal ones shrink to what they are, and the depth is interpolated.
    doubled = images[1].repeat(2, axis=0).repeat(2, axis=1)
    depth, _ = expected_of(form, images[1])
    size = (2 * WIDTH, 2 * HEIGHT)
    expected = cv2.resize(depth.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    # The camera of the larger image, with twice the focal length, is that of the network again.
    larger = resize_intrinsics(CAMERA, height=size[1], width=size[0])
    np.testing.assert_allclose(predictor.predict(doubled, larger).depth_m, expected, rtol=1e-5)


@pytest.mark.parametrize('name', ABSENT)
def test_what_is_not_here_says_so(tmp_path: Path, name: str) -> None:
    path = write_form(tmp_path, FORMS[0])
    try:
        Predictor.open(path, backend=name, engine=EngineOptions(cache_dir=tmp_path / 'engines'))
    except BackendError as error:
        said = str(error)
    else:
        pytest.skip(f'{name} runs here')
    assert name in said
    assert 'install' in said or 'provider' in said.lower()


@pytest.mark.parametrize(
    ('name', 'precision'),
    [
        (name, precision)
        for name in GRAPH_BACKENDS
        for precision in get_args(Precision)
        if precision not in BACKENDS[name].precisions
    ],
)
def test_a_precision_a_backend_does_not_have_is_refused(
    tmp_path: Path, name: str, precision: Precision
) -> None:
    path = write_form(tmp_path, FORMS[0])
    with pytest.raises(BackendError, match=f'it computes in fp32.*not {precision}; ask for'):
        Predictor.open(path, backend=name, precision=precision)


@pytest.mark.parametrize('name', [name for name in HERE if 'int8' in BACKENDS[name].precisions])
def test_int8_needs_a_graph_of_its_own(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    path = write_form(tmp_path, FORMS[0])
    open_on(request, path, name)  # skips where it is absent
    options = EngineOptions(cache_dir=tmp_path / 'engines')
    with pytest.raises(BackendError, match=r'form\.int8.*--precision int8'):
        Predictor.open(path, backend=name, precision='int8', engine=options)
