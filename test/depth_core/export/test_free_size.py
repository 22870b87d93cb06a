# SPDX-License-Identifier: Apache-2.0
"""Graphs that leave height and width free, and the size that the runtime chooses for a camera."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from depth_core.errors import ConfigError, ModelError
from depth_core.export import OPSET, export_onnx
from depth_core.manifest import read_manifest
from depth_core.models.serving import ServingGraph
from depth_core.runtime import Framing, Predictor
from depth_core.runtime.parity_images import parity_images
from depth_core.runtime.pipelines import MOST_OPEN
from test.depth_core.export.test_onnx import BACKENDS, TinyModel

pytestmark = pytest.mark.numeric

KITTI = (375, 1242)


@pytest.fixture(scope='module')
def model() -> TinyModel:
    return TinyModel(free_size=True).eval()


@pytest.fixture(scope='module')
def graph(tmp_path_factory: pytest.TempPathFactory, model: TinyModel) -> Path:
    path = tmp_path_factory.mktemp('free') / 'tiny.onnx'
    export_onnx(model, path)
    return path


def picture(height: int, width: int) -> Any:
    return parity_images(seed=3, height=height, width=width)[0]


def test_height_and_width_are_free_and_have_names(graph: Path) -> None:
    described = onnx.load(graph, load_external_data=False)
    onnx.checker.check_model(described, full_check=True)
    assert {item.domain: item.version for item in described.opset_import} == {'': OPSET}
    shapes = [
        [size.dim_param or size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in (*described.graph.input, *described.graph.output)
    ]
    assert shapes == [[1, 'height', 'width', 3], [1, 'height', 'width'], [1, 'height', 'width']]


def test_it_is_proven_at_three_sizes(graph: Path) -> None:
    manifest = read_manifest(graph)
    assert manifest.parity is not None
    # 24 x 32 pixels; a quarter of them at 375:1242 and at 4:3 upright, in multiples of 8.
    assert manifest.parity.sizes == ((24, 32), (8, 24), (16, 8 * round(12 / 8)))
    assert manifest.parity.images == 15
    assert (manifest.input.height, manifest.input.width) == (24, 32)
    assert manifest.input.size is not None
    assert (manifest.input.size.mode, manifest.input.size.target) == ('pixels', 768)
    assert (manifest.input.multiple, manifest.input.resize) == (8, 'keep_aspect')


@pytest.mark.parametrize('backend', BACKENDS)
def test_each_camera_is_seen_in_its_own_shape(graph: Path, model: TinyModel, backend: str) -> None:
    predictor = Predictor.open(graph, backend=backend, threads=1)
    # 768 pixels: 375:1242 is 15.2 x 50.4, 3:4 is 24 x 32, 4:3 upright 32 x 24.
    for image, size in ((KITTI, (16, 48)), ((48, 64), (24, 32)), ((64, 48), (32, 24))):
        answer = predictor.predict(picture(*image))
        assert predictor.input_size == size
        assert answer.depth_m.shape == image
    exact = picture(16, 48)
    answer = predictor.predict(exact)
    with torch.inference_mode():
        depth, sigma = ServingGraph(model)(torch.from_numpy(exact[None]))
    np.testing.assert_allclose(answer.depth_m, depth[0].numpy(), rtol=1e-4)
    np.testing.assert_allclose(answer.sigma_m, sigma[0].numpy(), rtol=1e-4)


def test_the_last_few_sizes_are_kept_open(graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = 'depth_core.runtime.pipelines'
    caplog.set_level(logging.INFO, logger=place)
    predictor = Predictor.open(graph, backend='onnxruntime', threads=1, image_size=KITTI)
    assert predictor.input_size == (16, 48), 'it was opened at the size of the camera'
    shapes = [KITTI, (48, 64), (64, 48), (40, 40), KITTI, (10, 90), KITTI, (48, 64)]
    for shape in shapes:
        predictor.predict(picture(*shape))
    told = [record.getMessage() for record in caplog.records if record.name == place]
    opened = [message.split(':')[0] for message in told]
    # KITTI stays, used in between; 48x64 was the oldest when the fifth size came.
    assert MOST_OPEN == 4
    assert opened == [f'images of {h}x{w}' for h, w in (*shapes[1:4], (10, 90), (48, 64))]


def test_images_of_several_cameras_are_answered_in_their_order(graph: Path) -> None:
    predictor = Predictor.open(graph, backend='onnxruntime', threads=1)
    images = [picture(*shape) for shape in (KITTI, (48, 64), (100, 331), (64, 48), (96, 128))]
    together = predictor.predict_batch(images, stamps_ns=range(5))
    assert [answer.stamp_ns for answer in together] == [0, 1, 2, 3, 4]
    for answer, image in zip(together, images, strict=True):
        np.testing.assert_array_equal(answer.depth_m, predictor.predict(image).depth_m)


def test_a_size_given_is_fixed_and_stretch_keeps_to_one(tmp_path: Path, model: TinyModel) -> None:
    manifest = export_onnx(model, tmp_path / 'fixed.onnx', height=16, width=24)
    assert manifest.input.size is None
    (given,) = onnx.load(tmp_path / 'fixed.onnx').graph.input
    assert [size.dim_value for size in given.type.tensor_type.shape.dim] == [1, 16, 24, 3]
    stretched = tmp_path / 'stretched.onnx'
    export_onnx(model, stretched, resize='stretch')
    predictor = Predictor.open(stretched, backend='onnxruntime', threads=1)
    predictor.predict(picture(*KITTI))
    assert predictor.input_size == (24, 32)
    kept = Predictor.open(
        stretched, backend='onnxruntime', threads=1, framing=Framing(keep_aspect=True)
    )
    kept.predict(picture(*KITTI))
    # Of the scales 24/375 and 32/1242 the first is nearer to 1: 24 x 79.5.
    assert kept.input_size == (24, 80)


def test_what_contradicts_itself_is_refused(tmp_path: Path, model: TinyModel) -> None:
    with pytest.raises(ModelError, match=r'tiny is made for the size it is exported at.*height'):
        export_onnx(TinyModel(), tmp_path / 'a.onnx', free_size=True)
    with pytest.raises(ConfigError, match='keep_aspect and the graph has one size'):
        export_onnx(model, tmp_path / 'a.onnx', height=24, width=32, resize='keep_aspect')
    assert not list(tmp_path.iterdir())
