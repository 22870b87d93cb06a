# SPDX-License-Identifier: Apache-2.0
"""A network whose sides may not be below a number of pixels: as a graph of free size and on torch.

Both keep the aspect of a camera by the same rule, so that a checkpoint and its export agree.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from depth_core.errors import ModelError
from depth_core.export import export_onnx
from depth_core.manifest import read_manifest
from depth_core.models.serving import manifest_of
from depth_core.runtime import Predictor
from depth_core.runtime.parity_images import parity_images
from depth_core.weights.checkpoint import save_model
from test.exports import tiny_network

pytestmark = pytest.mark.numeric

NETWORK = 'semantic_resnet18'
SIZE = (64, 96)
SHAPES = (((120, 396), (64, 128)), ((90, 160), (64, 96)), ((12, 120), (64, 256)))
"""Cameras of 3.3:1, 16:9 and 10:1, and the input for them, worked by hand: 6144 pixels are 43.1 x
142.4, 58.8 x 104.5 and 24.8 x 247.9, in multiples of 32, no side below 64."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, `network.ckpt`, and the graph of free size made of it, `network.onnx`."""
    folder = tmp_path_factory.mktemp('least_side')
    model = tiny_network(NETWORK)
    height, width = SIZE
    save_model(folder / 'network.ckpt', model, provenance={'height': height, 'width': width})
    model.spec = replace(model.spec, default_size=SIZE)
    export_onnx(model, folder / 'network.onnx')
    return folder


def test_the_graph_is_free_and_states_its_least_side(folder: Path) -> None:
    spec = read_manifest(folder / 'network.onnx').input
    assert (spec.min_side, spec.multiple, spec.resize) == (64, 32, 'keep_aspect')
    (image,) = onnx.load(folder / 'network.onnx', load_external_data=False).graph.input
    sides = [size.dim_param for size in image.type.tensor_type.shape.dim]
    assert sides == ['', 'height', 'width', '']
    parity = read_manifest(folder / 'network.onnx').parity
    assert parity is not None
    assert parity.sizes == ((64, 96), (64, 64), (64, 64))  # a quarter of the pixels would be less


def test_a_checkpoint_and_its_export_answer_alike_for_every_camera(folder: Path) -> None:
    torch, graph = (
        Predictor.open(folder / f'network.{suffix}', backend=backend, threads=1)
        for suffix, backend in (('ckpt', 'torch'), ('onnx', 'onnxruntime'))
    )
    for shape, inside in SHAPES:
        image = parity_images(seed=5, height=shape[0], width=shape[1])[1]
        found, expected = graph.predict(image), torch.predict(image)
        assert torch.input_size == graph.input_size == inside
        np.testing.assert_allclose(found.depth_m, expected.depth_m, rtol=1e-3)
        np.testing.assert_allclose(found.sigma_m, expected.sigma_m, rtol=1e-3)


def test_a_smaller_size_is_refused_by_network_and_manifest() -> None:
    with pytest.raises(ModelError, match='32x96 pixels: both sides must be at least 64'):
        manifest_of(tiny_network(NETWORK), height=32, width=96)
